package requesttest

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/request"
)

func lossCases() []Case {
	return []Case{
		{"Loss/BrokerCut", "When the broker is lost, pending calls fail at once with ErrLost where the lane sees that, else at their deadline; when it is back, calls work again.", brokerCut},
		{"Loss/NothingThere", "A call while the broker is away ends within its deadline.", nothingThere},
		{"Loss/ResponderKilled", "When a responder is killed with a request, the call ends by its deadline, and nobody else runs it.", responderKilled},
	}
}

func (p *probe) needsCut() {
	if p.h.Cut == nil || p.h.Restore == nil {
		p.Fatal("requesttest: the Harness has no Cut or no Restore")
	}
}

// guarantees: Q1, Q5
func brokerCut(p *probe) {
	p.needsCut()
	began := make(chan int, 10)
	release := make(chan struct{})
	s := p.serve(nil, p.route(func(ctx context.Context, m double) error {
		if m.N < held {
			return nil
		}
		began <- m.N
		<-release
		return nil
	}))
	lane := p.h.Connect(p)
	c := p.clientOn(lane, nil)
	p.mustDouble(c, 1) // it is connected
	n := held
	var out <-chan answered
	p.patiently(func(limit time.Duration) bool {
		if lane.Capabilities().DetectsLoss {
			limit = p.cfg.Patience / 2
		}
		n++
		out = p.call(c, n, request.Timeout(limit))
		return p.begins(n, began, out)
	})
	begin := time.Now()
	p.h.Cut(p)
	got := receive(p, "the outcome", out)
	took := time.Since(begin)
	if lane.Capabilities().DetectsLoss {
		if !errors.Is(got.err, request.ErrLost) || took > p.cfg.Patience/4 {
			p.fail("the call answered %v after %v", got.err, took)
		}
	} else if !errors.Is(got.err, request.ErrTimeout) {
		p.fail("the call answered %v", got.err)
	}
	if n := c.Stats().InFlight; n != 0 {
		p.fail("%d slots are left", n)
	}
	close(release)
	p.h.Restore(p)
	p.recovers(c)
	p.once(n, began, "the request ran again")
	p.await("the handler is over", func() bool { return s.Stats().Running == 0 })
}

// held is from which number on handlers wait. They say that they have begun, each with its number.
const held = 100

// once fails if one more has begun with this number.
func (p *probe) once(n int, began <-chan int, what string) {
	p.Helper()
	for len(began) > 0 {
		if <-began == n {
			p.fail("%s", what)
		}
	}
}

// recovers asks until it works: responders need a moment to be there again.
func (p *probe) recovers(c *request.Client) {
	p.Helper()
	var err error
	p.await("calls work again", func() bool {
		var got doubled
		got, err = p.double(p.ctx(), c, 21, request.Timeout(p.cfg.Deadline))
		return err == nil && got.N == 42
	})
}

// guarantees: Q1
func nothingThere(p *probe) {
	p.needsCut()
	p.serve(nil, p.route(nil))
	c := p.client(nil)
	p.h.Cut(p)
	begin := time.Now()
	_, err := p.double(p.ctx(), c, 1, request.Timeout(p.cfg.Deadline))
	if took := time.Since(begin); err == nil || took > p.cfg.Deadline+p.cfg.Slack {
		p.fail("the call answered %v after %v", err, took)
	}
	if n := c.Stats().InFlight; n != 0 {
		p.fail("%d slots are left", n)
	}
	p.h.Restore(p)
	p.recovers(c)
}

// guarantees: Q1, Q3
func responderKilled(p *probe) {
	if p.h.Kill == nil {
		p.Fatal("requesttest: the Harness has no Kill")
	}
	began := make(chan int, 10)
	release := make(chan struct{})
	defer close(release)
	handler := func(ctx context.Context, m double) error {
		if m.N < held {
			return nil
		}
		began <- m.N
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	victim := p.serve(nil, p.route(handler))
	c := p.client(nil)
	p.mustDouble(c, 1) // it is connected
	n := held
	var out <-chan answered
	p.patiently(func(limit time.Duration) bool {
		n++
		out = p.call(c, n, request.Timeout(limit))
		return p.begins(n, began, out)
	})
	other := p.serve(nil, p.route(handler))
	p.h.Kill(p, victim.lane)
	if got := receive(p, "the outcome", out); !errors.Is(got.err, request.ErrTimeout) && !errors.Is(got.err, request.ErrLost) {
		p.fail("the call answered %+v, %v", got.doubled, got.err)
	}
	p.recovers(c)
	p.await("what recovered is over", func() bool { return other.Stats().Running == 0 }) // an answer comes before its handler counts as ended
	p.once(n, began, "somebody else ran it too")
}
