package sqlqueue

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		short := []string{"Call/RoundTrip", "Call/ManyAtOnce", "Call/Cancelled", "Responder/GoneCallerRunsOnce", "Loss/ResponderKilled"}
		for _, c := range requesttest.Cases() {
			if testing.Short() && !slices.Contains(short, c.Name) {
				continue // which all need the same statements as those that run
			}
			t.Run(c.Name, func(t *testing.T) {
				c.Check(t, requesttest.Config{Deadline: 2 * time.Second, Patience: 2 * time.Minute, Slack: time.Minute}, w.requestHarness)
			})
		}
	})
}

// requestHarness gives each lane a line of its own, so that it can die alone.
func (w *world) requestHarness(tb testing.TB) requesttest.Harness {
	var mu sync.Mutex
	lines := map[request.Lane]*line{}
	all := func(do func(*line)) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			do(l)
		}
	}
	db := w.connect(tb)
	hostile := w.requests(tb, newLine(db, w.lost))
	return requesttest.Harness{
		Connect: func(tb testing.TB) request.Lane {
			way := newLine(db, w.lost)
			lane, err := sqlqueue.NewRequestLane(w.requests(tb, way), &sqlqueue.RequestLaneOptions{Poll: 50 * time.Millisecond, Logger: quiet()})
			if err != nil {
				tb.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			lines[lane] = way
			return lane
		},
		NewDestination: func(testing.TB) string { return w.topic() },
		Cut:            func(testing.TB) { all((*line).cutNow) },
		Restore:        func(testing.TB) { all((*line).restore) },
		Kill: func(_ testing.TB, l request.Lane) {
			mu.Lock()
			defer mu.Unlock()
			lines[l].cutNow()
			delete(lines, l) // nobody restores it
		},
		Put: func(tb testing.TB, to string, p *request.Packet) {
			head, err := sqlqueue.RequestHead(p, p.ReplyTo)
			if err != nil {
				tb.Fatal(err)
			}
			if n, err := hostile.Put(tb.Context(), "request/"+to, false, head, p.Envelope.Body, time.Minute); err != nil || n != 1 {
				tb.Fatal(n, err)
			}
		},
	}
}

func (w *world) requests(tb testing.TB, l *line) sqlqueue.RequestStore {
	tb.Helper()
	st, err := w.make(l)
	if err != nil {
		tb.Fatal(err)
	}
	return st.Requests()
}
