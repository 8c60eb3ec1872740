package requesttest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold/request"
)

func responderCases() []Case {
	return []Case{
		{"Responder/GoneCallerRunsOnce", "A caller that has gone makes an answer undeliverable, and its request does not run again.", goneCallerRunsOnce},
		{"Responder/Full", "What comes beyond the handlers and those that wait is answered Unavailable at once.", full},
		{"Responder/Stop", "A stop takes no more requests, lets handlers finish and sends their answers; what waits is answered Unavailable.", stop},
		{"Responder/OneEach", "Of several responders at a destination one gets each request.", oneEach},
	}
}

// guarantees: Q6
func goneCallerRunsOnce(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	handler := func(_ context.Context, m double) error {
		if m.N == 1 {
			began <- struct{}{}
			<-hold
		}
		return nil
	}
	s := p.serve(nil, p.route(handler))
	port := p.rawPort()
	port.ask(question(1))
	receive(p, "the handler", began)
	port.close()
	other := p.serve(nil, p.route(handler)) // who would get it if it came again
	close(hold)
	if s.lane.Capabilities().DetectsGoneCaller {
		p.await("it is counted", func() bool { return s.Stats().Gone == 1 })
	} else {
		p.await("it is over", func() bool { st := s.Stats(); return st.Running == 0 && st.Answered+st.Unsent+st.Gone == 1 })
	}
	c := p.client(nil)
	for n := range 4 {
		p.mustDouble(c, n+2)
	}
	p.await("five requests are over", func() bool { return s.Stats().Answered+s.Stats().Unsent+s.Stats().Gone+other.Stats().Answered == 5 })
	if len(began) != 0 {
		p.fail("it ran again")
	}
}

func full(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	s := p.serve(&request.ServeOptions{MaxConcurrent: 1, MaxWaiting: 1}, p.route(func(context.Context, double) error {
		began <- struct{}{}
		<-hold
		return nil
	}))
	c := p.client(nil)
	first := p.call(c, 1)
	receive(p, "the first handler", began)
	second := p.call(c, 2)
	p.await("the second waits", func() bool { return s.Stats().Waiting == 1 })
	if got := receive(p, "the third outcome", p.call(c, 3)); !isFault(got.err, request.Unavailable) {
		p.fail("the third call answered %v", got.err)
	}
	close(hold)
	for _, out := range []<-chan answered{first, second} {
		if got := receive(p, "an outcome", out); got.err != nil {
			p.fail("a call answered %v", got.err)
		}
	}
	if s.Stats().Full != 1 {
		p.fail("the responder counts %+v", s.Stats())
	}
}

func stop(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	s := p.serve(&request.ServeOptions{MaxConcurrent: 1}, p.route(func(context.Context, double) error {
		began <- struct{}{}
		<-hold
		return nil
	}))
	c := p.client(nil)
	first := p.call(c, 1)
	receive(p, "the first handler", began)
	second := p.call(c, 2)
	p.await("the second waits", func() bool { return s.Stats().Waiting == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if got := receive(p, "the second outcome", second); !isFault(got.err, request.Unavailable) {
		p.fail("the call that waited answered %v", got.err)
	}
	close(hold)
	if got := receive(p, "the first outcome", first); got.err != nil || got.N != 2 {
		p.fail("the call that ran answered %+v, %v", got.doubled, got.err)
	}
	if err := receive(p, "the end of Run", stopped); err != nil {
		p.fail("Run answered %v", err)
	}
	if _, err := p.double(p.ctx(), c, 3, request.Timeout(p.cfg.Deadline)); !errors.Is(err, request.ErrNoResponder) && !errors.Is(err, request.ErrTimeout) {
		p.fail("a call after the stop answered %v", err)
	}
	if len(began) != 0 {
		p.fail("a handler ran after the stop")
	}
}

func oneEach(p *probe) {
	const calls = 40
	var ran atomic.Int64
	p.serve(nil, p.guard(&ran))
	p.serve(nil, p.guard(&ran))
	c := p.client(nil)
	var wg sync.WaitGroup
	for n := range calls {
		wg.Go(func() {
			if got, err := p.double(p.ctx(), c, n); err != nil || got.N != 2*n {
				p.Errorf("%d answered %+v, %v", n, got, err)
			}
		})
	}
	wg.Wait()
	if n := ran.Load(); n != calls {
		p.fail("%d calls ran %d times", calls, n)
	}
}
