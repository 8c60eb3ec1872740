package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
//
// In a bubble, so that outcomes are held to 100 ms after the deadline.
func TestRequestLane(t *testing.T) {
	for _, c := range requesttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.Check(t, requesttest.Config{Slack: 100 * time.Millisecond, Many: 1000}, requestHarness)
			})
		})
	}
}

// TestRequestLaneInRealTime finds races that a bubble's order of goroutines hides. In a bubble outcomes are held to their deadlines; here a
// busy machine has room.
func TestRequestLaneInRealTime(t *testing.T) {
	cfg := requesttest.Config{Deadline: 3 * time.Second, Patience: 4 * time.Minute, Slack: time.Minute}
	for _, c := range requesttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // most of the time is that of deadlines
			c.Check(t, cfg, requestHarness)
		})
	}
}

func requestHarness(tb testing.TB) requesttest.Harness {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		tb.Fatal(err)
	}
	killed := map[request.Lane]*mortal{}
	return requesttest.Harness{
		Connect: func(testing.TB) request.Lane {
			m := &mortal{RequestLane: lane}
			killed[m] = m
			return m
		},
		NewDestination: func(testing.TB) string { return "doubles-" + sixfold.NewID() },
		Cut:            func(testing.TB) { lane.SetDown(true) },
		Restore:        func(testing.TB) { lane.SetDown(false) },
		Kill:           func(_ testing.TB, l request.Lane) { killed[l].die() },
		Put:            func(_ testing.TB, to string, p *request.Packet) { lane.Put(to, p) },
	}
}
