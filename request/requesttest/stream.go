package requesttest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

func streamCases() []Case {
	return []Case{
		{"Stream/RoundTrip", "All items of a stream come in order, then its one end; a lane that carries none is refused at the call.", streamRoundTrip},
		{"Stream/BackPressure", "A handler waits in its yield while as many items as the window are not read, and goes on when they are.", backPressure},
		{"Stream/Left", "When the caller leaves, the handler's yield answers false, its context ends, and nothing is left.", streamLeft},
		{"Stream/Fault", "An error of the handler comes behind the items that it had yielded, as a category.", streamFault},
		{"Stream/Deadline", "One deadline is over the whole stream, and ends it on both sides.", streamDeadline},
		{"Stream/Cancelled", "A stream whose caller's context is cancelled ends at once, and its handler too.", streamCancelled},
		{"Stream/Closed", "Close ends a stream with ErrClosed.", streamClosed},
		{"Stream/OtherKind", "A stream of a handler that answers once is Unsupported, and so is an answer of one that streams.", otherKind},
		{"Stream/Gap", "When an item does not come, or the end says that there were more, the stream is lost.", streamGap},
		{"Stream/Duplicate", "An item that comes twice is counted and left out, and one beyond the credit changes nothing.", streamDuplicate},
		{"Stream/Forged", "What is forged, malformed or of another version is counted and changes nothing.", streamForged},
		{"Stream/Signed", "Items and credit are signed with their numbers, and only those that are count.", streamSigned},
		{"Stream/ManyAtOnce", "Each of many streams at once gets its own items, and nothing is left behind.", manyStreams},
		{"Stream/BrokerCut", "When the broker is lost the stream is lost too: at once where the lane sees that, else by its deadline, and never silently.", streamCut},
		{"Stream/ResponderKilled", "When a responder is killed, its stream ends by its deadline, and never silently.", streamKilled},
	}
}

// count is a query for the numbers from 0 to N-1.
type count struct {
	sixfold.Returns[iter.Seq2[counted, error]] `json:"-"`
	N                                          int
}

func (count) MessageName() string { return countName }

const countName = "requesttest.count"

type counted struct{ N int }

// flowing is what the handler of a stream has done.
type flowing struct {
	yielded atomic.Int64 // items that yield took
	stopped chan error   // why its context had ended when yield answered false; room for one
}

// counts answers streams at the case's destination. before may be nil.
func (p *probe) counts(f *flowing, before func(ctx context.Context, q count, n int) error) request.Route {
	f.stopped = make(chan error, 1)
	return request.OnStream(func(ctx context.Context, q count) iter.Seq2[counted, error] {
		return func(yield func(counted, error) bool) {
			for n := range q.N {
				if before != nil {
					if err := before(ctx, q, n); err != nil {
						yield(counted{}, err)
						return
					}
				}
				if !yield(counted{n}, nil) {
					select {
					case f.stopped <- ctx.Err():
					default:
					}
					return
				}
				f.yielded.Add(1)
			}
		}
	}).At(p.to)
}

func (p *probe) stream(ctx context.Context, c *request.Client, n int, opts ...request.Option) iter.Seq2[counted, error] {
	return request.Stream(ctx, c, count{N: n}, append(opts, request.To(p.to))...)
}

// streams reports whether the lane carries streams, and looks that the call says so where it does not.
func (p *probe) streams(lane request.Lane) bool {
	p.Helper()
	if lane.Capabilities().Streams {
		return true
	}
	c := p.clientOn(lane, nil)
	got, err := p.collect(p.stream(p.ctx(), c, 1))
	if got != 0 || !errors.Is(err, sixfold.ErrInvalid) || c.Stats().Streams != 0 {
		p.fail("a lane without streams answered %d items, %v", got, err)
	}
	return false
}

// collect reads a stream, whose items have to be 0, 1, 2 and so on, and answers how many there were and how it ended.
func (p *probe) collect(s iter.Seq2[counted, error]) (n int, end error) {
	p.Helper()
	for item, err := range s {
		switch {
		case end != nil:
			p.fail("there is more behind the end: %+v, %v", item, err)
		case err != nil:
			end = err
		case item.N != n:
			p.fail("item %d is %d", n, item.N)
		default:
			n++
		}
	}
	return n, end
}

// over waits until nothing of streams is left on both sides.
func (p *probe) over(c *request.Client, s *served) {
	p.Helper()
	p.await("nothing is left", func() bool {
		return c.Stats().Streams == 0 && c.Stats().InFlight == 0 && (s == nil || s.Stats().Running+s.Stats().Waiting == 0)
	})
}

// guarantees: Q1
func streamRoundTrip(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	var seen atomic.Pointer[sixfold.Envelope]
	s := p.serve(nil, p.counts(&f, func(ctx context.Context, _ count, _ int) error {
		seen.Store(sixfold.InfoFrom(ctx).Envelope)
		return nil
	}))
	c := p.clientOn(lane, &request.ClientOptions{Source: "shop"})
	for _, n := range []int{0, 1, 64, 65, 500} {
		for _, window := range []int{1, 2, 7, 64, 1000} {
			if got, err := p.collect(p.stream(p.ctx(), c, n, request.Window(window))); got != n || err != nil {
				p.fail("of %d items through a window of %d came %d, %v", n, window, got, err)
			}
		}
	}
	if env := seen.Load(); env.Source != "shop" || env.ReplyTo == "" || env.Expires.IsZero() {
		p.fail("the handler saw %v from %q, reply address %q, until %v", env, env.Source, env.ReplyTo, env.Expires)
	}
	p.over(c, s)
	if st := c.Stats(); st.Forged+st.Late+st.Duplicate+st.Malformed+st.WrongVersion != 0 {
		p.fail("the client counts %+v", st)
	}
}

// guarantees: Q5
func backPressure(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	const window, all = 8, 400
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	read := 0
	for item, err := range p.stream(p.ctx(), c, all, request.Window(window)) {
		if err != nil || item.N != read {
			p.fail("item %d is %+v, %v", read, item, err)
		}
		if read%50 == 0 { // a slow reader: what may come without it comes, and no more
			p.await("the handler uses its credit", func() bool { return f.yielded.Load() >= int64(read+window/2) })
			if read == 0 {
				p.quiet(p.cfg.Deadline)
			}
		}
		if n := f.yielded.Load(); n > int64(read+window) {
			p.fail("with %d items read and a window of %d the handler has yielded %d", read, window, n)
		}
		read++
	}
	if read != all {
		p.fail("%d items came", read)
	}
	p.over(c, s)
}

// guarantees: Q1
func streamLeft(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	for i := range 3 {
		begin, read := time.Now(), 0
		for _, err := range p.stream(p.ctx(), c, 1_000_000, request.Window(4)) {
			if err != nil {
				p.fail("the stream ended with %v", err)
			}
			if read++; read == 10*i+1 {
				break
			}
		}
		if err := receive(p, "the handler's stop", f.stopped); !errors.Is(err, context.Canceled) {
			p.fail("when yield answered false the context said %v", err)
		}
		if took := time.Since(begin); took > p.cfg.Patience/2 {
			p.fail("the handler heard of it after %v", took)
		}
		p.over(c, s)
	}
	if n := s.Stats().Cancelled; n != 3 {
		p.fail("the responder counts %d cancelled", n)
	}
}

// guarantees: Q4
func streamFault(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	const secret = "s3cr3t"
	var f flowing
	s := p.serve(nil, p.counts(&f, func(_ context.Context, q count, n int) error {
		switch {
		case n == 5 && q.N == 10:
			return request.Fail(request.Unavailable, errors.New(secret))
		case n == 5 && q.N == 11:
			panic(secret)
		}
		return nil
	}))
	c := p.clientOn(lane, nil)
	for n, want := range map[int]request.Category{10: request.Unavailable, 11: request.Internal} {
		if got, err := p.collect(p.stream(p.ctx(), c, n, request.Window(2))); got != 5 || !isFault(err, want) {
			p.fail("%d items came, then %v", got, err)
		}
	}
	p.over(c, s)
}

// guarantees: Q1, Q3
func streamDeadline(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	if got, err := p.collect(p.stream(p.ctx(), c, 3)); got != 3 || err != nil { // it is connected
		p.fail("%d items came, %v", got, err)
	}
	p.patiently(func(limit time.Duration) bool {
		limit *= 2
		before := f.yielded.Load() // in the streams before
		begin, read, inTime := time.Now(), 0, false
		var end error
		for _, err := range p.stream(p.Context(), c, 1_000_000, request.Window(4), request.Timeout(limit)) {
			if end = err; err != nil {
				break
			}
			if read++; read == 3 { // the reader sleeps beyond the deadline
				inTime = time.Since(begin) < limit
				p.await("the handler's credit is used", func() bool { return f.yielded.Load() >= before+4 || time.Since(begin) > limit })
				for time.Since(begin) <= limit {
					p.quiet(p.cfg.Deadline)
				}
				p.quiet(p.cfg.Deadline) // timers of one moment may come in any order
			}
		}
		if took := time.Since(begin); !errors.Is(end, request.ErrTimeout) && !isFault(end, request.Expired) || took > limit+3*p.cfg.Deadline+p.cfg.Slack {
			p.fail("it ended with %v after %v", end, took)
		}
		if inTime && read > 3 {
			p.fail("%d items came, of which some behind the deadline", read)
		}
		return inTime
	})
	if err := receive(p, "the handler's stop", f.stopped); !errors.Is(err, context.DeadlineExceeded) {
		p.fail("when yield answered false the context said %v", err)
	}
	p.over(c, s)
}

// guarantees: Q1
func streamCancelled(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	ctx, cancel := context.WithCancel(p.ctx())
	defer cancel()
	read := 0
	var end error
	for _, err := range p.stream(ctx, c, 1_000_000) {
		if end = err; err != nil {
			break
		}
		if read++; read == 100 {
			cancel()
		}
	}
	if read != 100 || !errors.Is(end, request.ErrCancelled) || !errors.Is(end, context.Canceled) {
		p.fail("%d items came, then %v", read, end)
	}
	if err := receive(p, "the handler's stop", f.stopped); !errors.Is(err, context.Canceled) {
		p.fail("when yield answered false the context said %v", err)
	}
	p.over(c, s)
}

// guarantees: Q1, Q5
func streamClosed(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	p.patiently(func(limit time.Duration) bool {
		read := 0
		var end error
		for _, err := range p.stream(p.Context(), c, 1_000_000, request.Timeout(5*limit)) {
			if end = err; err != nil {
				break
			}
			if read++; read == 10 {
				if err := c.Close(p.ctx()); err != nil {
					p.fail("Close answered %v", err)
				}
			}
		}
		if read < 10 && (errors.Is(end, request.ErrTimeout) || isFault(end, request.Expired)) {
			return false
		}
		if read != 10 || !errors.Is(end, request.ErrClosed) {
			p.fail("%d items came, then %v", read, end)
		}
		return true
	})
	if _, err := p.collect(p.stream(p.ctx(), c, 1)); !errors.Is(err, request.ErrClosed) {
		p.fail("a stream after Close ended with %v", err)
	}
	receive(p, "the handler's stop", f.stopped) // by the deadline: nobody told it
}

// notStream has the name of a stream and answers once; notOnce the other way.
type notStream struct {
	sixfold.Returns[int] `json:"-"`
}

func (notStream) MessageName() string { return countName }

func otherKind(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	c := p.clientOn(lane, nil)
	streams := p.serve(nil, p.counts(&f, nil))
	if _, err := request.Send(p.ctx(), c, notStream{}, request.To(p.to)); !isFault(err, request.Unsupported) {
		p.fail("a call of a stream answered %v", err)
	}
	if err := streams.stop(); err != nil {
		p.fail("Run answered %v", err)
	}
	p.serve(nil, request.On(func(context.Context, notStream) (int, error) { return 1, nil }).At(p.to))
	if got, err := p.collect(p.stream(p.ctx(), c, 1)); got != 0 || !isFault(err, request.Unsupported) {
		p.fail("a stream of a call answered %d items, %v", got, err)
	}
}

// item is one of a stream, as it travels.
func item(to *request.Packet, number int) *request.Packet {
	p := &request.Packet{Protocol: "item/1", Request: to.Request, Number: strconv.Itoa(number)}
	p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: "requesttest", Type: countName + request.ItemSuffix, ContentType: "application/json",
		Body: []byte(`{"N":` + strconv.Itoa(number-1) + `}`)}
	return p
}

// end is that of a stream, as it travels.
func end(to *request.Packet, number int) *request.Packet {
	p := &request.Packet{Protocol: "reply/1", Request: to.Request, Status: "ok", Number: strconv.Itoa(number)}
	p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: "requesttest", Type: countName + request.ReplySuffix}
	return p
}

func alive(to *request.Packet, number int) *request.Packet {
	return &request.Packet{Protocol: "alive/1", Request: to.Request, Number: strconv.Itoa(number)}
}

// streamed is what a stream came to.
type streamed struct {
	items int
	err   error
}

// open reads a stream in a goroutine of its own.
func (p *probe) open(c *request.Client, opts ...request.Option) <-chan streamed {
	out := make(chan streamed, 1)
	go func() {
		var s streamed
		for item, err := range p.stream(p.ctx(), c, 1000, opts...) {
			if s.err = err; err == nil {
				if item.N != s.items {
					s.err = fmt.Errorf("item %d is %d", s.items, item.N)
					break
				}
				s.items++
			}
		}
		out <- s
	}()
	return out
}

// guarantees: Q1, Q2
func streamGap(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	ear := p.rawEar()
	c := p.clientOn(lane, nil)
	for name, packets := range map[string]func(asked *request.Packet) []*request.Packet{
		"item 2 is missing":         func(q *request.Packet) []*request.Packet { return []*request.Packet{item(q, 1), item(q, 3)} },
		"the last item is missing":  func(q *request.Packet) []*request.Packet { return []*request.Packet{item(q, 1), end(q, 2)} },
		"what it says that is sent": func(q *request.Packet) []*request.Packet { return []*request.Packet{item(q, 1), alive(q, 2)} },
	} {
		out := p.open(c)
		asked := ear.next()
		if asked.Number != "64" {
			p.fail("the request grants %q items", asked.Number)
		}
		for _, packet := range packets(asked) {
			ear.answer(asked, packet)
		}
		if got := receive(p, "the outcome", out); got.items != 1 || !errors.Is(got.err, request.ErrLost) {
			p.fail("%s: %d items came, then %v", name, got.items, got.err)
		}
		told := ear.next()
		for told.Protocol == "credit/1" { // on a slow machine it was asked whether it is there
			told = ear.next()
		}
		if told.Protocol != "cancel/1" || told.Request != asked.Request {
			p.fail("%s: the responder was told %q of %q", name, told.Protocol, told.Request)
		}
	}
	p.over(c, nil)
}

// guarantees: Q2
func streamDuplicate(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	ear := p.rawEar()
	c := p.clientOn(lane, nil)
	out := p.open(c, request.Window(3))
	asked := ear.next()
	for _, packet := range []*request.Packet{item(asked, 1), item(asked, 1), alive(asked, 1), alive(asked, 0), item(asked, 2), item(asked, 1), item(asked, 2), item(asked, 900), end(asked, 900), end(asked, 2)} {
		ear.answer(asked, packet)
	}
	if got := receive(p, "the outcome", out); got.items != 2 || got.err != nil {
		p.fail("%d items came, then %v", got.items, got.err)
	}
	late := item(asked, 3)
	ear.answer(asked, late)
	p.await("the late item", func() bool { return c.Stats().Late == 1 })
	if s := c.Stats(); s.Duplicate != 3 || s.Forged != 2 || s.Streams != 0 {
		p.fail("the client counts %+v", s)
	}
}

// guarantees: Q2
//
// [ForgedReplyKeepsSlot]
func streamForged(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	ear := p.rawEar()
	c := p.clientOn(lane, nil)
	out := p.open(c)
	asked := ear.next()
	ear.answer(asked, item(asked, 1))
	bad := []func(r *request.Packet){
		func(r *request.Packet) { r.Request = sixfold.NewID() },
		func(r *request.Packet) { r.Request = "" },
		func(r *request.Packet) { r.Protocol = "item/2" },
		func(r *request.Packet) { r.Protocol = "item/one" },
		func(r *request.Packet) { r.Protocol = "items/1" },
		func(r *request.Packet) { r.Protocol = "credit/1" },
		func(r *request.Packet) { r.Number = "" },
		func(r *request.Packet) { r.Number = "0" },
		func(r *request.Packet) { r.Number = "-1" },
		func(r *request.Packet) { r.Number = "9999999999" },
		func(r *request.Packet) { r.Number = "two" },
		func(r *request.Packet) { r.Envelope.Type = countName + ".reply" },
		func(r *request.Packet) { r.Envelope = sixfold.Envelope{} },
		func(r *request.Packet) { r.Protocol, r.Status = "reply/1", "ok" },
		func(r *request.Packet) { r.Protocol, r.Status = "reply/1", "internal" },
		func(r *request.Packet) {
			r.Protocol, r.Status, r.Envelope.Type = "reply/1", "teapot", request.FaultType
		},
		func(r *request.Packet) {
			r.Protocol, r.Status, r.Envelope.Type, r.Number = "reply/1", "ok", countName+".reply", ""
		},
		func(r *request.Packet) {
			r.Protocol, r.Status, r.Envelope.Type, r.Number = "reply/1", "ok", countName+".reply", "0"
		},
	}
	for _, change := range bad {
		r := item(asked, 2)
		change(r)
		ear.answer(asked, r)
	}
	ear.answer(asked, item(asked, 2))
	ear.answer(asked, end(asked, 2))
	if got := receive(p, "the outcome", out); got.items != 2 || got.err != nil {
		p.fail("%d items came, then %v; the client counts %+v", got.items, got.err, c.Stats())
	}
	if s := c.Stats(); s.Forged+s.Malformed+s.WrongVersion+s.Late+s.Duplicate != uint64(len(bad)) || s.WrongVersion != 1 {
		p.fail("of %d bad packets the client counts %+v", len(bad), s)
	}
}

// guarantees: Q2, Q4
func streamSigned(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	right := signer(p, "quotes")
	s := p.serve(&request.ServeOptions{Signer: right, Verifier: accepts(p, "shop")}, p.counts(&f, nil))
	o := &request.ClientOptions{Signer: signer(p, "shop"), Verifier: accepts(p, "quotes")}
	c := p.clientOn(lane, o)
	if got, err := p.collect(p.stream(p.ctx(), c, 300)); got != 300 || err != nil {
		p.fail("%d items came, then %v; the client counts %+v, the responder %+v", got, err, c.Stats(), s.Stats())
	}
	for _, err := range p.stream(p.ctx(), c, 1_000_000) {
		if err != nil {
			p.fail("the stream ended with %v", err)
		}
		break
	}
	receive(p, "the handler's stop", f.stopped)
	if err := s.stop(); err != nil || s.Stats().Unauthorised+c.Stats().Forged != 0 {
		p.fail("Run answered %v; the client counts %+v, the responder %+v", err, c.Stats(), s.Stats())
	}
	ear := p.rawEar()
	out := p.open(c)
	asked := ear.next()
	bad := []func(r *request.Packet){
		func(r *request.Packet) { r.Signature = "" },
		func(r *request.Packet) { sign(p, r, signer(p, "thief"), asked.Request) },
		func(r *request.Packet) { r.Number = "2" },
		func(r *request.Packet) { r.Envelope.Body = []byte(`{"N":666}`) },
		func(r *request.Packet) { r.Protocol, r.Envelope = "alive/1", sixfold.Envelope{} },
	}
	for _, change := range bad {
		r := item(asked, 1)
		sign(p, r, right, asked.Request)
		change(r)
		ear.answer(asked, r)
	}
	for _, packet := range []*request.Packet{alive(asked, 0), item(asked, 1), end(asked, 1)} {
		sign(p, packet, right, asked.Request)
		ear.answer(asked, packet)
	}
	if got := receive(p, "the outcome", out); got.items != 1 || got.err != nil || c.Stats().Forged != uint64(len(bad)) {
		p.fail("%d items came, then %v; the client counts %+v", got.items, got.err, c.Stats())
	}
}

// guarantees: Q1, Q5
func manyStreams(p *probe) {
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	const items = 24
	streams := p.cfg.Many
	var f flowing
	s := p.serve(&request.ServeOptions{MaxWaiting: streams}, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	var wg sync.WaitGroup
	errs := make(chan error, streams)
	ctx, cancel := context.WithTimeout(p.Context(), 6*p.cfg.Patience)
	defer cancel()
	for i := range streams {
		wg.Go(func() {
			n := 0
			for item, err := range p.stream(ctx, c, items, request.Window(16)) {
				if err != nil || item.N != n {
					errs <- fmt.Errorf("stream %d, item %d: %+v, %w", i, n, item, err)
					return
				}
				if n++; i%4 == 1 && n == 12 || i%4 == 2 && n == 1 { // some leave
					return
				}
			}
			if n != items {
				errs <- fmt.Errorf("stream %d had %d items", i, n)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		p.fail("%v", err)
	}
	p.over(c, s)
}

// guarantees: Q1, Q5
func streamCut(p *probe) {
	p.needsCut()
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	limit := p.cfg.Patience / 2
	if !lane.Capabilities().DetectsLoss {
		limit = p.cfg.Deadline
	}
	read := 0
	var ended error
	var begin time.Time
	for _, err := range p.stream(p.Context(), c, 1_000_000, request.Timeout(limit)) {
		if ended = err; err != nil {
			break
		}
		if read++; read == 100 {
			begin = time.Now()
			p.h.Cut(p)
		}
	}
	if took := time.Since(begin); lane.Capabilities().DetectsLoss && (!errors.Is(ended, request.ErrLost) || took > limit/2) || ended == nil || read < 100 {
		p.fail("after %d items it ended with %v, %v after the cut", read, ended, took)
	}
	p.h.Restore(p)
	p.await("the handler is over", func() bool { return s.Stats().Running == 0 })
	p.await("streams work again", func() bool {
		n, err := p.collect(p.stream(p.ctx(), c, 3, request.Timeout(p.cfg.Deadline)))
		return n == 3 && err == nil
	})
	p.over(c, s)
}

// guarantees: Q1
func streamKilled(p *probe) {
	if p.h.Kill == nil {
		p.Fatal("requesttest: the Harness has no Kill")
	}
	lane := p.h.Connect(p)
	if !p.streams(lane) {
		return
	}
	var f flowing
	s := p.serve(nil, p.counts(&f, nil))
	c := p.clientOn(lane, nil)
	read := 0
	var ended error
	begin := time.Now()
	for _, err := range p.stream(p.Context(), c, 1_000_000, request.Timeout(2*p.cfg.Deadline)) {
		if ended = err; err != nil {
			break
		}
		if read++; read == 100 {
			p.h.Kill(p, s.lane)
		}
	}
	if took := time.Since(begin); !errors.Is(ended, request.ErrTimeout) && !errors.Is(ended, request.ErrLost) || took > 2*p.cfg.Deadline+p.cfg.Slack {
		p.fail("after %d items it ended with %v after %v", read, ended, took)
	}
	p.over(c, nil)
}
