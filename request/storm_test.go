package request_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// fate is what a storm does to one call. It depends on the seed and the call's number only.
type fate struct {
	timeout  time.Duration
	asked    []passage // the copies of the request that arrive
	answered []passage // those of each answer
	works    time.Duration
	fails    bool
	cancels  time.Duration // after which the caller cancels; 0: it does not
	forgery  string        // sent before the answer: "" is none
}

// passage is one copy on its way.
type passage struct {
	takes time.Duration
	told  bool // the receiver learns how long it took
}

// after calls f when the copy arrives.
func (p passage) after(f func()) {
	if p.takes == 0 {
		f()
		return
	}
	time.AfterFunc(p.takes, f)
}

func newFate(seed uint64, n int) fate {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	ms := func(most int) time.Duration { return time.Duration(1+r.IntN(most)) * time.Millisecond }
	one := func(percent int) bool { return r.IntN(100) < percent }
	passages := func() []passage {
		var all []passage
		copies := 1
		switch {
		case one(5):
			copies = 0
		case one(8):
			copies = 2 + r.IntN(2)
		}
		for range copies {
			p := passage{told: one(50)}
			switch {
			case one(5):
				p.takes = ms(400)
			case one(50):
				p.takes = ms(15)
			}
			all = append(all, p)
		}
		return all
	}
	f := fate{timeout: 20*time.Millisecond + ms(180), asked: passages(), answered: passages(), works: ms(20), fails: one(4)}
	if one(2) {
		f.works = ms(300)
	}
	if one(3) {
		f.cancels = ms(40)
	}
	if one(4) {
		f.forgery = [...]string{"id", "status", "version"}[r.IntN(3)]
	}
	return f
}

// storm is a lane that drops, doubles, delays and reorders what a memory lane carries, and keeps the books.
type storm struct {
	request.Lane
	fates []fate

	mu       sync.Mutex
	arrivals []arrival // of requests
	answers  int       // that the responder handed over
	replies  int       // that came to the caller
	forged   int       // of those, the ones for a call that was never made
	running  map[int]bool
}

// arrival is a copy of a request at the responder.
type arrival struct {
	call  int
	limit time.Time // by what it says and how long it is known to have waited
	ends  time.Time // by its caller's clock
	told  bool
	runs  int
}

func (s *storm) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	take := in.Take
	in.Take = func(p *request.Packet) {
		s.mu.Lock()
		s.replies++
		s.mu.Unlock()
		take(p)
	}
	port, err := s.Lane.Open(ctx, in)
	return stormPort{port, s}, err
}

func (s *storm) Listen(ctx context.Context, at []string, in request.Requests) (request.Ear, error) {
	ear, err := s.Lane.Listen(ctx, at, in)
	return stormEar{ear, s}, err
}

type stormPort struct {
	request.Port
	s *storm
}

func (p stormPort) Ask(ctx context.Context, to string, asked *request.Packet) error {
	if asked.Protocol == "cancel/1" {
		return p.Port.Ask(ctx, to, asked)
	}
	call, err := strconv.Atoi(asked.Envelope.Headers["call"])
	if err != nil {
		return err
	}
	for _, way := range p.s.fates[call].asked {
		q := *asked
		way.after(func() { p.arrive(to, &q, call, way) })
	}
	return nil
}

func (p stormPort) arrive(to string, q *request.Packet, call int, way passage) {
	if way.told {
		q.Waited = way.takes
	}
	left, _ := strconv.Atoi(q.Timeout)
	q.Envelope.Headers = maps.Clone(q.Envelope.Headers)
	p.s.mu.Lock()
	q.Envelope.Headers["arrival"] = strconv.Itoa(len(p.s.arrivals))
	p.s.arrivals = append(p.s.arrivals, arrival{call: call, told: way.told, ends: q.Envelope.Expires,
		limit: time.Now().Add(time.Duration(left)*time.Millisecond - q.Waited)})
	p.s.mu.Unlock()
	_ = p.Port.Ask(context.Background(), to, q)
}

type stormEar struct {
	request.Ear
	s *storm
}

func (e stormEar) Answer(_ context.Context, asked, reply *request.Packet) error {
	call, err := strconv.Atoi(asked.Envelope.Headers["call"])
	if err != nil {
		return err
	}
	e.s.mu.Lock()
	e.s.answers++
	e.s.mu.Unlock()
	f := e.s.fates[call]
	question := *asked
	for _, way := range f.answered {
		r := *reply
		way.after(func() {
			if f.forgery != "" {
				e.forge(&question, r, f.forgery)
			}
			_ = e.Ear.Answer(context.Background(), &question, &r)
		})
	}
	return nil
}

// forge answers before the responder does.
func (e stormEar) forge(asked *request.Packet, r request.Packet, what string) {
	r.Envelope.Body = []byte("666")
	switch what {
	case "id":
		r.Request = sixfold.NewID()
		e.s.mu.Lock()
		e.s.forged++
		e.s.mu.Unlock()
	case "status":
		r.Status, r.Envelope.Type = "teapot", request.FaultType
	case "version":
		r.Protocol = "reply/2"
	}
	_ = e.Ear.Answer(context.Background(), asked, &r)
}

// handle is the handler under a storm: it must not run too late, nor twice for one arrival.
func (s *storm) handle(t *testing.T) func(ctx context.Context, q Length) (int, error) {
	return func(ctx context.Context, q Length) (int, error) {
		env := sixfold.InfoFrom(ctx).Envelope
		at, _ := strconv.Atoi(env.Headers["arrival"])
		now := time.Now()
		s.mu.Lock()
		a := &s.arrivals[at]
		a.runs++
		f := s.fates[a.call]
		if !now.Before(a.limit) {
			t.Errorf("call %d: a handler runs %v after the deadline", a.call, now.Sub(a.limit))
		}
		if a.told && !now.Before(a.ends) {
			t.Errorf("call %d: a handler runs %v after its caller's deadline, though it is known how long the request waited", a.call, now.Sub(a.ends))
		}
		if a.runs > 1 {
			t.Errorf("call %d: one arrival runs %d times", a.call, a.runs)
		}
		if s.running[a.call] {
			t.Errorf("call %d runs twice at once", a.call)
		}
		call := a.call // since arrivals move
		s.running[call] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.running, call)
			s.mu.Unlock()
		}()
		work := time.NewTimer(f.works)
		defer work.Stop()
		select {
		case <-work.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if f.fails {
			return 0, errors.New("it fails")
		}
		return -len(q.Text) - at*1000, nil // the arrival, so that the books can tell whose answer it is
	}
}

// outcomes of the calls of a storm.
type outcomes struct {
	mu                                                sync.Mutex
	answers, faults, timeouts, cancelled, unavailable int
}

// judge counts the outcome of a call and fails when it cannot be that one.
func (o *outcomes) judge(t *testing.T, s *storm, call int, got int, err error, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := s.fates[call]
	var fault *request.Fault
	switch {
	case err == nil:
		o.answers++
		s.mu.Lock()
		defer s.mu.Unlock()
		if at := -got / 1000; got > 0 || at >= len(s.arrivals) || s.arrivals[at].call != call || s.arrivals[at].runs != 1 || f.fails {
			t.Errorf("call %d got somebody else's answer, or one of a handler that did not run: %d", call, got)
		}
	case errors.As(err, &fault):
		o.faults++
		switch fault.Category {
		case request.Internal:
			if !f.fails {
				t.Errorf("call %d: %v", call, err)
			}
		case request.Unavailable:
			o.unavailable++
		case request.Expired:
		default:
			t.Errorf("call %d: %v", call, err)
		}
	case errors.Is(err, request.ErrTimeout):
		o.timeouts++
		if took < f.timeout {
			t.Errorf("call %d timed out after %v of %v", call, took, f.timeout)
		}
	case errors.Is(err, request.ErrCancelled):
		o.cancelled++
		if f.cancels == 0 || took < f.cancels {
			t.Errorf("call %d was cancelled after %v", call, took)
		}
	default:
		t.Errorf("call %d: %v", call, err)
	}
	if took > f.timeout+100*time.Millisecond {
		t.Errorf("call %d took %v, its deadline was %v", call, took, f.timeout)
	}
}

// guarantees: Q1, Q2, Q3, Q6
//
// In a bubble: the time of calls costs nothing and is held to exactly. A goroutine or a slot that is left fails it as well.
func TestStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	calls := 100_000
	if testing.Short() {
		calls = 10_000
	}
	synctest.Test(t, func(t *testing.T) { runStorm(t, seed, calls) })
}

// runStorm makes the calls.
func runStorm(t *testing.T, seed uint64, calls int) {
	const callers = 300
	s := &storm{Lane: newLane(t), fates: make([]fate, calls), running: make(map[int]bool)}
	for n := range s.fates {
		s.fates[n] = newFate(seed, n)
	}
	// Handlers are fewer than calls, so that requests wait, and end while they do.
	responder, stop := serve(t, s, request.ServeOptions{MaxConcurrent: 56, MaxWaiting: 200, Logger: slog.New(slog.DiscardHandler)}, request.On(s.handle(t)))
	// It remembers as many calls as there are, so that the books of late and forged replies are exact.
	client := newClient(t, s, &request.ClientOptions{MaxInFlight: calls})
	var all outcomes
	var wg sync.WaitGroup
	next := make(chan int)
	for range callers {
		wg.Go(func() {
			for n := range next {
				ctx, cancel := context.WithCancel(t.Context())
				if after := s.fates[n].cancels; after > 0 {
					time.AfterFunc(after, cancel)
				}
				begin := time.Now()
				got, err := request.Send(ctx, client, Length{Text: "four"}, request.Timeout(s.fates[n].timeout), request.Headers(map[string]string{"call": strconv.Itoa(n)}))
				all.judge(t, s, n, got, err, time.Since(begin))
				cancel()
			}
		})
	}
	for n := range calls {
		next <- n
	}
	close(next)
	wg.Wait()
	time.Sleep(time.Minute) // of the bubble: what is on its way arrives
	s.check(t, &all, client.Stats(), responder.Stats())
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// check adds everything up.
func (s *storm) check(t *testing.T, all *outcomes, c request.ClientStats, r request.ResponderStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d answers, %d faults (%d of them unavailable), %d timeouts, %d cancelled; %d arrivals, %d replies", all.answers, all.faults, all.unavailable, all.timeouts, all.cancelled, len(s.arrivals), s.replies)
	t.Logf("client %+v, responder %+v", c, r)
	calls := len(s.fates)
	if n := all.answers + all.faults + all.timeouts + all.cancelled; n != calls || c.Calls != uint64(calls) {
		t.Errorf("%d calls have %d outcomes; the client counts %d", calls, n, c.Calls)
	}
	if c.InFlight != 0 || r.Running != 0 || r.Waiting != 0 {
		t.Errorf("%d slots, %d handlers and %d requests are left", c.InFlight, r.Running, r.Waiting)
	}
	if n := uint64(all.answers+all.faults) + c.Late + c.Duplicate + c.Forged + c.Malformed + c.WrongVersion; n != uint64(s.replies) {
		t.Errorf("%d replies came, the client accounts for %d", s.replies, n)
	}
	if c.Forged != uint64(s.forged) {
		t.Errorf("%d replies are for calls that were never made, the client counts %d", s.forged, c.Forged)
	}
	if n := r.Answered + r.Faults; n != uint64(s.answers) || r.Gone+r.Unsent+r.Dropped+r.Lost != 0 {
		t.Errorf("%d answers were handed over, the responder counts %d", s.answers, n)
	}
	runs := 0
	for _, a := range s.arrivals {
		runs += a.runs
	}
	// What was cancelled needs no answer, and no handler if it waited.
	arrived := uint64(len(s.arrivals))
	if n := r.Answered + r.Faults + r.Duplicate; n > arrived || arrived-n > r.Cancelled {
		t.Errorf("%d requests arrived, the responder accounts for %d, and %d were cancelled", arrived, n, r.Cancelled)
	}
	if n := uint64(runs) + r.Expired + r.Full + r.Duplicate; n > arrived || arrived-n > r.Cancelled {
		t.Errorf("%d requests arrived, %d ran, and the responder counts %d expired, %d full, %d duplicate and %d cancelled", arrived, runs, r.Expired, r.Full, r.Duplicate, r.Cancelled)
	}
	if all.answers < calls/2 || all.timeouts == 0 || all.cancelled == 0 || r.Expired == 0 || r.Duplicate == 0 || c.Late == 0 || c.Duplicate == 0 || c.Malformed == 0 || c.WrongVersion == 0 {
		t.Error("the storm was too weak to show anything")
	}
}
