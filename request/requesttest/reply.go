package requesttest

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

func replyCases() []Case {
	return []Case{
		{"Reply/FirstValidWins", "Forged, malformed and wrong-version replies are counted and leave the slot open; the first valid one wins.", forgedReplyKeepsSlot},
		{"Reply/Duplicate", "A second reply to a call is counted and changes nothing.", duplicate},
		{"Reply/Late", "A reply that comes after the call has ended is counted and changes nothing.", late},
		{"Reply/OtherPort", "A reply that comes to another caller's address ends nothing there and nothing here.", otherPort},
		{"Reply/UnknownStatus", "A fault of a category that is not of the list ends no call.", unknownStatus},
	}
}

// answered is what a call came to.
type answered struct {
	doubled
	err error
}

// call asks in a goroutine of its own.
func (p *probe) call(c *request.Client, n int, opts ...request.Option) <-chan answered {
	return p.callIn(p.ctx(), c, n, opts...)
}

func (p *probe) callIn(ctx context.Context, c *request.Client, n int, opts ...request.Option) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		got, err := p.double(ctx, c, n, opts...)
		out <- answered{got, err}
	}()
	return out
}

// guarantees: Q2
//
// [ForgedReplyKeepsSlot]: replies of one ear come in their order, so that those before the right one have been looked at when it wins.
func forgedReplyKeepsSlot(p *probe) {
	ear := p.rawEar()
	c := p.client(nil)
	out := p.call(c, 1)
	asked := ear.next()
	bad := []struct {
		what   string
		change func(r *request.Packet)
	}{
		{"another request's id", func(r *request.Packet) { r.Request = sixfold.NewID() }},
		{"another type", func(r *request.Packet) { r.Envelope.Type = "requesttest.other.reply" }},
		{"an answer typed as a fault", func(r *request.Packet) { r.Envelope.Type = request.FaultType }},
		{"a fault typed as an answer", func(r *request.Packet) { r.Status = "internal" }},
		{"another version", func(r *request.Packet) { r.Protocol = "reply/2" }},
		{"version 0", func(r *request.Packet) { r.Protocol = "reply/0" }},
		{"a version that is a text", func(r *request.Packet) { r.Protocol = "reply/one" }},
		{"no protocol", func(r *request.Packet) { r.Protocol = "" }},
		{"a request", func(r *request.Packet) { r.Protocol = "request/1" }},
		{"no id", func(r *request.Packet) { r.Request = "" }},
		{"an empty status", func(r *request.Packet) { r.Status = "" }},
		{"an unknown status", func(r *request.Packet) { r.Status, r.Envelope.Type = "teapot", request.FaultType }},
		{"no envelope", func(r *request.Packet) { r.Envelope = sixfold.Envelope{} }},
	}
	for _, b := range bad {
		r := reply(asked, 666)
		b.change(r)
		ear.answer(asked, r)
	}
	ear.answer(asked, reply(asked, 2))
	if got := receive(p, "the outcome", out); got.err != nil || got.N != 2 {
		p.fail("the call answered %+v, %v", got.doubled, got.err)
	}
	s := c.Stats()
	if n := s.Forged + s.Malformed + s.WrongVersion + s.Late + s.Duplicate; n != uint64(len(bad)) || s.WrongVersion != 2 || s.Forged != 5 || s.InFlight != 0 {
		p.fail("of %d bad replies the client counts %+v", len(bad), s)
	}
}

// guarantees: Q2
func duplicate(p *probe) {
	ear := p.rawEar()
	c := p.client(nil)
	for n := 1; n <= 2; n++ {
		out := p.call(c, n)
		asked := ear.next()
		ear.answer(asked, reply(asked, 2*n))
		ear.answer(asked, reply(asked, 666))
		if got := receive(p, "the outcome", out); got.err != nil || got.N != 2*n {
			p.fail("the call answered %+v, %v", got.doubled, got.err)
		}
	}
	p.await("both duplicates", func() bool { return c.Stats().Duplicate == 2 })
}

// guarantees: Q2
func late(p *probe) {
	ear := p.rawEar()
	c := p.client(nil)
	first := p.call(c, 1)
	asked := ear.next()
	ear.answer(asked, reply(asked, 2))
	if got := receive(p, "the first outcome", first); got.err != nil { // it is connected
		p.fail("the first call answered %v", got.err)
	}
	p.patiently(func(limit time.Duration) bool {
		if got := receive(p, "the outcome", p.call(c, 1, request.Timeout(limit))); !errors.Is(got.err, request.ErrTimeout) {
			p.fail("the call answered %+v, %v", got.doubled, got.err)
		}
		select {
		case asked = <-ear.packets:
			return true
		case <-time.After(limit):
			return false
		}
	})
	ear.answer(asked, reply(asked, 2))
	p.await("the late reply", func() bool { return c.Stats().Late == 1 })
	ear.answer(asked, reply(asked, 2))
	p.await("its duplicate", func() bool { return c.Stats().Duplicate == 1 })
	if n := c.Stats().InFlight; n != 0 {
		p.fail("%d slots are left", n)
	}
}

// guarantees: Q2
func otherPort(p *probe) {
	ear := p.rawEar()
	a, b := p.client(nil), p.client(nil)
	outA := p.call(a, 1)
	askedA := ear.next()
	outB := p.call(b, 2)
	askedB := ear.next()
	crossed := *askedB
	ear.answer(&crossed, reply(askedA, 666)) // A's id at B's address
	ear.answer(askedB, reply(askedB, 4))
	if got := receive(p, "B's outcome", outB); got.err != nil || got.N != 4 {
		p.fail("B's call answered %+v, %v", got.doubled, got.err)
	}
	if s := b.Stats(); s.Forged != 1 {
		p.fail("B counts %+v", s)
	}
	if s := a.Stats(); s.InFlight != 1 {
		p.fail("A counts %+v", s)
	}
	ear.answer(askedA, reply(askedA, 2))
	if got := receive(p, "A's outcome", outA); got.err != nil || got.N != 2 {
		p.fail("A's call answered %+v, %v", got.doubled, got.err)
	}
}

// guarantees: Q2, Q4
func unknownStatus(p *probe) {
	ear := p.rawEar()
	c := p.client(nil)
	for _, category := range []request.Category{request.Internal, request.Malformed, request.Unavailable, request.Unsupported, request.Expired, request.Unauthorised} {
		out := p.call(c, 1)
		asked := ear.next()
		r := reply(asked, 0)
		r.Envelope.Body, r.Envelope.ContentType, r.Envelope.Type, r.Status = nil, "", request.FaultType, "INTERNAL"
		ear.answer(asked, r)
		again := *r
		again.Status = string(category)
		ear.answer(asked, &again)
		got := receive(p, "the outcome", out)
		var f *request.Fault
		if !errors.As(got.err, &f) || f.Category != category || f.Request != asked.Request || f.Message != doubleName {
			p.fail("the call answered %+v, %v", got.doubled, got.err)
		}
	}
}
