package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Duplicates take effect once per consumer, and publish once. guarantees: I1, I3, I7 [TwoConsumersBothRun] [DuplicateDoesNotReEmit]
func TestDuplicatesTakeEffectOncePerConsumer(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int32
	h := func(ctx context.Context, tx pgx.Tx, m order) error {
		calls.Add(1)
		if _, err := w.out.Publish(ctx, sqltx.Pgx(tx), note{m.Text}); err != nil {
			return err
		}
		return handle(ctx, tx, m)
	}
	for _, group := range []string{"a", "b"} {
		w.consumer(group, bus.Options{}, inbox.On(w.box, h))
	}
	w.consumer("c", bus.Options{}, inbox.OnBatch(w.box, func(ctx context.Context, tx pgx.Tx, ms []order) error {
		for _, m := range ms {
			if err := h(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	}))
	var envs []*sixfold.Envelope
	var want []string
	for i := range 100 {
		text := fmt.Sprint(i)
		want = append(want, text)
		env := envelope(sixfold.NewID(), "", text)
		if i%10 == 3 {
			env.ID = fmt.Sprintf("no UUID, but %d bytes of ключ", i) // other producers' ids are any string
		}
		envs = append(envs, env, env)
	}
	w.send(envs...)
	w.send(envs...)
	w.settled()
	slices.Sort(want)
	for _, group := range []string{"a", "b", "c"} {
		got := w.effects(group)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("consumer %s: %v", group, got)
		}
	}
	if n := w.count("SELECT count(*) FROM sixfold.outbox"); n != 300 || calls.Load() != 300 {
		t.Errorf("%d notes, %d calls, want 300", n, calls.Load())
	}
}

// A handler that fails publishes nothing and records nothing; its next attempt does. guarantees: I1, I7
func TestFailedAttemptLeavesNothing(t *testing.T) {
	w := newWorld(t)
	var calls atomic.Int32
	w.consumer("a", bus.Options{}, inbox.On(w.box, func(ctx context.Context, tx pgx.Tx, m order) error {
		if err := errors.Join(handle(ctx, tx, m), publish(ctx, w, tx, m)); err != nil {
			return err
		}
		switch calls.Add(1) {
		case 1:
			return errors.New("boom")
		case 2:
			panic("boom")
		}
		return nil
	}))
	w.send(envelope("1", "k", "x"), envelope("2", "k", "y"))
	w.settled()
	if got := w.effects("a"); !slices.Equal(got, []string{"x", "y"}) || w.count("SELECT count(*) FROM sixfold.outbox") != 2 || calls.Load() != 4 {
		t.Errorf("%v, %d calls", got, calls.Load())
	}
}

func publish(ctx context.Context, w *world, tx pgx.Tx, m order) error {
	_, err := w.out.Publish(ctx, sqltx.Pgx(tx), note{m.Text})
	return err
}

// A duplicate that arrives while the first copy runs waits for its verdict, whichever it is. guarantees: I4
func TestDuplicateWaitsForTheFirst(t *testing.T) {
	for _, good := range []bool{true, false} {
		t.Run(fmt.Sprintf("the first commits: %v", good), func(t *testing.T) {
			w := newWorld(t)
			var calls atomic.Int32
			running, finish := make(chan struct{}), make(chan struct{})
			r := inbox.On(w.box, func(ctx context.Context, tx pgx.Tx, m order) error {
				if calls.Add(1) > 1 {
					return handle(ctx, tx, m)
				}
				close(running)
				<-finish
				if !good {
					return errors.New("boom")
				}
				return handle(ctx, tx, m)
			})
			// Two processes of one consumer: the broker has given the message to the second while the first runs.
			ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Consumer: "a"})
			verdicts := make(chan error, 2)
			go func() { verdicts <- r.Handle(ctx, envelope("1", "k", "x")) }()
			<-running
			second := make(chan error, 1)
			go func() { second <- r.Handle(ctx, envelope("1", "k", "x")) }()
			w.poll("the second waits", func() bool {
				return w.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
			})
			select {
			case err := <-second:
				t.Fatalf("the second has its verdict before the first: %v", err)
			default:
			}
			close(finish)
			first := <-verdicts
			if err := <-second; err != nil || (first == nil) != good {
				t.Errorf("%v, %v", first, err)
			}
			if got := w.effects("a"); !slices.Equal(got, []string{"x"}) {
				t.Errorf("%v", got)
			}
			// Bounded by the handler's time.
			hold, err := w.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.st.Inbox().Record(t.Context(), sqltx.Pgx(hold), "a", []inbox.Record{inbox.RecordOf(envelope("2", "k", "y"))}); err != nil {
				t.Fatal(err)
			}
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			if err := r.Handle(short, envelope("2", "k", "y")); err == nil {
				t.Error("it did not wait")
			}
			_ = hold.Rollback(t.Context())
		})
	}
}

// guarantees: I6, I10
func TestIDReuseIsADeadLetter(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var dead []error
	w.consumer("a", bus.Options{Hooks: bus.Hooks{Dead: func(_ *bus.Delivery, _ string, err error) {
		mu.Lock()
		defer mu.Unlock()
		dead = append(dead, err)
	}}}, inbox.On(w.box, handle))
	w.send(envelope("1", "k", "x"), envelope("1", "k", "other"), envelope("2", "k", "y"))
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	if got := w.effects("a"); !slices.Equal(got, []string{"x", "y"}) || len(dead) != 1 || !errors.Is(dead[0], inbox.ErrIDReuse) {
		t.Errorf("%v, %v", got, dead)
	}
}

// A deadlock for real is run again and is no attempt; so is a lost connection. guarantees: I8
func TestPassingErrorsAreNoAttempts(t *testing.T) {
	w := newWorld(t)
	w.exec("CREATE TABLE account (id int PRIMARY KEY, n int)")
	w.exec("INSERT INTO account VALUES (1, 0), (2, 0)")
	var calls, attempts atomic.Int32
	var met sync.WaitGroup
	met.Add(2)
	w.consumer("a", bus.Options{Retry: sixfold.Retry{MaxAttempts: 1}, Hooks: bus.Hooks{Handled: func(_ *bus.Delivery, attempt int, _ time.Duration, err error) {
		attempts.Store(max(attempts.Load(), int32(attempt)))
		if err != nil {
			t.Errorf("an attempt failed: %v", err)
		}
	}}}, inbox.On(w.box, func(ctx context.Context, tx pgx.Tx, m order) error {
		n := calls.Add(1)
		first, second := 1, 2
		if m.Text == "y" {
			first, second = 2, 1
		}
		if _, err := tx.Exec(ctx, "UPDATE account SET n = n + 1 WHERE id = $1", first); err != nil {
			return err
		}
		if n <= 2 { // both hold their first row before they ask for the second
			met.Done()
			met.Wait()
		}
		if _, err := tx.Exec(ctx, "UPDATE account SET n = n + 1 WHERE id = $1", second); err != nil {
			return err
		}
		if m.Text == "x" && n <= 3 {
			w.exec("SELECT pg_terminate_backend($1)", int32(tx.Conn().PgConn().PID()))
		}
		return handle(ctx, tx, m)
	}))
	w.send(envelope("1", "k1", "x"), envelope("2", "k2", "y"))
	w.settled()
	got := w.effects("a")
	slices.Sort(got)
	if !slices.Equal(got, []string{"x", "y"}) || calls.Load() < 3 || attempts.Load() != 1 || w.count("SELECT sum(n) FROM account") != 4 {
		t.Errorf("%v, %d calls, attempt %d", got, calls.Load(), attempts.Load())
	}
}

// Records past the retention are removed in small steps, and by several at once without waiting; what is younger stays.
// guarantees: I5 [PruneIsPolite]
func TestPrune(t *testing.T) {
	w := newWorld(t)
	r := inbox.On(w.box, handle)
	ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Consumer: "a"})
	for i := range 30 {
		if err := r.Handle(ctx, envelope(fmt.Sprint(i), "", "x")); err != nil {
			t.Fatal(err)
		}
	}
	w.exec("UPDATE sixfold.inbox SET at = at - interval '8 days' WHERE ctid IN (SELECT ctid FROM sixfold.inbox LIMIT 25)")
	held, err := w.pool.Begin(t.Context()) // another process prunes ten of them
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), "SELECT 1 FROM sixfold.inbox WHERE at < now() - interval '7 days' ORDER BY at LIMIT 10 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{10, 5, 0} {
		if n, err := w.st.Inbox().Prune(t.Context(), 7*24*time.Hour, 10); err != nil || n != want {
			t.Errorf("%d, %v, want %d", n, err, want)
		}
	}
	_ = held.Rollback(t.Context())
	if n, err := w.st.Inbox().Prune(t.Context(), 7*24*time.Hour, 1000); err != nil || n != 10 || w.count("SELECT count(*) FROM sixfold.inbox") != 5 {
		t.Errorf("%d, %v", n, err)
	}
}
