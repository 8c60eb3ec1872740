package requests

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sixfold-go/sixfold/request"
)

// A responder's process is killed with calls and streams at its handlers, first one of two, then the last one, and another one is started: what
// docs/request.md says of each lane, and after how long.
//
// guarantees: Q1, Q3
func TestResponderKilled(t *testing.T) {
	all := brokers()
	all["kafka"] = func(t *testing.T) broker { // whose sessions are as long as a member says
		c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return broker{url: "kafka://" + strings.Join(c.ListenAddrs(), ",")}
	}
	onEach(t, all, respondersKilled)
}

// quietFor is after how long the caller here takes the responder of a stream for dead.
const quietFor = 9 * time.Second

// ending is a stream's.
type ending struct {
	pid  int
	err  error
	took time.Duration // after the kill
}

// dying is one test.
type dying struct {
	*testing.T
	client *request.Client
	caps   request.Capabilities
	last   int
	wg     sync.WaitGroup
}

func respondersKilled(t *testing.T, b broker) {
	path, ran := journal(t)
	first, second := b.startResponder(t, path), b.startResponder(t, path)
	lane := b.lane(t)
	d := &dying{T: t, caps: lane.Capabilities()}
	var err error
	if d.client, err = request.NewClient(lane, &request.ClientOptions{Silence: quietFor}); err != nil {
		t.Fatal(err)
	}
	defer d.wg.Wait()
	defer func() { // which ends what waits
		if err := d.client.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()

	// One of two. Those calls of which the other one has the handlers are answered when they are released.
	const timeout = 45 * time.Second // in which they are released
	streams, kill := d.flow(20, first.pid)
	var outcomes []<-chan outcome
	many := 0
	for _, in := ran(); min(in[first.pid], in[second.pid]) < 10; _, in = ran() {
		if many == 500 {
			t.Fatalf("of %d calls each process should have some, and it is %v", many, in)
		}
		outcomes = append(outcomes, d.hold(5, timeout, false))
		many += 5
		await(t, "all handlers run", func() bool { ids, _ := ran(); return len(ids) == many })
	}
	kill(first)
	d.answers(second.pid)
	if _, err := request.Send(t.Context(), d.client, release{}, request.Timeout(patience), request.Retry(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	answered, timedOut := 0, 0
	for o := range all(outcomes...) {
		switch {
		case o.err == nil && o.got.N == 2*o.n && o.got.Pid == second.pid:
			answered++
		case errors.Is(o.err, request.ErrTimeout) && o.took >= timeout-10*time.Millisecond && o.took < timeout+slack:
			timedOut++
		default:
			t.Errorf("a call whose handler ran when a responder was killed answered %+v, %v after %v", o.got, o.err, o.took)
		}
	}
	if _, in := ran(); timedOut != in[first.pid] || answered+timedOut != many {
		t.Errorf("of %d calls %d were answered and %d timed out, of which the responder that was killed had %d", many, answered, timedOut, in[first.pid])
	}
	for s := range streams {
		d.lostBehind(s, first.pid, "nothing was heard", 2*quietFor/3, quietFor+quietFor/3) // since it was heard, which was up to a third of it before
	}
	t.Logf("one of two killed: of %d calls at handlers %d were answered by the other, %d timed out", many, answered, timedOut)

	// The only one.
	const short = 15 * time.Second
	streams, kill = d.flow(20, second.pid)
	before, _ := ran()
	held := d.hold(20, short, true)
	await(t, "all handlers run", func() bool { ids, _ := ran(); return len(ids) == len(before)+20 })
	kill(second)
	for s := range streams {
		d.lostBehind(s, second.pid, "nobody listens", 0, 2*quietFor/3)
	}
	d.gone()
	for o := range held {
		if !errors.Is(o.err, request.ErrTimeout) || o.took < short-10*time.Millisecond || o.took > short+slack {
			t.Errorf("a call whose handler ran when the only responder was killed answered %+v, %v after %v", o.got, o.err, o.took)
		}
	}
	third := b.startResponder(t, path)
	d.answers(third.pid)
	ids, _ := ran()
	for id, n := range ids {
		if n > 1 {
			t.Errorf("request %s ran %d times", id, n)
		}
	}
	if s := d.client.Stats(); s.InFlight+s.Streams != 0 || s.Lost+s.Forged+s.Malformed != 0 {
		t.Errorf("the client counts %+v", s)
	}
}

// all answers the outcomes of several channels.
func all(of ...<-chan outcome) iter.Seq[outcome] {
	return func(yield func(outcome) bool) {
		for _, c := range of {
			for o := range c {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// hold makes calls whose handlers wait, and answers their outcomes, then the channel's end.
func (d *dying) hold(calls int, timeout time.Duration, ever bool) <-chan outcome {
	out := make(chan outcome, calls)
	var wg sync.WaitGroup
	for range calls {
		d.last++
		o := outcome{n: d.last, timeout: timeout}
		wg.Go(func() {
			begin := time.Now()
			o.got, o.err = request.Send(context.Background(), d.client, work{N: o.n, Hold: true, Ever: ever}, request.Timeout(timeout))
			o.took = time.Since(begin)
			out <- o
		})
	}
	d.wg.Go(func() {
		wg.Wait()
		close(out)
	})
	return out
}

// flow opens streams, and returns when each has some items. kill kills their process; those of the process pid go on then, and what they come to is
// answered, then the channel's end; the others are left.
func (d *dying) flow(streams, pid int) (endings <-chan ending, kill func(child)) {
	d.Helper()
	out := make(chan ending, streams)
	if !d.caps.Streams {
		close(out)
		return out, func(c child) { c.kill() }
	}
	var open, wg sync.WaitGroup
	open.Add(streams)
	var mine int
	var mu sync.Mutex
	goOn := make(chan struct{})
	var at time.Time // just before the kill; before goOn is closed
	for range streams {
		wg.Go(func() {
			n := 0
			e := ending{}
			for item, err := range request.Stream(context.Background(), d.client, numbers{}, request.Timeout(10*time.Minute)) {
				if e.err = err; err != nil {
					break
				}
				e.pid = item.Pid
				if item.N != n {
					d.Errorf("item %d of a stream is %d", n, item.N)
				}
				if n++; n != 10 {
					if e.pid != pid && n > 200 { // it goes on
						return
					}
					continue
				}
				if e.pid == pid {
					mu.Lock()
					mine++
					mu.Unlock()
				}
				open.Done()
				<-goOn
			}
			e.took = time.Since(at)
			out <- e
		})
	}
	d.wg.Go(func() {
		wg.Wait()
		close(out)
	})
	open.Wait()
	if mine == 0 {
		d.Error("none of the streams is of the process that is killed")
	}
	return out, func(c child) {
		at = time.Now()
		c.kill()
		close(goOn)
	}
}

// lostBehind looks at the end of a stream whose responder was killed. Its last sign of life may have been due a moment before and not have come yet.
func (d *dying) lostBehind(e ending, pid int, why string, least, most time.Duration) {
	d.Helper()
	if e.pid != pid || !errors.Is(e.err, request.ErrLost) || !strings.Contains(e.err.Error(), why) || e.took < least-time.Second || e.took > most+slack {
		d.Errorf("a stream of process %d ended with %v, %v after the kill; there should be %q after %v to %v", e.pid, e.err, e.took, why, least, most)
	}
}

// answers makes calls until the process pid has answered twenty, one after the other. What is on its way to one that was just killed times out: on
// Kafka until its group has noticed.
func (d *dying) answers(pid int) {
	d.Helper()
	for begin, row := time.Now(), 0; row < 20; {
		d.last++
		got, err := request.Send(d.Context(), d.client, work{N: d.last}, request.Timeout(3*time.Second))
		switch {
		case err == nil && got == (worked{2 * d.last, pid}):
			row++
		case errors.Is(err, request.ErrTimeout) && time.Since(begin) < patience:
			row = 0
		default:
			d.Fatalf("a call of %d to process %d answered %+v, %v; the client counts %+v", d.last, pid, got, err, d.client.Stats())
		}
	}
}

// gone looks at what later calls come to when no responder is left.
func (d *dying) gone() {
	d.Helper()
	limit := slack // connections say who is there
	if !d.caps.DetectsLoss {
		limit += 15 * time.Second // the lease of a place
	}
	for begin := time.Now(); ; {
		d.last++
		_, err := request.Send(d.Context(), d.client, work{N: d.last}, request.Timeout(time.Second))
		switch {
		case errors.Is(err, request.ErrNoResponder) && d.caps.DetectsNoResponder, errors.Is(err, request.ErrTimeout) && !d.caps.DetectsNoResponder:
			return
		case !errors.Is(err, request.ErrTimeout) || time.Since(begin) > limit:
			d.Fatalf("a call that nobody could take answered %v, %v after the first", err, time.Since(begin))
		}
	}
}
