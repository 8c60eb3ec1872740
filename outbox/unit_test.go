package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// kinds are a DB whose commits are a round trip of their own, and one that sends the last statements along.
func kinds(db *outbox.FakeDB) map[string]sqltx.DB[*outbox.FakeTx] {
	with := db.DB()
	with.CommitWith = func(ctx context.Context, fn func(*outbox.FakeTx) ([]sqltx.Statement, error)) error {
		return db.DB().Run(ctx, func(tx *outbox.FakeTx) error {
			last, err := fn(tx)
			for _, s := range last {
				if err == nil {
					err = tx.Tx().Do(ctx, s)
				}
			}
			return err
		})
	}
	return map[string]sqltx.DB[*outbox.FakeTx]{"plain": db.DB(), "with the commit": with}
}

// each runs f for both kinds on databases of their own.
func each(t *testing.T, f func(t *testing.T, db *outbox.FakeDB, box *outbox.Outbox, lib sqltx.DB[*outbox.FakeTx])) {
	for _, name := range []string{"plain", "with the commit"} {
		t.Run(name, func(t *testing.T) {
			db := outbox.NewFakeDB()
			f(t, db, shop(t, db), kinds(db)[name])
		})
	}
}

// guarantees: O1, O6
func TestDoCommits(t *testing.T) {
	each(t, func(t *testing.T, db *outbox.FakeDB, box *outbox.Outbox, lib sqltx.DB[*outbox.FakeTx]) {
		rings, stop := db.Bell(outbox.ToLocal).Listen()
		defer stop()
		var ids []string
		err := outbox.Do(t.Context(), box, lib, func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error {
			ids = append(ids, u.Publish(placed{"1"}), u.Publish(charge{Cents: 2}), u.Publish(charge{Cents: 3}, outbox.Unique("u", 0)))
			return nil
		})
		if got := rows(db); err != nil || len(got) != 4 || got[0].ID != ids[0] || got[1].ID != ids[1] || got[2].ID != ids[2] || got[3].ID != ids[0] || <-rings != outbox.Now {
			t.Errorf("%v: %+v", err, got)
		}
		if err := outbox.Do(t.Context(), box, lib, func(context.Context, *outbox.FakeTx, *outbox.Unit) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// What comes after the transaction's end belongs to none, and gets no id.
func TestUnitEndsWithItsFunction(t *testing.T) {
	each(t, func(t *testing.T, db *outbox.FakeDB, box *outbox.Outbox, lib sqltx.DB[*outbox.FakeTx]) {
		var kept *outbox.Unit
		err := outbox.Do(t.Context(), box, lib, func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error {
			kept = u
			return nil
		})
		if id := kept.Publish(placed{"1"}); err != nil || id != "" || len(rows(db)) != 0 {
			t.Errorf("%v: id %q, %d rows", err, id, len(rows(db)))
		}
	})
}

// guarantees: O1, O2
func TestDoRollsBack(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		fn  func(u *outbox.Unit) error
		say string
	}{
		"fn fails":           {func(u *outbox.Unit) error { u.Publish(charge{Cents: 1}); return boom }, "boom"},
		"a bad message":      {func(u *outbox.Unit) error { u.Publish(charge{Cents: 1}); u.Publish(routeless{}); return nil }, "no route"},
		"a bad one and boom": {func(u *outbox.Unit) error { u.Publish(routeless{}); return boom }, "boom"},
		"a duplicate": {func(u *outbox.Unit) error {
			u.Publish(charge{Cents: 1}, outbox.Unique("u", 0))
			u.Publish(charge{Cents: 1}, outbox.Unique("u", 0))
			return nil
		}, "published before"},
		"a panic": {func(u *outbox.Unit) error { u.Publish(charge{Cents: 1}); panic("boom") }, "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *outbox.FakeDB, box *outbox.Outbox, lib sqltx.DB[*outbox.FakeTx]) {
				err := func() (err error) {
					defer func() {
						if p := recover(); p != nil {
							err = fmt.Errorf("panic: %v", p)
						}
					}()
					return outbox.Do(t.Context(), box, lib, func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error { return c.fn(u) })
				}()
				if err == nil || !strings.Contains(err.Error(), c.say) || len(rows(db)) != 0 {
					t.Errorf("%v: %v", err, rows(db))
				}
			})
		})
	}
}

// What does not fit into one statement is written in several. guarantees: O6
func TestDoWritesMoreThanOneStatementTakes(t *testing.T) {
	each(t, func(t *testing.T, db *outbox.FakeDB, box *outbox.Outbox, lib sqltx.DB[*outbox.FakeTx]) {
		err := outbox.Do(t.Context(), box, lib, func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error {
			for range 3 {
				u.Publish(odd{strings.Repeat("x", 2000)})
			}
			u.Publish(placed{"1"})
			return nil
		})
		if err != nil || len(rows(db)) != 5 {
			t.Errorf("%v: %d rows", err, len(rows(db)))
		}
	})
}

// A lost answer to COMMIT is looked into, and only what nobody knows is unknown. guarantees: O3
func TestDoFindsOutWhatBecameOfACommit(t *testing.T) {
	for name, c := range map[string]struct {
		lost, asked error // what COMMIT and the question answer
		applied     bool
		want        error // nil: committed
		say         string
	}{
		"committed":           {outbox.ErrFakeCut, nil, true, nil, ""},
		"rolled back":         {outbox.ErrFakeCut, nil, false, outbox.ErrFakeCut, "was rolled back and may be done again"},
		"nobody knows":        {outbox.ErrFakeCut, outbox.ErrFakeCut, true, sqltx.ErrCommitUnknown, "unknown"},
		"the database's word": {outbox.ErrFakeRefused, nil, false, outbox.ErrFakeRefused, "the server says no"},
	} {
		t.Run(name, func(t *testing.T) {
			db := outbox.NewFakeDB()
			box := shop(t, db)
			lose := func(op string) error {
				if op == "commit" {
					return c.lost
				}
				return nil
			}
			ask := func(op string) error {
				if op == "outcome" {
					return c.asked
				}
				return nil
			}
			both := func(op string) error { return errors.Join(lose(op), ask(op)) }
			if c.applied {
				db.Fail(ask, lose)
			} else {
				db.Fail(both, nil)
			}
			err := outbox.Do(t.Context(), box, db.DB(), func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error {
				u.Publish(charge{Cents: 1})
				return nil
			})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.say) || c.want != sqltx.ErrCommitUnknown && errors.Is(err, sqltx.ErrCommitUnknown) {
				t.Errorf("%v", err)
			}
			if n := db.Calls("outcome"); (name == "the database's word") != (n == 0) && name != "nobody knows" {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// A caller's context that has ended does not keep Do from asking. guarantees: O3
func TestDoAsksAlthoughItsContextHasEnded(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	db.Fail(nil, func(op string) error {
		if op == "commit" {
			cancel()
			return outbox.ErrFakeCut
		}
		return nil
	})
	err := outbox.Do(ctx, box, db.DB(), func(_ context.Context, _ *outbox.FakeTx, u *outbox.Unit) error {
		u.Publish(charge{Cents: 1})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
