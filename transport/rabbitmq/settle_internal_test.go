package rabbitmq

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// newBareSource has a session without a connection, whose acknowledgements go to node.
func newBareSource(prefetch int, node func(tag uint64, multiple bool) error) (*source, *session) {
	s := &source{kind: shared, max: prefetch, queues: make([]Queue, 1), bell: driver.NewBell()}
	s.feeds = []*feed{{s: s}}
	s.ses = &session{s: s, poke: make(chan struct{}, 1), lost: make(chan struct{}), ack: node}
	s.ses.tags.first = 1
	return s, s.ses
}

// deliver hands out n messages whose tags begin with first.
func (s *source) deliver(first, n int) []*bus.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		s.feeds[0].add(&held{f: s.feeds[0], ses: s.ses, tag: uint64(first + i)})
	}
	return s.feeds[0].hand(n, nil)
}

// The node closes the channel for a tag that is not open, so nothing may overtake an acknowledgement that names it.
// guarantees: R2
func TestAcknowledgementsKeepTheirOrder(t *testing.T) {
	const rounds, n = 50, 200
	open := map[uint64]bool{}
	var node sync.Mutex
	s, ses := newBareSource(n, func(tag uint64, multiple bool) error {
		runtime.Gosched() // whoever can overtake does
		node.Lock()
		defer node.Unlock()
		if !open[tag] {
			return fmt.Errorf("tag %d is not open (multiple %v)", tag, multiple)
		}
		for o := range open {
			if o == tag || multiple && o < tag {
				delete(open, o)
			}
		}
		return nil
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // what the goroutine of the source does by its timers
		for {
			select {
			case <-stop:
				return
			default:
				ses.pay()
			}
		}
	})
	for round := range rounds {
		ds := s.deliver(1+round*n, n)
		node.Lock()
		for i := range n {
			open[uint64(1+round*n+i)] = true
		}
		node.Unlock()
		for _, at := range rand.Perm(n) {
			if err := s.Settle(t.Context(), []bus.Settlement{{Delivery: ds[at]}})[0]; err != nil {
				t.Errorf("settle: %v", err)
			}
		}
	}
	close(stop)
	wg.Wait()
	for ses.pay() {
	}
	if ses.cause != nil || len(open) != 0 || ses.tags.owed != 0 {
		t.Errorf("the session ended with %v, %d are still open at the node, %d owed", ses.cause, len(open), ses.tags.owed)
	}
}

// A consumer that keeps up settles by ones and twos: what it has settled goes to the node together, but never so late that the
// node has no room to deliver.
func TestAcknowledgementsGather(t *testing.T) {
	synctest.Test(t, acknowledgementsGather) // since what is slow enough is acknowledged at once
}

func acknowledgementsGather(t *testing.T) {
	const prefetch, n = 400, 10_000
	frames, acked := 0, uint64(0)
	s, ses := newBareSource(prefetch, func(tag uint64, multiple bool) error {
		if !multiple {
			t.Errorf("tag %d was acknowledged alone", tag)
		}
		frames++
		acked = tag
		return nil
	})
	for tag := 1; tag <= n; tag++ {
		if err := s.Settle(t.Context(), []bus.Settlement{{Delivery: s.deliver(tag, 1)[0]}})[0]; err != nil {
			t.Fatal(err)
		}
		if left := tag - int(acked); left >= prefetch/2 {
			t.Fatalf("%d are settled and not acknowledged", left)
		}
		time.Sleep(time.Duration(tag%100) * time.Microsecond) // of the bubble's clock
	}
	if frames > n/10 {
		t.Errorf("%d acknowledgements for %d messages", frames, n)
	}
	if ses.pay(); acked != n {
		t.Errorf("all up to %d are acknowledged, want %d", acked, n)
	}
}
