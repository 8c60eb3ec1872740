package requesttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

func callCases() []Case {
	return []Case{
		{"Call/RoundTrip", "The answer of the handler comes to the caller who asked, with correlation and causation of the caller's message.", roundTrip},
		{"Call/ManyAtOnce", "Each of many calls at once gets its own answer.", manyAtOnce},
		{"Call/Timeout", "A call whose answer does not come ends with ErrTimeout at its deadline, and its handler's context ends too.", timeout},
		{"Call/Cancelled", "A call that is cancelled ends at once with ErrCancelled, and its handler's context ends where the lane carries that.", cancelled},
		{"Call/AtCapacity", "Beyond MaxInFlight a call ends at once with ErrAtCapacity, with nothing sent; a place that is free again serves.", atCapacity},
		{"Call/Closed", "Close fails what waits with ErrClosed and returns; later calls end with ErrClosed.", closed},
		{"Call/NoResponder", "Where nobody listens a call ends at once with ErrNoResponder, or, where the lane cannot see that, at its deadline.", noResponder},
		{"Call/EncodeAndDecode", "What cannot be encoded is never sent; an answer that cannot be decoded says that the handler ran.", encodeAndDecode},
		{"Call/TooLarge", "A request that is too large fails before it is sent, an answer that is too large is a fault.", tooLarge},
	}
}

// guarantees: Q1
func roundTrip(p *probe) {
	var mu sync.Mutex
	var seen *sixfold.Envelope
	p.serve(nil, p.route(func(ctx context.Context, _ double) error {
		mu.Lock()
		defer mu.Unlock()
		seen = sixfold.InfoFrom(ctx).Envelope
		return nil
	}))
	c := p.client(&request.ClientOptions{Source: "shop"})
	cause := &sixfold.Envelope{ID: sixfold.NewID(), CorrelationID: "corr-1", Type: "outer"}
	ctx := sixfold.WithInfo(p.ctx(), &sixfold.Info{Envelope: cause, Attempt: 1})
	got, err := p.double(ctx, c, 21, request.Headers(map[string]string{"tenant": "Zoë"}))
	if err != nil || got.N != 42 {
		p.fail("the answer is %+v, %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if seen.ID != got.ID || seen.CorrelationID != "corr-1" || seen.CausationID != cause.ID || seen.Source != "shop" || seen.Headers["tenant"] != "Zoë" || seen.ReplyTo == "" {
		p.fail("the handler saw %v with correlation %q, causation %q, source %q, headers %v, reply address %q", seen, seen.CorrelationID, seen.CausationID, seen.Source, seen.Headers, seen.ReplyTo)
	}
	if s := c.Stats(); s.InFlight != 0 || s.Calls != 1 {
		p.fail("the client counts %+v", s)
	}
}

// guarantees: Q1
func manyAtOnce(p *probe) {
	p.serve(nil, p.route(nil))
	p.serve(nil, p.route(nil))
	c := p.client(nil)
	var wg sync.WaitGroup
	errs := make(chan error, 300)
	for n := range 300 {
		wg.Go(func() {
			got, err := p.double(p.ctx(), c, n)
			if err == nil && got.N != 2*n {
				err = fmt.Errorf("%d became %d", n, got.N)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			p.fail("%v", err)
		}
	}
	if s := c.Stats(); s.InFlight != 0 || s.Forged+s.Late+s.Duplicate+s.Malformed+s.WrongVersion != 0 {
		p.fail("the client counts %+v", s)
	}
}

// guarantees: Q1, Q3
func timeout(p *probe) {
	ended := make(chan error, 10)
	p.serve(nil, p.route(func(ctx context.Context, m double) error {
		if m.N == 0 {
			return nil
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}))
	c := p.client(nil)
	p.mustDouble(c, 0) // it is connected
	p.patiently(func(limit time.Duration) bool {
		ctx, cancel := context.WithTimeout(p.Context(), limit)
		defer cancel()
		begin := time.Now()
		_, err := p.double(ctx, c, 1)
		took := time.Since(begin)
		if !errors.Is(err, request.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			if !isFault(err, request.Expired) { // the responder's word may be first, by the rounding of a millisecond
				p.fail("the outcome is %v", err)
			}
		}
		if took > limit+p.cfg.Slack {
			p.fail("it took %v, the deadline was %v", took, limit)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				p.fail("the handler's context ended with %v", err)
			}
			return true
		case <-time.After(limit): // its own reckoning ends as much later as the request was on its way
			return false
		}
	})
	if n := c.Stats().InFlight; n != 0 {
		p.fail("%d slots are left", n)
	}
}

// guarantees: Q1
func cancelled(p *probe) {
	began, ended := make(chan int, 10), make(chan int, 10)
	p.serve(nil, p.route(func(ctx context.Context, m double) error {
		if m.N == 0 {
			return nil
		}
		began <- m.N
		<-ctx.Done()
		ended <- m.N
		return ctx.Err()
	}))
	lane := p.h.Connect(p)
	c := p.clientOn(lane, nil)
	p.mustDouble(c, 0) // it is connected
	n := 0
	p.patiently(func(limit time.Duration) bool {
		if lane.Capabilities().Cancels {
			limit = p.cfg.Patience / 2
		}
		n++
		ctx, cancel := context.WithCancel(p.Context())
		defer cancel()
		start := time.Now()
		out := p.callIn(ctx, c, n, request.Timeout(limit))
		if !p.begins(n, began, out) {
			return false
		}
		begin := time.Now()
		cancel()
		got := receive(p, "the outcome", out)
		if errors.Is(got.err, request.ErrTimeout) && time.Since(start) >= limit {
			return false
		}
		if !errors.Is(got.err, request.ErrCancelled) || !errors.Is(got.err, context.Canceled) {
			p.fail("the outcome is %v", got.err)
		}
		for last := 0; last != n; { // before it, those of earlier tries
			last = receive(p, "the end of the handler's context", ended)
		}
		if took := time.Since(begin); lane.Capabilities().Cancels && took >= p.cfg.Patience/4 {
			p.fail("the handler heard of it after %v", took)
		}
		return true
	})
	if n := c.Stats().InFlight; n != 0 {
		p.fail("%d slots are left", n)
	}
}

// guarantees: Q5
func atCapacity(p *probe) {
	hold, began := make(chan struct{}), make(chan int, 10)
	p.serve(nil, p.route(func(_ context.Context, m double) error {
		began <- m.N
		<-hold
		return nil
	}))
	release := sync.OnceFunc(func() { close(hold) })
	p.Cleanup(release)
	c := p.client(&request.ClientOptions{MaxInFlight: 2})
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() { p.double(p.ctx(), c, n) })
	}
	receive(p, "the first handler", began)
	receive(p, "the second handler", began)
	if _, err := p.double(p.ctx(), c, 99); !errors.Is(err, request.ErrAtCapacity) {
		p.fail("the third call answered %v", err)
	}
	release()
	wg.Wait()
	p.mustDouble(c, 3)
	for len(began) > 0 {
		if <-began == 99 {
			p.fail("what was refused was sent")
		}
	}
	if s := c.Stats(); s.AtCapacity != 1 || s.InFlight != 0 {
		p.fail("the client counts %+v", s)
	}
}

// guarantees: Q1, Q5
func closed(p *probe) {
	began, hold := make(chan struct{}, 10), make(chan struct{})
	defer close(hold) // nobody tells the handlers
	p.serve(nil, p.route(func(context.Context, double) error {
		began <- struct{}{}
		<-hold
		return nil
	}))
	c := p.client(nil)
	out := make(chan error, 3)
	for n := range 3 {
		go func() {
			_, err := p.double(p.ctx(), c, n)
			out <- err
		}()
	}
	for range 3 {
		receive(p, "a handler", began)
	}
	if err := c.Close(p.ctx()); err != nil {
		p.fail("Close answered %v", err)
	}
	for range 3 {
		if err := receive(p, "an outcome", out); !errors.Is(err, request.ErrClosed) {
			p.fail("the outcome is %v", err)
		}
	}
	if _, err := p.double(p.ctx(), c, 9); !errors.Is(err, request.ErrClosed) {
		p.fail("a call after Close answered %v", err)
	}
}

func noResponder(p *probe) {
	lane := p.h.Connect(p)
	c := p.clientOn(lane, nil)
	begin := time.Now()
	if !lane.Capabilities().DetectsNoResponder {
		if _, err := p.double(p.ctx(), c, 1, request.Timeout(p.cfg.Deadline)); !errors.Is(err, request.ErrTimeout) {
			p.fail("the outcome is %v", err)
		}
		return
	}
	if _, err := p.double(p.ctx(), c, 1, request.Timeout(p.cfg.Patience)); !errors.Is(err, request.ErrNoResponder) {
		p.fail("the outcome is %v", err)
	}
	if took := time.Since(begin); took > p.cfg.Patience/2 {
		p.fail("it took %v", took)
	}
}

// number cannot be encoded, or its answer not decoded.
type number struct {
	sixfold.Returns[int] `json:"-"`
	Bad                  any
}

func (number) MessageName() string { return "requesttest.number" }

// text has the same name and another answer.
type text struct {
	sixfold.Returns[string] `json:"-"`
}

func (text) MessageName() string { return "requesttest.number" }

func encodeAndDecode(p *probe) {
	ran := make(chan struct{}, 10)
	p.serve(nil, request.On(func(context.Context, text) (string, error) {
		ran <- struct{}{}
		return "forty-two", nil
	}).At(p.to))
	c := p.client(nil)
	if _, err := request.Send(p.ctx(), c, number{Bad: make(chan int)}, request.To(p.to)); !errors.Is(err, request.ErrEncode) || errors.Is(err, request.ErrDecode) {
		p.fail("what cannot be encoded answered %v", err)
	}
	if s := c.Stats(); s.InFlight != 0 {
		p.fail("%d slots are left", s.InFlight)
	}
	_, err := request.Send(p.ctx(), c, number{}, request.To(p.to))
	if !errors.Is(err, request.ErrDecode) || errors.Is(err, request.ErrEncode) {
		p.fail("an answer that cannot be decoded answered %v", err)
	}
	if strings.Contains(err.Error(), "forty-two") {
		p.fail("the error shows the body: %v", err)
	}
	if len(ran) != 1 {
		p.fail("the handler ran %d times", len(ran))
	}
}

// large is as long as it is told.
type large struct {
	sixfold.Returns[string] `json:"-"`
	Text                    string
	Answer                  int
}

func (large) MessageName() string { return "requesttest.large" }

func tooLarge(p *probe) {
	lane := p.h.Connect(p)
	most := lane.Capabilities().MaxBody
	if most <= 0 || most > 8<<20 {
		p.Skipf("not applicable: the lane states no MaxBody up to 8 MiB")
	}
	p.serve(nil, request.On(func(_ context.Context, m large) (string, error) { return strings.Repeat("x", m.Answer), nil }).At(p.to))
	c := p.clientOn(lane, nil)
	if _, err := request.Send(p.ctx(), c, large{Text: strings.Repeat("x", most)}, request.To(p.to)); !errors.Is(err, request.ErrEncode) {
		p.fail("a request that is too large answered %v", err)
	}
	if _, err := request.Send(p.ctx(), c, large{Answer: most}, request.To(p.to)); !isFault(err, request.Internal) {
		p.fail("an answer that is too large answered %v", err)
	}
	if got, err := request.Send(p.ctx(), c, large{Text: strings.Repeat("x", most-1000), Answer: most - 1000}, request.To(p.to)); err != nil || len(got) != most-1000 {
		p.fail("what fits answered %d bytes, %v", len(got), err)
	}
}
