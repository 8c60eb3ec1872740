package requesttest

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
)

// StormConfig says how many calls a storm is about, and how hard it is. The zero value is right for nobody: Calls is required.
type StormConfig struct {
	// Calls is how many are made; with -short a tenth, but not fewer than 400, which is about what it takes to see everything.
	Calls int
	// Seed decides what becomes of which call; the log has it. 0: another one each time.
	Seed uint64
	// Callers make them, each one after the other. 0: 300. Where it is not Exact fewer of them do so while half of all calls time out: a
	// busy machine gets as many as it can bear.
	Callers int
	// Pace is by what the times of a storm are multiplied: its calls have 20 to 200 ms, the packets half a dozen of them to travel. 0: 1.
	Pace int
	// Exact says that nothing takes time but what the storm lets take some, as in a bubble of testing/synctest. Then outcomes are held to 100 ms
	// after their deadline, and handlers to the deadline itself. Else both have Slack.
	Exact bool
	// Slack is by how much an outcome may come after its deadline, where it is not Exact. 0: 30 s, since the machine may be busy.
	Slack time.Duration
	// Outside says that somebody between the lane and its broker drops and doubles. The storm does not, and keeps the books only.
	Outside bool
}

// Storm makes calls over a lane between which and the calls packets are dropped, doubled, delayed, overtaken and forged, callers leave, and handlers
// are slow, fail, and are too few. Then everything has to add up: each call has one outcome, in time, and one that can be; what came is what the client
// counts; a valid reply that came in time is the outcome; nobody gets another's answer; no handler runs too late, nor twice for one
// arrival; nothing is carried twice by the lane; nothing is left. newLane is called twice: for the caller and for the responder.
//
// It ends with an error, too, if the storm was too weak to show anything.
func Storm(t testing.TB, cfg StormConfig, newLane func(tb testing.TB) request.Lane) {
	t.Helper()
	s := newStorm(t, cfg)
	t.Logf("%d calls, the seed is %d", s.cfg.Calls, s.cfg.Seed)
	p := &probe{TB: t, c: Case{Name: "Storm", Says: "Outcomes are calls."}, cfg: Config{Patience: time.Minute}, to: "storm-" + strconv.FormatUint(s.cfg.Seed, 36)}
	caller, answers := newLane(t), newLane(t)
	p.h.Connect = func(testing.TB) request.Lane { return stormLane{answers, s} }
	// Handlers are fewer than calls, so that requests wait, and end while they do.
	responder := p.serve(&request.ServeOptions{MaxConcurrent: max(s.cfg.Callers*56/300, 1), MaxWaiting: max(s.cfg.Callers*2/3, 1), Logger: slog.New(slog.DiscardHandler)},
		request.On(s.handle).At(p.to))
	// It remembers as many calls as there are, so that the books of late and forged replies are exact.
	client := p.clientOn(stormLane{caller, s}, &request.ClientOptions{MaxInFlight: s.cfg.Calls})
	begin := time.Now()
	s.calls(client, p.to)
	took := time.Since(begin)
	p.await("what is on its way arrives", func() bool {
		st := responder.Stats()
		return s.onTheirWay() == 0 && st.Running+st.Waiting == 0
	})
	if err := responder.stop(); err != nil { // which answers what it has refused
		t.Error("Run answered", err)
	}
	p.await("the last answers arrive", func() bool { return s.onTheirWay() == 0 })
	if n := client.Stats().InFlight; n != 0 {
		t.Errorf("%d slots are left", n)
	}
	if err := client.Close(p.ctx()); err != nil { // behind which nothing comes any more
		t.Error("Close answered", err)
	}
	t.Logf("%v, %.0f calls/s", took.Round(time.Millisecond), float64(s.cfg.Calls)/took.Seconds())
	s.check(client.Stats(), responder.Stats(), caller.Capabilities().Cancels)
}

// calls makes all of them and returns when each has its outcome.
func (s *storm) calls(client *request.Client, to string) {
	var wg sync.WaitGroup
	next := make(chan int)
	places := newPlaces(s.cfg.Callers, s.cfg.Exact)
	for range s.cfg.Callers {
		wg.Go(func() {
			for n := range next {
				places.take()
				places.give(s.call(client, to, n))
			}
		})
	}
	for n := range s.cfg.Calls {
		next <- n
	}
	close(next)
	wg.Wait()
}

// places are for those callers that may ask at the same time.
type places struct {
	fixed bool
	most  int
	free  sync.Cond

	mu             sync.Mutex // guards what follows
	taken, now     int
	ended, timeout int // calls, since now has changed
}

func newPlaces(most int, fixed bool) *places {
	p := &places{fixed: fixed, most: most, now: most}
	if !fixed {
		p.now = min(most, 16)
	}
	p.free.L = &p.mu
	return p
}

func (p *places) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.taken >= p.now {
		p.free.Wait()
	}
	p.taken++
}

// give gives a place back, and looks after as many calls as there are places whether they were too many.
func (p *places) give(timedOut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.free.Signal()
	if p.fixed {
		return
	}
	p.ended++
	if timedOut {
		p.timeout++
	}
	if p.ended < p.now {
		return
	}
	if 2*p.timeout > p.ended {
		p.now = max(p.now/2, 8)
	} else {
		p.now = min(p.now+p.now/4, p.most)
		p.free.Broadcast()
	}
	p.ended, p.timeout = 0, 0
}

// call makes one, and reports whether it timed out.
func (s *storm) call(client *request.Client, to string, n int) (timedOut bool) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	begin := time.Now()
	if after := s.fates[n].cancels; after > 0 {
		defer time.AfterFunc(after, cancel).Stop()
	}
	got, err := request.Send(ctx, client, double{N: n}, request.To(to), request.Timeout(s.fates[n].timeout), request.Headers(map[string]string{"call": strconv.Itoa(n)}))
	s.judge(n, got, err, begin, time.Since(begin))
	return errors.Is(err, request.ErrTimeout)
}

// fate is what a storm does to one call. It depends on the seed and the call's number only.
type fate struct {
	timeout  time.Duration
	asked    []passage // the copies of the request that arrive
	answered []passage // those of each answer
	works    time.Duration
	fails    bool
	cancels  time.Duration // after which the caller cancels; 0: it does not
	told     int           // copies of the cancellation that arrive
	forgery  string        // sent before the answer: "" is none
}

// passage is one copy on its way.
type passage struct {
	takes time.Duration
	told  bool // the receiver learns how long it took
}

func newFate(cfg *StormConfig, n int) fate {
	r := rand.New(rand.NewPCG(cfg.Seed, uint64(n)))
	ms := func(most int) time.Duration { return time.Duration(cfg.Pace*(1+r.IntN(most))) * time.Millisecond }
	one := func(percent int) bool { return r.IntN(100) < percent }
	often := 1
	if cfg.Calls < 10_000 { // so that few calls see all of it
		often = 4
	}
	f := fate{timeout: time.Duration(20*cfg.Pace)*time.Millisecond + ms(180), works: ms(20), told: 1, asked: []passage{{}}, answered: []passage{{}}}
	if one(3 * often) {
		f.cancels = ms(40)
	}
	if f.fails = one(4); cfg.Outside {
		return f
	}
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
			case one(often):
				p = passage{takes: f.timeout + ms(20), told: true} // which is too late for certain
			case one(5):
				p.takes = ms(400)
			case one(50):
				p.takes = ms(15)
			}
			all = append(all, p)
		}
		return all
	}
	f.asked, f.answered = passages(), passages()
	if one(2) {
		f.works = ms(300)
	}
	switch {
	case one(20):
		f.told = 0
	case one(20):
		f.told = 2
	}
	if one(6 * often) {
		f.forgery = [...]string{"id", "no id", "status", "version", "type"}[r.IntN(5)]
	}
	return f
}

// storm keeps the books of what it lets pass.
type storm struct {
	t     testing.TB
	cfg   StormConfig
	fates []fate

	mu       sync.Mutex // guards what follows
	onWay    int        // copies that wait
	arrivals []arrival  // of requests
	running  map[int]bool
	copies   []copies       // by call
	ids      map[string]int // of requests: whose they are
	answers  int            // that the responder handed over
	replies  int            // that came to the caller
	forged   struct{ ids, types int }
	all      outcomes
}

// copies of what belongs to one call.
type copies struct {
	asked, arrived int       // of the request
	answered, came int       // of replies, forged ones too
	valid          time.Time // when the client had taken the first valid reply
}

// arrival is a copy of a request at the responder.
type arrival struct {
	call  int
	limit time.Time // by what it says and how long it is known to have waited
	taken time.Time // the same, if it was late: when the responder had taken it
	ends  time.Time // by its caller's clock
	told  bool
	never bool // it was known to be too late
	runs  int
	until time.Time // the handler's deadline
}

// outcomes of calls.
type outcomes struct{ answers, faults, timeouts, cancelled, unavailable int }

func newStorm(t testing.TB, cfg StormConfig) *storm {
	t.Helper()
	if cfg.Calls < 1 || cfg.Callers < 0 || cfg.Pace < 0 {
		t.Fatalf("requesttest: a storm of %d calls, %d callers, pace %d; give 1 or more calls, and 0 or more of the others", cfg.Calls, cfg.Callers, cfg.Pace)
	}
	if testing.Short() {
		cfg.Calls = min(max(cfg.Calls/10, 400), cfg.Calls)
	}
	for cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	if cfg.Callers == 0 {
		cfg.Callers = 300
	}
	if cfg.Pace == 0 {
		cfg.Pace = 1
	}
	switch {
	case cfg.Exact:
		cfg.Slack = 100 * time.Millisecond
	case cfg.Slack <= 0:
		cfg.Slack = 30 * time.Second
	}
	s := &storm{t: t, cfg: cfg, fates: make([]fate, cfg.Calls), copies: make([]copies, cfg.Calls), running: make(map[int]bool), ids: make(map[string]int)}
	for n := range s.fates {
		s.fates[n] = newFate(&cfg, n)
	}
	return s
}

// handle is the handler under a storm: it must not run too late, nor twice for one arrival.
func (s *storm) handle(ctx context.Context, q double) (doubled, error) {
	at, ok := arrivalOf(ctx)
	if !ok {
		s.t.Error("a handler runs for a request that did not arrive")
		return doubled{}, errors.New("it did not arrive")
	}
	until, _ := ctx.Deadline()
	now := time.Now()
	late := s.cfg.Slack
	if s.cfg.Exact {
		late = 0
	}
	s.mu.Lock()
	a := &s.arrivals[at]
	a.runs++
	a.until = until
	call := a.call
	f := &s.fates[call]
	if a.never {
		s.t.Errorf("call %d: a handler runs, although it was known that the request came too late", call)
	}
	if over := now.Sub(a.limit); over >= late {
		s.t.Errorf("call %d: a handler runs %v after the deadline", call, over)
	}
	if over := now.Sub(a.ends); a.told && over >= late {
		s.t.Errorf("call %d: a handler runs %v after its caller's deadline, though it is known how long the request waited", call, over)
	}
	if a.runs > 1 {
		s.t.Errorf("call %d: one arrival runs %d times", call, a.runs)
	}
	if s.running[call] {
		s.t.Errorf("call %d runs twice at once", call)
	}
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
		return doubled{}, ctx.Err()
	}
	if f.fails {
		return doubled{}, errors.New("it fails")
	}
	return doubled{N: 2 * q.N, ID: strconv.Itoa(at)}, nil // the arrival, so that the books can tell whose answer it is
}

// judge counts the outcome of a call and fails when it cannot be that one.
func (s *storm) judge(call int, got doubled, err error, begin time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.fates[call]
	var fault *request.Fault
	switch {
	case err == nil:
		s.all.answers++
		at, wrong := strconv.Atoi(got.ID)
		if wrong != nil || got.N != 2*call || at < 0 || at >= len(s.arrivals) || s.arrivals[at].call != call || s.arrivals[at].runs != 1 || f.fails {
			s.t.Errorf("call %d got somebody else's answer, or one of a handler that did not run: %+v", call, got)
		}
	case errors.As(err, &fault):
		s.all.faults++
		switch fault.Category {
		case request.Internal:
			if !f.fails {
				s.t.Errorf("call %d: %v", call, err)
			}
		case request.Unavailable:
			s.all.unavailable++
		case request.Expired:
		default:
			s.t.Errorf("call %d: %v", call, err)
		}
	case errors.Is(err, request.ErrTimeout):
		s.all.timeouts++
		if took < f.timeout {
			s.t.Errorf("call %d timed out after %v of %v", call, took, f.timeout)
		}
		if at := s.copies[call].valid; !at.IsZero() && at.Before(begin.Add(f.timeout)) {
			s.t.Errorf("call %d timed out, although a valid reply was taken %v before its deadline", call, begin.Add(f.timeout).Sub(at))
		}
	case errors.Is(err, request.ErrCancelled):
		s.all.cancelled++
		if f.cancels == 0 || took < f.cancels {
			s.t.Errorf("call %d was cancelled after %v", call, took)
		}
	default:
		s.t.Errorf("call %d: %v", call, err)
	}
	if took > f.timeout+s.cfg.Slack {
		s.t.Errorf("call %d took %v, its deadline was %v", call, took, f.timeout)
	}
}

// check adds everything up.
func (s *storm) check(c request.ClientStats, r request.ResponderStats, cancels bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, all, calls := s.t, &s.all, s.cfg.Calls
	t.Helper()
	t.Logf("%d answers, %d faults (%d of them unavailable), %d timeouts, %d cancelled; %d arrivals, %d replies", all.answers, all.faults, all.unavailable, all.timeouts, all.cancelled, len(s.arrivals), s.replies)
	t.Logf("client %+v, responder %+v", c, r)
	if n := all.answers + all.faults + all.timeouts + all.cancelled; n != calls || c.Calls > uint64(calls) || c.AtCapacity != 0 {
		t.Errorf("%d calls have %d outcomes; the client counts %d", calls, n, c.Calls)
	}
	// What is cancelled before it has a slot is no call that the client counts.
	if left := uint64(calls) - c.Calls; left > uint64(all.cancelled) || left != 0 && s.cfg.Exact {
		t.Errorf("of %d calls the client counts %d, and %d were cancelled", calls, c.Calls, all.cancelled)
	}
	if c.InFlight != 0 || r.Running != 0 || r.Waiting != 0 || len(s.running) != 0 {
		t.Errorf("%d slots, %d handlers and %d requests are left", c.InFlight, r.Running, r.Waiting)
	}
	if c.Lost+r.Lost != 0 {
		t.Errorf("the caller lost its connection %d times, the responder %d times, although nothing was cut", c.Lost, r.Lost)
	}
	if n := uint64(all.answers+all.faults) + c.Late + c.Duplicate + c.Forged + c.Malformed + c.WrongVersion; n != uint64(s.replies) {
		t.Errorf("%d replies came, the client accounts for %d", s.replies, n)
	}
	if ids, types := uint64(s.forged.ids), uint64(s.forged.types); c.Forged < ids || c.Forged > ids+types {
		t.Errorf("%d replies are for calls that were never made and %d of another type, the client counts %d", ids, types, c.Forged)
	}
	// What is refused is sent by one goroutine, which may be behind; what there is no room for then is counted as unsent and never handed over.
	if n := r.Answered + r.Faults; n != uint64(s.answers) || r.Gone+r.Dropped != 0 {
		t.Errorf("%d answers were handed over, the responder counts %d", s.answers, n)
	}
	s.checkCopies()
	runs := 0
	for _, a := range s.arrivals {
		runs += a.runs
		if a.runs > 0 && a.until.After(a.taken) {
			t.Errorf("call %d: a handler had %v more than was left of the deadline", a.call, a.until.Sub(a.taken))
		}
	}
	// What was cancelled needs no answer, and no handler if it waited.
	arrived := uint64(len(s.arrivals))
	if n := r.Answered + r.Faults + r.Unsent + r.Duplicate; n > arrived || arrived-n > r.Cancelled {
		t.Errorf("%d requests arrived, the responder accounts for %d, and %d were cancelled", arrived, n, r.Cancelled)
	}
	if n := uint64(runs) + r.Expired + r.Full + r.Duplicate; n > arrived || arrived-n > r.Cancelled {
		t.Errorf("%d requests arrived, %d ran, and the responder counts %d expired, %d full, %d duplicate and %d cancelled", arrived, runs, r.Expired, r.Full, r.Duplicate, r.Cancelled)
	}
	few := calls / 2
	if !s.cfg.Exact {
		few = calls / 4
	}
	weak := all.answers < few || all.timeouts == 0 || all.cancelled == 0 || r.Duplicate == 0 || c.Duplicate == 0 || cancels && r.Cancelled == 0
	if !s.cfg.Outside {
		weak = weak || r.Expired == 0 || c.Late == 0 || c.Malformed == 0 || c.WrongVersion == 0 || c.Forged == 0
	}
	if weak {
		t.Error("the storm was too weak to show anything")
	}
}

// checkCopies looks that the lane carried nothing that it was not given, and nothing twice.
func (s *storm) checkCopies() {
	s.t.Helper()
	if s.cfg.Outside {
		return
	}
	for call, n := range s.copies {
		if n.arrived > n.asked || n.came > n.answered {
			s.t.Errorf("call %d: of %d copies of the request %d arrived, of %d replies %d", call, n.asked, n.arrived, n.answered, n.came)
		}
	}
}
