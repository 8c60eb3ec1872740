package requesttest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/request"
)

func requestCases() []Case {
	return []Case{
		{"Request/Dropped", "A request without an address for answers or without an id is dropped, and its handler does not run.", dropped},
		{"Request/WrongVersion", "A request of another version is answered Unsupported, with the versions that the responder speaks.", wrongVersion},
		{"Request/Malformed", "A request that cannot be read is answered Malformed, and its handler does not run.", malformed},
		{"Request/UnknownMessage", "A request for a message without a handler is answered Unsupported.", unknownMessage},
		{"Request/Expired", "A request whose deadline has passed is not run.", expired},
		{"Request/ExpiredTakesNoPlace", "A request whose deadline has passed when it comes is answered Expired at once, also while all handlers are busy: it does not take the place of one that has time.", expiredTakesNoPlace},
		{"Request/ExpiresWaiting", "A request whose deadline passes while it waits for a handler is not run.", expiresWaiting},
		{"Request/OneDeadline", "The time that travels with a request is what is left of the call's one deadline.", oneDeadline},
		{"Request/Duplicate", "A request that comes again while it runs does not run twice.", duplicateRequest},
		{"Request/NoText", "An error becomes a category; nothing of its text crosses the wire.", noText},
		{"Request/Categories", "Each kind of failure has its category.", categories},
	}
}

// guard counts how often a handler runs.
func (p *probe) guard(n *atomic.Int64) request.Route {
	return p.route(func(context.Context, double) error {
		n.Add(1)
		return nil
	})
}

// guarantees: Q4
func dropped(p *probe) {
	if p.h.Put == nil {
		p.Fatal("requesttest: the Harness has no Put")
	}
	var ran atomic.Int64
	s := p.serve(nil, p.guard(&ran))
	foreign := question(1)
	foreign.ReplyTo = "not-one-of-this-lane"
	long := question(1)
	long.ReplyTo = strings.Repeat("x", 256)
	itself := question(1)
	itself.ReplyTo = p.to
	noID := question(1)
	noID.Request = ""
	long2 := question(1)
	long2.Request = strings.Repeat("x", 256)
	bad := []*request.Packet{question(1), foreign, long, itself, noID, long2}
	for _, packet := range bad {
		p.h.Put(p, p.to, packet)
	}
	port := p.rawPort()
	for i, change := range []func(q *request.Packet){
		func(q *request.Packet) { q.Request = "" },
		func(q *request.Packet) { q.Request = "with space" },
		func(q *request.Packet) { q.Protocol = "" },
		func(q *request.Packet) { q.Protocol = "reply/1" },
		func(q *request.Packet) { q.Protocol = "request/-1" },
		func(q *request.Packet) { q.Protocol = "request/9999999999" },
	} {
		q := question(i)
		change(q)
		port.ask(q)
		bad = append(bad, q)
	}
	p.await("all are counted", func() bool { return s.Stats().Dropped == uint64(len(bad)) })
	if ran.Load() != 0 || len(port.packets) != 0 {
		p.fail("%d handlers ran, %d answers came", ran.Load(), len(port.packets))
	}
	p.mustDouble(p.client(nil), 4)
}

// fault asks and answers the status of the answer.
func (p *probe) fault(port *raw, q *request.Packet) *request.Packet {
	p.Helper()
	port.ask(q)
	got := port.next()
	if got.Request != q.Request || got.Status == "ok" || got.Envelope.Type != request.FaultType || len(got.Envelope.Body) != 0 {
		p.fail("the answer is %q %q of type %q with %d bytes", got.Status, got.Request, got.Envelope.Type, len(got.Envelope.Body))
	}
	return got
}

// guarantees: Q4
func wrongVersion(p *probe) {
	var ran atomic.Int64
	p.serve(nil, p.guard(&ran))
	port := p.rawPort()
	for _, version := range []string{"2", "0", "999"} {
		q := question(1)
		q.Protocol = "request/" + version
		q.Timeout = "" // which a later version may call otherwise
		q.Envelope = sixfold.Envelope{}
		if got := p.fault(port, q); got.Status != "unsupported" || got.Protocol != "reply/"+version || got.Versions != "1" {
			p.fail("version %s answered %q in %q, versions %q", version, got.Status, got.Protocol, got.Versions)
		}
	}
	if ran.Load() != 0 {
		p.fail("the handler ran")
	}
}

// guarantees: Q4
func malformed(p *probe) {
	var ran atomic.Int64
	p.serve(nil, p.guard(&ran))
	port := p.rawPort()
	for _, change := range []func(q *request.Packet){
		func(q *request.Packet) { q.Timeout = "" },
		func(q *request.Packet) { q.Timeout = "-5" },
		func(q *request.Packet) { q.Timeout = "1e3" },
		func(q *request.Packet) { q.Timeout = "99999999999999999999" },
		func(q *request.Packet) { q.Envelope = sixfold.Envelope{} },
		func(q *request.Packet) { q.Envelope.Body = []byte(`{"N":`) },
		func(q *request.Packet) { q.Envelope.Body = []byte(`[]`) },
		func(q *request.Packet) { q.Envelope.Body = nil },
		func(q *request.Packet) { q.Envelope.ContentType = "text/unknown" },
	} {
		q := question(1)
		change(q)
		if got := p.fault(port, q); got.Status != "malformed" {
			p.fail("timeout %q, content type %q, %d bytes: answered %q", q.Timeout, q.Envelope.ContentType, len(q.Envelope.Body), got.Status)
		}
	}
	if ran.Load() != 0 {
		p.fail("the handler ran")
	}
}

// guarantees: Q4
func unknownMessage(p *probe) {
	p.serve(nil, p.route(nil))
	q := question(1)
	q.Envelope.Type = "requesttest.other"
	if got := p.fault(p.rawPort(), q); got.Status != "unsupported" {
		p.fail("it answered %q", got.Status)
	}
}

// guarantees: Q3
func expired(p *probe) {
	var ran atomic.Int64
	s := p.serve(nil, p.guard(&ran))
	port := p.rawPort()
	none := question(1)
	none.Timeout = "0"
	old := question(1)
	old.Envelope.Expires = time.Now().Add(-time.Hour).UTC()
	for _, q := range []*request.Packet{none, old} {
		if got := p.fault(port, q); got.Status != "expired" {
			p.fail("it answered %q", got.Status)
		}
	}
	if ran.Load() != 0 || s.Stats().Expired != 2 {
		p.fail("%d handlers ran; the responder counts %+v", ran.Load(), s.Stats())
	}
	ahead := question(1)
	ahead.Envelope.Expires = time.Now().Add(-30 * time.Second).UTC() // its clock is half a minute behind
	port.ask(ahead)
	if got := port.next(); got.Status != "ok" {
		p.fail("a caller whose clock is behind got %q", got.Status)
	}
}

// guarantees: Q3
//
// The look when a request comes and the one when its turn comes hide each other: here its turn does not come.
func expiredTakesNoPlace(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	p.Cleanup(release)
	s := p.serve(&request.ServeOptions{MaxConcurrent: 1, MaxWaiting: 1}, p.route(func(context.Context, double) error {
		began <- struct{}{}
		<-hold
		return nil
	}))
	c := p.client(nil)
	first := p.call(c, 1)
	receive(p, "the handler", began)
	port := p.rawPort()
	old := question(2)
	old.Timeout = "0"
	if got := p.fault(port, old); got.Status != "expired" {
		p.fail("it answered %q", got.Status)
	}
	if st := s.Stats(); st.Expired != 1 || st.Waiting != 0 || st.Running != 1 {
		p.fail("the responder counts %+v", st)
	}
	second := p.call(c, 3) // for which the place is free
	p.await("the second waits", func() bool { return s.Stats().Waiting == 1 })
	release()
	for _, out := range []<-chan answered{first, second} {
		if got := receive(p, "an outcome", out); got.err != nil {
			p.fail("a call answered %v", got.err)
		}
	}
}

// guarantees: Q3
func expiresWaiting(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	var second atomic.Int64
	s := p.serve(&request.ServeOptions{MaxConcurrent: 1}, p.route(func(_ context.Context, m double) error {
		if m.N == 2 {
			second.Add(1)
		}
		began <- struct{}{}
		<-hold
		return nil
	}))
	c := p.client(nil)
	first := p.call(c, 1)
	receive(p, "the first handler", began)
	p.patiently(func(limit time.Duration) bool {
		before := s.Stats().Waiting // of earlier tries
		out := p.call(c, 2, request.Timeout(limit))
		p.await("the second waits, or has ended", func() bool { return s.Stats().Waiting > before || len(out) > 0 })
		waits := len(out) == 0
		if got := receive(p, "the outcome", out); !errors.Is(got.err, request.ErrTimeout) && (waits || !isFault(got.err, request.Expired)) {
			p.fail("the call answered %v", got.err)
		}
		p.quiet(limit) // the responder's own reckoning ends as much later as the request was on its way
		return waits
	})
	close(hold)
	if got := receive(p, "the first outcome", first); got.err != nil {
		p.fail("the first call answered %v", got.err)
	}
	p.await("it is counted", func() bool { st := s.Stats(); return st.Running+st.Waiting == 0 && st.Expired > 0 })
	if second.Load() != 0 {
		p.fail("the handler ran for a caller that had gone")
	}
}

// guarantees: Q3
func oneDeadline(p *probe) {
	ear := p.rawEar()
	c := p.client(nil)
	limit := p.cfg.Patience / 2
	begin := time.Now()
	out := p.call(c, 1, request.Timeout(limit))
	asked := ear.next()
	left, err := strconv.Atoi(asked.Timeout)
	if err != nil || left <= 0 || left > int(limit/time.Millisecond) {
		p.fail("%q ms were left of %v", asked.Timeout, limit)
	}
	if at := asked.Envelope.Expires; at.Before(begin.Add(limit-time.Millisecond)) || at.After(begin.Add(limit+p.cfg.Slack)) {
		p.fail("the request of %v ends at %v", begin, at)
	}
	ear.answer(asked, reply(asked, 2))
	receive(p, "the outcome", out)
}

func duplicateRequest(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	s := p.serve(nil, p.route(func(context.Context, double) error {
		began <- struct{}{}
		<-hold
		return nil
	}))
	port := p.rawPort()
	q := question(1)
	port.ask(q)
	receive(p, "the handler", began)
	port.ask(q)
	p.await("the second is counted", func() bool { return s.Stats().Duplicate == 1 })
	close(hold)
	if got := port.next(); got.Status != "ok" {
		p.fail("it answered %q", got.Status)
	}
	if len(began) != 0 {
		p.fail("the handler ran twice")
	}
}

// guarantees: Q4
func noText(p *probe) {
	const secret = "s3cr3t-of-the-handler"
	p.serve(nil, p.route(func(_ context.Context, m double) error {
		if m.N == 1 {
			panic(secret)
		}
		return errors.New(secret)
	}))
	port := p.rawPort()
	for n := 1; n <= 2; n++ {
		got := p.fault(port, question(n))
		all := strings.Join([]string{got.Status, got.Versions, got.Protocol, got.Request, got.Envelope.Subject, got.Envelope.Source, string(got.Envelope.Body)}, " ")
		for k, v := range got.Envelope.Headers {
			all += " " + k + "=" + v
		}
		if got.Status != "internal" || strings.Contains(all, secret) {
			p.fail("the answer is %s", all)
		}
	}
}

// guarantees: Q4
func categories(p *probe) {
	failures := []struct {
		err  error
		want request.Category
	}{
		{errors.New("any"), request.Internal},
		{request.Fail(request.Unavailable, errors.New("full")), request.Unavailable},
		{request.Fail("teapot", errors.New("any")), request.Internal},
		{request.Fail(request.Unauthorised, errors.New("no")), request.Unauthorised},
		{middleware.ErrForbidden, request.Unauthorised},
		{bus.ErrUnavailable, request.Unavailable},
		{sixfold.Permanent(sixfold.ErrInvalid), request.Malformed},
		{context.DeadlineExceeded, request.Internal}, // of something else: the call's own has not passed
	}
	p.serve(nil, p.route(func(_ context.Context, m double) error { return failures[m.N].err }))
	c := p.client(nil)
	for n, f := range failures {
		if _, err := p.double(p.ctx(), c, n); !isFault(err, f.want) {
			p.fail("%v became %v", f.err, err)
		}
	}
}
