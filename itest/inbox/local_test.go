package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A local consumer handles each row once and in the order of its key, through rollbacks, failures, a second process that
// comes and goes, and whichever kind of route it has. guarantees: I1, K1, K2, R2
func TestLocalConsumer(t *testing.T) {
	for name, route := range map[string]func(w *world) sixfold.Route{
		"one by one": func(w *world) sixfold.Route { return inbox.On(w.box, flaky(w)) },
		"batches": func(w *world) sixfold.Route {
			one := flaky(w)
			return inbox.OnBatch(w.box, func(ctx context.Context, tx pgx.Tx, ms []order) error {
				for _, m := range ms {
					if err := one(ctx, tx, m); err != nil {
						return err
					}
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lease = 4 * time.Second // so that the second process has its share in time
			r := route(w)
			w.consumer("local", bus.Options{}, r)
			const n, keys = 2000, 20
			for i := 0; i < n; i += 20 {
				if i == n/4 || i == n/2 {
					stop := w.consumer("local", bus.Options{}, r)
					defer stop()
				}
				var ms []order
				for j := range 20 {
					ms = append(ms, order{fmt.Sprint((i + j) % keys), fmt.Sprintf("%02d-%06d", (i+j)%keys, i+j)})
				}
				w.publish(ms...)
			}
			w.settled()
			got := w.effects("local")
			if len(got) != n {
				t.Errorf("%d effects of %d", len(got), n)
			}
			last := map[string]string{}
			for _, text := range got {
				if text <= last[text[:2]] {
					t.Errorf("%s after %s", text, last[text[:2]])
				}
				last[text[:2]] = text
			}
			if records := w.count("SELECT count(*) FROM sixfold.inbox WHERE state = 1"); records != 0 {
				t.Errorf("%d records in the inbox, although the rows are their own", records)
			}
		})
	}
}

// flaky handles with an effect, and fails now and then, each message at most once.
func flaky(w *world) func(context.Context, pgx.Tx, order) error {
	var mu sync.Mutex
	failed := map[string]bool{}
	return func(ctx context.Context, tx pgx.Tx, m order) error {
		if err := handle(ctx, tx, m); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if m.Text[len(m.Text)-1] == '7' && !failed[m.Text] {
			failed[m.Text] = true
			return errors.New("boom")
		}
		return nil
	}
}

// A plain route without an inbox handles local rows as well, at least once.
func TestLocalPlainRoute(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var got []string
	w.consumer("local", bus.Options{}, sixfold.On(func(_ context.Context, m order) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.Text)
		return nil
	}))
	for i := range 50 {
		w.publish(order{"k", fmt.Sprintf("%03d", i)})
	}
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 50 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
}

// What a relay brings from elsewhere, perhaps twice, takes effect once, by the inbox. guarantees: I1
func TestLocalRelayedRows(t *testing.T) {
	w := newWorld(t)
	w.consumer("local", bus.Options{}, inbox.On(w.box, handle))
	l, err := outbox.NewLocal(w.st.Outbox(), w.db, &outbox.LocalOptions{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := sixfold.NewID()
	for range 3 {
		errs := s.Send(t.Context(), []bus.Outgoing{{Topic: "local", Envelope: envelope(id, "k", "x")}, {Topic: "local", Envelope: envelope(id, "k", "x")}}).Wait(t.Context())
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	w.settled()
	if got := w.effects("local"); !slices.Equal(got, []string{"x"}) {
		t.Errorf("%v", got)
	}
}

// The rows that a dead process may have begun are known to whoever takes over, and run alone; what its transaction did
// not commit takes effect once. guarantees: I1, I8, R7 [CrashOnLastAttempt]
func TestLocalSuspectsOfADeadProcess(t *testing.T) {
	w := newWorld(t)
	leases := w.st.Outbox().Leases()
	dead := sixfold.NewID()
	if err := leases.Join(t.Context(), "local", dead, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Take(t.Context(), "local", dead, 64, outbox.ToLocal, true); err != nil {
		t.Fatal(err)
	}
	w.publish(order{"a", "begun"}, order{"b", "begun too"})
	if _, _, err := leases.Beat(t.Context(), "local", dead, 300*time.Millisecond, 2); err != nil { // it has read both, and dies
		t.Fatal(err)
	}
	w.publish(order{"c", "not begun"})
	var mu sync.Mutex
	running, alone := 0, true
	seen := map[string]bool{}
	w.consumer("local", bus.Options{}, inbox.On(w.box, func(ctx context.Context, tx pgx.Tx, m order) error {
		mu.Lock()
		suspect := sixfold.InfoFrom(ctx).Redelivered
		seen[m.Text] = suspect
		if suspect {
			running++
			alone = alone && running == 1
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			if suspect {
				running--
			}
		}()
		if _, err := tx.Exec(ctx, "SELECT pg_sleep(0.1)"); err != nil {
			return err
		}
		return handle(ctx, tx, m)
	}))
	w.settled()
	got := w.effects("local")
	slices.Sort(got)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, []string{"begun", "begun too", "not begun"}) || !seen["begun"] || !seen["begun too"] || seen["not begun"] || !alone {
		t.Errorf("%v, suspects %v, alone %v", got, seen, alone)
	}
}

// A handler's transaction that outlives its owner commits once: whoever takes over waits for it, and finds the row gone.
// guarantees: I1, I4, R5 [StaleSettleRefused]
func TestLocalHandlerOutlivesItsOwner(t *testing.T) {
	w := newWorld(t)
	queue, leases := w.st.Outbox().Queue(outbox.ToLocal), w.st.Outbox().Leases()
	frozen := sixfold.NewID()
	if err := leases.Join(t.Context(), "local", frozen, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Take(t.Context(), "local", frozen, 64, outbox.ToLocal, true); err != nil {
		t.Fatal(err)
	}
	w.publish(order{"k", "x"})
	tx, err := w.pool.Begin(t.Context()) // its handler has claimed the row, written its effect, and then nothing for long
	if err != nil {
		t.Fatal(err)
	}
	if there, _, err := queue.Claim(t.Context(), sqltx.Pgx(tx), frozen, []int64{1}); err != nil || len(there) != 1 {
		t.Fatal(there, err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO effect (consumer, text) VALUES ('local', 'x')"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := leases.Beat(t.Context(), "local", frozen, 300*time.Millisecond, 0); err != nil { // its last one
		t.Fatal(err)
	}
	w.consumer("local", bus.Options{}, inbox.On(w.box, handle))
	w.poll("the new owner waits", func() bool {
		return w.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	w.publish(order{"k", "y"})
	w.settled()
	if got := w.effects("local"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("%v", got)
	}
}

// After its last attempt a local message is a dead letter, with its bytes and the reason, and its key waits behind it.
// guarantees: I8, R1
func TestLocalDeadLetter(t *testing.T) {
	w := newWorld(t)
	w.consumer("local", bus.Options{Retry: sixfold.Retry{MaxAttempts: 2}}, inbox.On(w.box, func(ctx context.Context, tx pgx.Tx, m order) error {
		if m.Text == "bad" {
			return errors.Join(handle(ctx, tx, m), errors.New("boom"))
		}
		return handle(ctx, tx, m)
	}))
	w.publish(order{"k", "1"}, order{"k", "bad"}, order{"k", "2"})
	w.poll("a dead letter, and one behind it", func() bool {
		return w.count("SELECT count(*) FROM sixfold.parked WHERE state = 2") == 1 && w.count("SELECT count(*) FROM sixfold.parked") == 2
	})
	if got := w.effects("local"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("%v", got)
	}
	if n := w.count("SELECT count(*) FROM sixfold.parked WHERE state = 2 AND consumer = 'local' AND attempts = 2 AND error LIKE '%boom%' AND body = '{\"Key\":\"k\",\"Text\":\"bad\"}'::bytea"); n != 1 {
		t.Errorf("%d dead letters", n)
	}
	if n := w.count("SELECT count(*) FROM sixfold.local"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
