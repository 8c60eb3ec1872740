package sixfoldtest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
)

// Advance lets d pass in a bubble of testing/synctest, and then waits until nothing more goes on in it by itself: what was due
// in between was sent and handled, as far as the program runs what does that. Only a bubble has such time; elsewhere it panics.
func Advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Later is a message that waits for its time.
type Later[M sixfold.Message] struct {
	ID      string
	Message M
	// At is when it is due, and In how long it is until then; 0 and below: it is due now.
	At time.Time
	In time.Duration
}

// Scheduled answers the messages of type M that wait for their time, in that order, each once however many destinations it has.
// A message that cannot be read ends the test. Schedules that recur are none of them: their List has the next occurrence.
func Scheduled[M sixfold.Message](t testing.TB, from schedule.Store) (ms []Later[M]) {
	t.Helper()
	const page = 1000
	route := sixfold.RouteOf[M]()
	seen := map[string]bool{}
	for next := (schedule.DelayedPage{Limit: page}); ; {
		list, err := from.Delayed().List(t.Context(), next)
		if err != nil {
			t.Fatalf("sixfoldtest: scheduled %s: %v", route.Name, err)
		}
		for i := range list {
			w := &list[i]
			next.After, next.AfterN = w.At, w.N
			env := sixfold.Envelope{ID: w.ID, Key: w.Key, Body: w.Body}
			if _, err := outbox.DecodeAttrs(w.Attrs, &env); err != nil {
				t.Fatalf("sixfoldtest: scheduled %s: message %s: %v", route.Name, w.ID, err)
			}
			if env.Type != route.Name || seen[w.ID] {
				continue
			}
			seen[w.ID] = true
			m, err := sixfold.Decode[M](t.Context(), &env)
			if err != nil {
				t.Fatalf("sixfoldtest: scheduled %s: message %s: %v", route.Name, w.ID, err)
			}
			ms = append(ms, Later[M]{w.ID, m, w.At, w.In})
		}
		if len(list) < page {
			return ms
		}
	}
}

// Between answers the ticks of a calendar from an instant on and before another one, so that a test says in one line what a
// schedule comes to.
func Between(c *schedule.Calendar, from, to time.Time) (ticks []time.Time) {
	for tick := range c.Ticks(from.Add(-time.Nanosecond)) {
		if !tick.At.Before(to) {
			break
		}
		ticks = append(ticks, tick.At)
	}
	return ticks
}
