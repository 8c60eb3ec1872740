package requests

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
)

// The broker's process is killed with hundreds of calls and with streams in flight, stays away while more are made, and is started again with the
// port and the files that it had. Nobody else is started again.
//
// guarantees: Q1, Q3, Q5, Q6
func TestBrokerKilled(t *testing.T) { onEach(t, brokers(), brokerKilled) }

// What the broker did when a call began.
const (
	there = iota
	dead
	starting
	back
	phases
)

// killing is one test.
type killing struct {
	*testing.T
	client *request.Client
	caps   request.Capabilities
	phase  atomic.Int32
	last   atomic.Int64 // number of a call
	stop   chan struct{}
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	ran     map[string]int
	retried map[string]bool
	ended   []outcome   // of calls that were held
	streams []error     // how they ended
	calls   int         // of the others
	good    [phases]int // by the phase in which they began
	bad     [phases]int
	kinds   map[string]int // of errors of those that began while it was dead
	streak  []int          // successes of each caller that began since the broker is back, one after the other
	late    time.Duration
}

const (
	held    = 200
	flowing = 40
	callers = 8
)

func brokerKilled(t *testing.T, b broker) {
	callerLane, lane := b.lane(t), b.lane(t)
	k := &killing{T: t, caps: lane.Capabilities(), stop: make(chan struct{}), ran: map[string]int{}, retried: map[string]bool{}, kinds: map[string]int{}, streak: make([]int, callers)}
	c := newCrew(func(id string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ran[id]++
	})
	responder, err := request.Serve(lane, &request.ServeOptions{MaxConcurrent: 2 * (held + flowing), Logger: quiet()}, c.routes()...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- responder.Run(ctx) }()
	if k.client, err = request.NewClient(callerLane, nil); err != nil {
		t.Fatal(err)
	}
	ends := sync.OnceFunc(func() { // also where the test gives up
		c.release()
		close(k.stop)
		stop()
		if err := errors.Join(k.client.Close(context.Background()), <-over); err != nil {
			t.Error(err)
		}
		k.wg.Wait()
	})
	defer ends()
	<-responder.Listening()

	streams := 0
	if k.caps.Streams {
		streams = flowing
	}
	k.hold()
	began, killed := k.flow(streams)
	k.traffic()
	await(t, "all is in flight", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return c.holding.Load() == held && began.Load() == int64(streams) && k.good[there] >= 100
	})
	if err := b.kill(); err != nil {
		t.Fatal(err)
	}
	k.phase.Store(dead)
	dies := time.Now()
	close(killed)
	if k.caps.DetectsLoss { // they have ten minutes
		await(t, "calls and streams end at once", func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.ended) == held && len(k.streams) == streams
		})
		t.Logf("%d calls and %d streams ended within %v", held, streams, time.Since(dies).Round(time.Millisecond))
	}
	await(t, "calls are made while the broker is away", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.bad[dead] >= 3*callers
	})
	k.phase.Store(starting)
	if err := b.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.phase.Store(back)
	starts := time.Now()
	await(t, "all callers have answers again", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, n := range k.streak {
			if n < 20 {
				return false
			}
		}
		return true
	})
	t.Logf("all callers have answers again after %v", time.Since(starts).Round(time.Millisecond))
	k.flowsAgain()
	c.release()
	await(t, "what was held ends", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.ended) == held && len(k.streams) == streams
	})
	await(t, "handlers end", func() bool { return responder.Stats().Running <= callers })
	k.judge(responder)
	ends()
	if s := k.client.Stats(); s.InFlight+s.Streams != 0 || k.caps.DetectsLoss == (s.Lost == 0) || s.Forged+s.Malformed+s.WrongVersion != 0 {
		t.Errorf("the client counts %+v", s)
	}
	if s := responder.Stats(); s.Running+s.Waiting != 0 || k.caps.DetectsLoss == (s.Lost == 0) {
		t.Errorf("the responder counts %+v", s)
	}
}

// hold makes the calls whose handlers wait: where the lane does not lose them each second one for its deadline.
func (k *killing) hold() {
	for n := range held {
		k.wg.Go(func() {
			o := outcome{n: n, timeout: 10 * time.Minute}
			ever := n%2 == 1 && !k.caps.DetectsLoss
			if ever {
				o.timeout = 30 * time.Second
			}
			begin := time.Now()
			o.got, o.err = request.Send(context.Background(), k.client, work{N: n, Hold: true, Ever: ever}, request.Timeout(o.timeout))
			o.took = time.Since(begin)
			k.mu.Lock()
			defer k.mu.Unlock()
			k.ended = append(k.ended, o)
		})
	}
}

// flow opens streams, each of which reads some items and goes on when killed is closed.
func (k *killing) flow(streams int) (began *atomic.Int64, killed chan struct{}) {
	began, killed = new(atomic.Int64), make(chan struct{})
	for range streams {
		k.wg.Go(func() {
			n := 0
			var end error
			for item, err := range request.Stream(context.Background(), k.client, numbers{}, request.Timeout(10*time.Minute)) {
				if end = err; err != nil {
					break
				}
				if item.N != n {
					k.Errorf("item %d of a stream is %d", n, item.N)
				}
				if n++; n == 10 {
					began.Add(1)
					select {
					case <-killed:
					case <-k.stop:
						return
					}
				}
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.streams = append(k.streams, end)
		})
	}
	return began, killed
}

// traffic makes calls all the time.
func (k *killing) traffic() {
	for i := range callers {
		k.wg.Go(func() {
			for {
				select {
				case <-k.stop:
					return
				default:
				}
				k.call(i)
			}
		})
	}
}

// call makes one.
func (k *killing) call(caller int) {
	o := outcome{n: int(k.last.Add(1)), timeout: 3 * time.Second}
	if k.caps.DetectsLoss { // such a call ends at once while the broker is away, and its deadline must not be first on a machine that stands still
		o.timeout = 30 * time.Second
	}
	opts := []request.Option{request.Timeout(o.timeout)}
	again := o.n%4 == 0
	if again {
		id := sixfold.NewID()
		k.mu.Lock()
		k.retried[id] = true
		k.mu.Unlock()
		opts = append(opts, request.ID(id), request.Retry(300*time.Millisecond))
	}
	phase := k.phase.Load()
	begin := time.Now()
	o.got, o.err = request.Send(context.Background(), k.client, work{N: o.n}, opts...)
	o.took = time.Since(begin)
	if errors.Is(o.err, request.ErrClosed) { // the test's end
		return
	}
	if o.wrong() || phase == dead && k.caps.DetectsLoss && !again && o.err != nil && !errors.Is(o.err, bus.ErrUnavailable) && !errors.Is(o.err, request.ErrLost) && k.phase.Load() == dead {
		k.Errorf("call %d, begun in phase %d, answered %+v, %v after %v", o.n, phase, o.got, o.err, o.took)
	}
	k.mu.Lock()
	k.calls++
	k.late = max(k.late, o.took-o.timeout)
	if o.err == nil {
		k.good[phase]++
	} else {
		k.bad[phase]++
	}
	if phase == dead && o.err != nil {
		for what, kind := range map[string]error{"unavailable": bus.ErrUnavailable, "lost": request.ErrLost, "timeout": request.ErrTimeout} {
			if errors.Is(o.err, kind) {
				k.kinds[what]++
			}
		}
	}
	if phase == back {
		k.streak[caller]++
		if o.err != nil {
			k.streak[caller] = 0
		}
	}
	k.mu.Unlock()
	if o.err != nil { // else it would do nothing but that while the broker is away
		t := time.NewTimer(10 * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-k.stop:
		}
	}
}

// flowsAgain reads a stream.
func (k *killing) flowsAgain() {
	if !k.caps.Streams {
		return
	}
	n := 0
	for _, err := range request.Stream(k.Context(), k.client, numbers{}, request.Timeout(patience)) {
		if err != nil {
			k.Errorf("a stream ended with %v after %d items", err, n)
		}
		if n++; n == 200 {
			break
		}
	}
}

// judge looks at what came of everything.
func (k *killing) judge(r *request.Responder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	answered, timeouts := 0, 0
	for _, o := range k.ended {
		switch {
		case k.caps.DetectsLoss:
			if !errors.Is(o.err, request.ErrLost) {
				k.Errorf("call %d, which was in flight, answered %+v, %v", o.n, o.got, o.err)
			}
			continue
		case o.wrong(), o.n%2 == 1 && o.err == nil:
			k.Errorf("call %d, which was in flight, answered %+v, %v after %v", o.n, o.got, o.err, o.took)
		case o.err == nil:
			answered++
		default:
			timeouts++
		}
	}
	if !k.caps.DetectsLoss && answered != held/2 {
		k.Errorf("of %d calls whose handlers ended after the broker was back %d have their answer", held/2, answered)
	}
	for _, err := range k.streams {
		if !errors.Is(err, request.ErrLost) {
			k.Errorf("a stream ended with %v", err)
		}
	}
	for id, n := range k.ran {
		if n > 1 && !k.retried[id] {
			k.Errorf("request %s ran %d times", id, n)
		}
	}
	k.Logf("of those in flight %d were answered and %d timed out; of %d others, before, while and after the broker was away, %v were answered and %v were not (%v while it was dead); at most %v after their deadline; %+v, %+v",
		answered, timeouts, k.calls, k.good, k.bad, k.kinds, k.late, k.client.Stats(), r.Stats())
}
