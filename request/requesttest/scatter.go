package requesttest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

func scatterCases() []Case {
	return []Case{
		{"Scatter/ByDeadline", "All who listen at a destination are asked, and what they answered until the deadline is the result; a lane that cannot is refused at the call.", scatterByDeadline},
		{"Scatter/Want", "When as many have answered as are wanted it ends at once, and those that still work are told.", scatterWant},
		{"Scatter/Left", "Who leaves the loop has enough, and those that still work are told.", scatterLeft},
		{"Scatter/Faults", "A fault is one of the answers, and not the end.", scatterFaults},
		{"Scatter/OnceEach", "An answer that comes twice counts once; what is forged is counted and left out.", scatterOnceEach},
		{"Scatter/NoResponder", "Where nobody listens it ends with ErrNoResponder, or, where the lane cannot see that, at its deadline with nothing.", scatterNobody},
		{"Scatter/Signed", "Where answers are signed it is known who gave them, and others do not count.", scatterSigned},
	}
}

func (p *probe) scatter(ctx context.Context, c *request.Client, n int, opts ...request.Option) *request.Scattered[doubled] {
	return request.Scatter(ctx, c, double{N: n}, append(opts, request.To(p.to))...)
}

// scatters reports whether the lane can ask all, and looks that the call says so where it cannot.
func (p *probe) scatters(lane request.Lane) bool {
	p.Helper()
	if lane.Capabilities().Scatters {
		return true
	}
	if got, err := p.scatter(p.ctx(), p.clientOn(lane, nil), 1).Collect(); len(got) != 0 || !errors.Is(err, sixfold.ErrInvalid) {
		p.fail("a lane that cannot ask all answered %d times, %v", len(got), err)
	}
	return false
}

// guarantees: Q1, Q3
func scatterByDeadline(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	const responders = 5
	var ran atomic.Int64
	for range responders {
		p.serve(nil, p.guard(&ran))
	}
	c := p.clientOn(lane, nil)
	p.mustDouble(c, 1) // it is connected
	late := 0
	p.patiently(func(limit time.Duration) bool {
		ran.Store(0)
		begin := time.Now()
		limit *= 3
		asked := p.scatter(p.ctx(), c, 21, request.Timeout(limit))
		got, err := asked.Collect()
		took := time.Since(begin)
		if took < limit-time.Millisecond || took > limit+p.cfg.Slack {
			p.fail("it took %v, the deadline was %v", took, limit)
		}
		inTime := 0
		for _, a := range got {
			switch {
			case a.Err == nil && a.Result.N == 42 && a.To == p.to && a.From != "":
				inTime++
			case !isFault(a.Err, request.Expired): // which is one who was too slow
				p.fail("an answer is %+v", a)
			}
		}
		if err != nil || !asked.ByDeadline() || inTime == responders && (len(got) != responders || ran.Load() != responders) {
			p.fail("of %d responders %d ran and %d answered, %v; by its deadline: %v", responders, ran.Load(), len(got), err, asked.ByDeadline())
		}
		late += responders - len(got)
		p.await("all have answered, if only too late", func() bool { return c.Stats().Late == uint64(late) })
		return inTime == responders
	})
	p.over(c, nil)
	if s := c.Stats(); s.Forged+s.Duplicate+s.Malformed != 0 {
		p.fail("the client counts %+v", s)
	}
}

// working serves responders of which some answer when the others have begun, who go on until they are told to end.
func (p *probe) working(quick, slow int) (begun, ended chan struct{}) {
	begun, ended = make(chan struct{}), make(chan struct{}, 16)
	var n atomic.Int64
	for range slow {
		p.serve(nil, p.route(func(ctx context.Context, _ double) error {
			if n.Add(1) == int64(slow) {
				close(begun)
			}
			<-ctx.Done()
			ended <- struct{}{}
			return ctx.Err()
		}))
	}
	for range quick {
		p.serve(nil, p.route(func(ctx context.Context, _ double) error {
			select {
			case <-begun:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
	}
	return begun, ended
}

// guarantees: Q1
func scatterWant(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	_, ended := p.working(3, 1)
	c := p.clientOn(lane, nil)
	begin := time.Now()
	asked := p.scatter(p.ctx(), c, 2, request.Want(3))
	got, err := asked.Collect()
	if err != nil || len(got) != 3 || asked.ByDeadline() || time.Since(begin) > p.cfg.Patience/2 {
		p.fail("%d answered, %v, after %v; by its deadline: %v", len(got), err, time.Since(begin), asked.ByDeadline())
	}
	receive(p, "the end of the one that works", ended)
	p.over(c, nil)
}

func scatterLeft(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	_, ended := p.working(1, 2)
	c := p.clientOn(lane, nil)
	asked := p.scatter(p.ctx(), c, 2)
	for a := range asked.Answers() {
		if a.Err != nil || a.Result.N != 4 {
			p.fail("an answer is %+v", a)
		}
		break
	}
	if asked.Err() != nil || asked.ByDeadline() {
		p.fail("it ended with %v; by its deadline: %v", asked.Err(), asked.ByDeadline())
	}
	for range 2 {
		receive(p, "the end of one that works", ended)
	}
	p.over(c, nil)
	begun, ended := p.working(0, 1)
	ctx, cancel := context.WithCancel(p.ctx())
	defer cancel()
	go func() {
		select {
		case <-begun:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := p.scatter(ctx, c, 2).Collect(); !errors.Is(err, request.ErrCancelled) {
		p.fail("one that was cancelled ended with %v", err)
	}
	receive(p, "the end of the one that works", ended)
	p.over(c, nil)
}

// guarantees: Q4
func scatterFaults(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	broken := func(context.Context, double) error { return errors.New("no") }
	p.serve(nil, p.route(nil))
	p.serve(nil, p.route(broken))
	p.serve(nil, p.route(nil))
	c := p.clientOn(lane, nil)
	asked := p.scatter(p.ctx(), c, 2, request.Want(3))
	good, bad := 0, 0
	for a := range asked.Answers() {
		switch {
		case a.Err == nil && a.Result.N == 4:
			good++
		case isFault(a.Err, request.Internal) && a.Result.N == 0:
			bad++
		default:
			p.fail("an answer is %+v", a)
		}
	}
	if good != 2 || bad != 1 || asked.Err() != nil {
		p.fail("%d answers and %d faults came, then %v", good, bad, asked.Err())
	}
}

// guarantees: Q2
//
// [ForgedReplyKeepsSlot]
func scatterOnceEach(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	one, two := p.rawEar(), p.rawEar()
	c := p.clientOn(lane, nil)
	type outcome struct {
		answers []request.Answered[doubled]
		err     error
	}
	out := make(chan outcome, 1)
	go func() {
		got, err := p.scatter(p.ctx(), c, 1, request.Want(2)).Collect()
		out <- outcome{got, err}
	}()
	asked := one.next()
	if asked.Protocol != "scatter/1" || asked.Timeout == "" || asked.Number != "" {
		p.fail("it is asked with %+v", asked)
	}
	r := reply(asked, 2)
	one.answer(asked, r)
	one.answer(asked, r)
	bad := []func(r *request.Packet){
		func(r *request.Packet) { r.Request = sixfold.NewID() },
		func(r *request.Packet) { r.Protocol = "reply/2" },
		func(r *request.Packet) { r.Envelope.Type = "requesttest.other.reply" },
		func(r *request.Packet) { r.Status = "internal" },
		func(r *request.Packet) { r.Status, r.Envelope.Type = "teapot", request.FaultType },
		func(r *request.Packet) { r.Envelope = sixfold.Envelope{} },
		func(r *request.Packet) { r.Protocol, r.Number = "item/1", "1" },
	}
	for _, change := range bad {
		r := reply(asked, 666)
		change(r)
		one.answer(asked, r)
	}
	p.await("all are counted", func() bool {
		s := c.Stats()
		return s.Duplicate == 1 && s.Forged+s.Malformed+s.WrongVersion == uint64(len(bad))
	})
	other := two.next()
	two.answer(other, reply(other, 2))
	got := receive(p, "the outcome", out)
	if got.err != nil || len(got.answers) != 2 || got.answers[0].Result.N != 2 || got.answers[1].Result.N != 2 {
		p.fail("the answers are %+v, %v", got.answers, got.err)
	}
	two.answer(other, reply(other, 2))
	p.await("what is late is counted", func() bool { return c.Stats().Late == 1 })
}

func scatterNobody(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	c := p.clientOn(lane, nil)
	limit := p.cfg.Patience
	if !lane.Capabilities().DetectsNoResponder {
		limit = p.cfg.Deadline
	}
	begin := time.Now()
	asked := p.scatter(p.ctx(), c, 1, request.Timeout(limit))
	got, err := asked.Collect()
	if lane.Capabilities().DetectsNoResponder {
		if len(got) != 0 || !errors.Is(err, request.ErrNoResponder) || time.Since(begin) > limit/2 {
			p.fail("%d answered, %v, after %v", len(got), err, time.Since(begin))
		}
	} else if len(got) != 0 || err != nil || !asked.ByDeadline() {
		p.fail("%d answered, %v", len(got), err)
	}
	p.over(c, nil)
}

// guarantees: Q2
func scatterSigned(p *probe) {
	lane := p.h.Connect(p)
	if !p.scatters(lane) {
		return
	}
	for _, who := range []string{"quotes", "rates", "thief"} {
		p.serve(&request.ServeOptions{Signer: signer(p, who), Verifier: accepts(p, "shop")}, p.route(nil))
	}
	c := p.clientOn(lane, &request.ClientOptions{Signer: signer(p, "shop"), Verifier: accepts(p, "quotes", "rates")})
	from := map[string]bool{}
	var answers atomic.Int64
	ctx, cancel := context.WithCancel(p.ctx())
	go func() { // ends it when all three have come
		defer cancel()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for answers.Load() < 2 || c.Stats().Forged < 1 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	asked := p.scatter(ctx, c, 4)
	for a := range asked.Answers() {
		if a.Err != nil || a.Result.N != 8 {
			p.fail("an answer is %+v", a)
		}
		from[a.From] = true
		answers.Add(1)
	}
	if len(from) != 2 || !from["quotes-service"] || !from["rates-service"] || c.Stats().Forged != 1 || !errors.Is(asked.Err(), request.ErrCancelled) {
		p.fail("answers came from %v, then %v; the client counts %+v", from, asked.Err(), c.Stats())
	}
}
