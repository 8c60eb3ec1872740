package memory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

var errBack = errors.New("rolled back on purpose")

// in runs fn in a transaction, which has to commit.
func in(t *testing.T, st *memory.Store, fn func(tx *memory.Tx) error) {
	t.Helper()
	if err := st.DB().Run(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, st *memory.Store, tx *memory.Tx, key string) {
	t.Helper()
	row := outbox.Row{ID: sixfold.NewID(), Key: key, Attrs: []byte(`{"type":"t"}`)}
	if _, _, err := st.Outbox().Writer().Append(t.Context(), sqltx.Native(tx), outbox.ToBroker, []outbox.Row{row}, false); err != nil {
		t.Fatal(err)
	}
}

// keys of the committed rows.
func keys(t *testing.T, st *memory.Store) (keys []string) {
	t.Helper()
	own := outbox.Ownership{}
	own.Partitions[0] = true
	rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 1000, own)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}

func TestNothingOfAnOpenTransactionIsSeen(t *testing.T) { // guarantees: O1, O2
	st := memory.New(nil)
	orders := map[string]bool{}
	in(t, st, func(tx *memory.Tx) error {
		put(t, st, tx, "a")
		if err := tx.OnCommit(func() { orders["a"] = true }); err != nil {
			t.Error(err)
		}
		if err := tx.OnCommit(nil); err == nil {
			t.Error("nothing was taken for a function; it would be called when the transaction commits")
		}
		if got := keys(t, st); len(got) != 0 || len(orders) != 0 {
			t.Errorf("an open transaction shows %q and %v", got, orders)
		}
		return nil
	})
	if got := keys(t, st); !slices.Equal(got, []string{"a"}) || !orders["a"] {
		t.Errorf("committed: %q and %v", got, orders)
	}
}

func TestWhatRollsBack(t *testing.T) { // guarantees: O1
	for name, end := range map[string]func(cancel func()) error{
		"error":     func(func()) error { return errBack },
		"cancelled": func(cancel func()) error { cancel(); return nil },
		"panic":     func(func()) error { panic(errBack) },
	} {
		st := memory.New(nil)
		ctx, cancel := context.WithCancel(t.Context())
		called := false
		var kept *memory.Tx
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = p.(error)
				}
			}()
			return st.DB().Run(ctx, func(tx *memory.Tx) error {
				kept = tx
				put(t, st, tx, "a")
				if err := tx.OnCommit(func() { called = true }); err != nil {
					t.Error(err)
				}
				return end(cancel)
			})
		}()
		if err == nil || called || len(keys(t, st)) != 0 {
			t.Errorf("%s: %v, OnCommit was called: %t, rows: %q", name, err, called, keys(t, st))
		}
		if err := kept.OnCommit(func() {}); err == nil {
			t.Errorf("%s: a transaction that has ended takes more", name)
		}
		if _, _, err := st.Outbox().Writer().Append(t.Context(), sqltx.Native(kept), outbox.ToBroker, []outbox.Row{{}}, false); err == nil {
			t.Errorf("%s: a transaction that has ended takes rows", name)
		}
		cancel()
	}
}

func TestSavepoints(t *testing.T) { // guarantees: O1
	st := memory.New(nil)
	var effects []string
	effect := func(tx *memory.Tx, what string) {
		put(t, st, tx, what)
		if err := tx.OnCommit(func() { effects = append(effects, what) }); err != nil {
			t.Error(err)
		}
	}
	in(t, st, func(tx *memory.Tx) error {
		effect(tx, "before")
		err := sqltx.Native(tx).Savepoint(t.Context(), func(outer sqltx.Tx) error {
			effect(tx, "outer")
			for _, back := range []bool{true, false, true} {
				_ = outer.Savepoint(t.Context(), func(sqltx.Tx) error {
					if back {
						effect(tx, "lost")
						return errBack
					}
					effect(tx, "kept")
					return nil
				})
			}
			return nil
		})
		effect(tx, "after")
		return err
	})
	want := []string{"before", "outer", "kept", "after"}
	if got := keys(t, st); !slices.Equal(got, want) || !slices.Equal(effects, want) {
		t.Errorf("rows %q and effects %q, want %q", got, effects, want)
	}
}

// [LateCommitNotSkipped]
func TestLateCommitHasTheLowerNumber(t *testing.T) { // guarantees: R3
	st := memory.New(nil)
	in(t, st, func(late *memory.Tx) error {
		put(t, st, late, "late")
		in(t, st, func(tx *memory.Tx) error { put(t, st, tx, "early"); return nil })
		if got := keys(t, st); !slices.Equal(got, []string{"early"}) {
			t.Errorf("committed so far: %q", got)
		}
		return nil
	})
	if got := keys(t, st); !slices.Equal(got, []string{"late", "early"}) {
		t.Errorf("rows in order of their numbers: %q; tests would never see a late commit", got)
	}
}

// Two who want what the other one has: one of them fails, and its savepoint is not enough unless it was set before.
func TestDeadlock(t *testing.T) { // guarantees: I8
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(nil)
		first := make(chan error, 1)
		go func() {
			first <- st.DB().Run(t.Context(), func(tx *memory.Tx) error {
				return errors.Join(tx.Lock(t.Context(), "a"), pause(time.Second), tx.Lock(t.Context(), "b"))
			})
		}()
		err := st.DB().Run(t.Context(), func(tx *memory.Tx) error {
			if err := tx.Lock(t.Context(), "b"); err != nil {
				return err
			}
			_ = pause(time.Minute)
			err := tx.Lock(t.Context(), "a")
			if !errors.Is(err, memory.ErrDeadlock) || !st.Inbox().Passing(err) {
				t.Errorf("the second of two that wait for each other: %v", err)
			}
			if again := tx.Lock(t.Context(), "c"); !errors.Is(again, memory.ErrDeadlock) {
				t.Errorf("a failed transaction goes on: %v", again)
			}
			return nil // as if nothing had been
		})
		if !errors.Is(err, memory.ErrDeadlock) || !st.Outbox().Writer().Definite(err) {
			t.Errorf("a failed transaction commits: %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the other one: %v", err)
		}
	})
}

// pause is of the bubble's time.
func pause(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func TestSavepointOutlivesADeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(nil)
		first := make(chan error, 1)
		go func() {
			first <- st.DB().Run(t.Context(), func(tx *memory.Tx) error {
				return errors.Join(tx.Lock(t.Context(), "a"), pause(time.Second), tx.Lock(t.Context(), "b"))
			})
		}()
		in(t, st, func(tx *memory.Tx) error {
			put(t, st, tx, "kept")
			err := sqltx.Native(tx).Savepoint(t.Context(), func(sqltx.Tx) error {
				return errors.Join(tx.Lock(t.Context(), "b"), pause(time.Minute), tx.Lock(t.Context(), "a"))
			})
			if !errors.Is(err, memory.ErrDeadlock) {
				t.Error(err)
			}
			// What it held behind the savepoint is free, although it goes on itself.
			if err := <-first; err != nil {
				t.Errorf("the other one: %v", err)
			}
			return nil
		})
		if got := keys(t, st); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("rows: %q", got)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(nil)
		in(t, st, func(tx *memory.Tx) error {
			if err := tx.Lock(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := st.DB().Run(ctx, func(tx *memory.Tx) error { return tx.Lock(ctx, "a") })
			if !errors.Is(err, context.DeadlineExceeded) || st.Inbox().Passing(err) {
				t.Errorf("who waits for a lock when its context ends: %v", err)
			}
			return nil
		})
		in(t, st, func(tx *memory.Tx) error { return tx.Lock(t.Context(), "a") })
	})
}

func TestForeignTransactionsAreRefused(t *testing.T) {
	st, other := memory.New(nil), memory.New(nil)
	in(t, other, func(tx *memory.Tx) error {
		for name, foreign := range map[string]sqltx.Tx{"none": {}, "of another store": sqltx.Native(tx), "SQL": sqltx.Like(&sqlTx{})} {
			if _, _, err := st.Outbox().Writer().Append(t.Context(), foreign, outbox.ToBroker, []outbox.Row{{}}, false); err == nil {
				t.Errorf("a transaction (%s) takes rows that it cannot commit", name)
			}
			if _, _, err := st.Outbox().Queue(outbox.ToLocal).Claim(t.Context(), foreign, "n", []int64{1}); err == nil {
				t.Errorf("a transaction (%s) claims", name)
			}
			if _, err := st.Inbox().Record(t.Context(), foreign, "c", make([]inbox.Record, 1)); err == nil {
				t.Errorf("a transaction (%s) records", name)
			}
		}
		if _, err := sqltx.Native(tx).Exec(t.Context(), "INSERT INTO orders VALUES (1)"); err == nil {
			t.Error("SQL was taken and not done")
		}
		return nil
	})
}

type sqlTx struct{ sqltx.LikeTx }

// A unique key ends by the store's clock, which in a bubble is the bubble's.
func TestClaimsEndInVirtualTime(t *testing.T) { // guarantees: O3
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(nil)
		publish := func() (refused []int) {
			in(t, st, func(tx *memory.Tx) (err error) {
				row := outbox.Row{ID: sixfold.NewID(), Claim: "daily report", ClaimFor: 24 * time.Hour}
				refused, _, err = st.Outbox().Writer().Append(t.Context(), sqltx.Native(tx), outbox.ToBroker, []outbox.Row{row}, false)
				return err
			})
			return refused
		}
		if len(publish()) != 0 || len(publish()) != 1 {
			t.Error("a unique key was refused at first, or not refused the second time")
		}
		time.Sleep(25 * time.Hour)
		if len(publish()) != 0 {
			t.Error("a unique key of a day was refused after 25 hours")
		}
	})
}

func TestBytesAreTheStoresOwn(t *testing.T) { // guarantees: O5
	st := memory.New(nil)
	body := []byte("body")
	in(t, st, func(tx *memory.Tx) error {
		row := outbox.Row{ID: sixfold.NewID(), Attrs: []byte(`{"type":"t"}`), Body: body}
		_, _, err := st.Outbox().Writer().Append(t.Context(), sqltx.Native(tx), outbox.ToBroker, []outbox.Row{row}, false)
		body[0] = 'X' // the publisher's buffer is its own again
		return err
	})
	own := outbox.Ownership{}
	own.Partitions[0] = true
	for range 2 {
		rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 1, own)
		if err != nil || len(rows) != 1 || string(rows[0].Body) != "body" {
			t.Fatalf("a body came back as %q, %v", rows[0].Body, err)
		}
		rows[0].Body[0] = 'Y' // by a handler, which may see the message again
	}
}

func TestSavepointGivesAClaimedRowBack(t *testing.T) { // guarantees: O1
	st := memory.New(nil)
	if err := st.Outbox().Leases().Join(t.Context(), "", "n", time.Hour); err != nil {
		t.Fatal(err)
	}
	in(t, st, func(tx *memory.Tx) error {
		put(t, st, tx, "a") // number 1, changed twice in one transaction
		err := sqltx.Native(tx).Savepoint(t.Context(), func(inner sqltx.Tx) error {
			got, _, err := st.Outbox().Queue(outbox.ToBroker).Claim(t.Context(), inner, "n", []int64{1})
			if err != nil || len(got) != 1 {
				t.Errorf("claimed %v, %v", got, err)
			}
			return errBack
		})
		if !errors.Is(err, errBack) {
			t.Error(err)
		}
		return nil
	})
	if got := keys(t, st); !slices.Equal(got, []string{"a"}) {
		t.Errorf("rows: %q", got)
	}
}

func TestCommitRings(t *testing.T) {
	st := memory.New(nil)
	rings, stop := st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	heard := func() outbox.Ring {
		select {
		case r := <-rings:
			return r
		default:
			return 0
		}
	}
	_ = st.DB().Run(t.Context(), func(tx *memory.Tx) error { put(t, st, tx, "a"); return errBack })
	if got := heard(); got != 0 {
		t.Errorf("a rolled back transaction rang: %v", got)
	}
	in(t, st, func(tx *memory.Tx) error { put(t, st, tx, "a"); return nil })
	if got := heard(); got != outbox.Now {
		t.Errorf("a commit rang %v: a relay would wait for its poll", got)
	}
}
