package sqltx_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

var errBoom = errors.New("boom")

// guarantees: O1
func TestRunCommitsAndRollsBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		if err := w.db.InTx(t.Context(), func(tx sqltx.Tx) error { w.add(t, tx, 1); return nil }); err != nil {
			t.Error(err)
		}
		if err := w.db.InTx(t.Context(), func(tx sqltx.Tx) error { w.add(t, tx, 2); return errBoom }); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		func() {
			defer func() {
				if p := recover(); p != "panic" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = w.db.InTx(t.Context(), func(tx sqltx.Tx) error { w.add(t, tx, 3); panic("panic") })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		if err := w.db.InTx(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 4); cancel(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := w.db.InTx(ctx, func(tx sqltx.Tx) error { t.Error("it ran after the end of its context"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.holds(t, 1)
	})
}

func TestSavepoint(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		ctx := t.Context()
		err := w.db.InTx(ctx, func(tx sqltx.Tx) error {
			w.add(t, tx, 1)
			if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 2); return nil }); err != nil {
				t.Error(err)
			}
			if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 3); return errBoom }); err != errBoom {
				t.Error(err)
			}
			// A failed statement inside leaves the transaction usable.
			if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error {
				w.add(t, tx, 4)
				_, err := tx.Exec(ctx, w.insert, int64(1))
				return err
			}); !w.unique(err) {
				t.Error(err)
			}
			func() {
				defer func() {
					if p := recover(); p != "panic" {
						t.Errorf("recovered %v", p)
					}
				}()
				_ = tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 5); panic("panic") })
			}()
			// The inner one is undone, the outer one is not; then both; then with the outer transaction's Tx inside.
			if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error {
				w.add(t, tx, 6)
				if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 7); return errBoom }); err != errBoom {
					t.Error(err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if err := tx.Savepoint(ctx, func(inner sqltx.Tx) error {
				w.add(t, inner, 8)
				if err := inner.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 9); return nil }); err != nil {
					t.Error(err)
				}
				if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 10); return nil }); err != nil {
					t.Error(err)
				}
				return errBoom
			}); err != errBoom {
				t.Error(err)
			}
			w.add(t, tx, 11)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		w.holds(t, 1, 2, 6, 11)
	})
}

// A loop of failing messages must neither nest ever deeper nor invent ever new names.
func TestFailedSavepointsLeaveNothingOpen(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		ctx := t.Context()
		err := w.db.InTx(ctx, func(tx sqltx.Tx) error {
			for range 3 {
				if err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { return errBoom }); err != errBoom {
					t.Error(err)
				}
			}
			w.add(t, tx, 1)
			// Nothing is left to release, under the name that Savepoint gives at this depth.
			return tx.Savepoint(ctx, func(tx sqltx.Tx) error {
				_, err := tx.Exec(ctx, "RELEASE SAVEPOINT sixfold_1")
				if err != nil {
					t.Error("the test is wrong: the name is another one", err)
				}
				_, err = tx.Exec(ctx, "RELEASE SAVEPOINT sixfold_1")
				if err == nil {
					t.Error("an older savepoint was left open")
				}
				return errBoom
			})
		})
		if !errors.Is(err, errBoom) {
			t.Error(err)
		}
		w.holds(t)
	})
}

func TestSavepointAfterTheEndOfTheContext(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		tx, commit, rollback := w.begin(t)
		defer rollback()
		ctx, cancel := context.WithCancel(t.Context())
		err := tx.Savepoint(ctx, func(tx sqltx.Tx) error { w.add(t, tx, 1); cancel(); return ctx.Err() })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.add(t, tx, 2) // the transaction itself goes on
		if err := commit(); err != nil {
			t.Error(err)
		}
		w.holds(t, 2)
	})
}

func TestFinishedTransactionsAnswerTheirLibrarysError(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		for _, end := range []string{"commit", "rollback"} {
			tx, commit, rollback := w.begin(t)
			f := commit
			if end == "rollback" {
				f = rollback
			}
			if err := f(); err != nil {
				t.Fatal(err)
			}
			for what, err := range everyUse(t, tx) {
				if !errors.Is(err, w.closed) {
					t.Errorf("%s after %s: %v", what, end, err)
				}
			}
		}
	})
}

// everyUse is what each method answers.
func everyUse(t *testing.T, tx sqltx.Tx) map[string]error {
	t.Helper()
	ctx := t.Context()
	never := func(sqltx.Rows) error { t.Error("a row came"); return nil }
	_, exec := tx.Exec(ctx, "SELECT 1")
	return map[string]error{
		"Exec": exec, "Each": tx.Each(ctx, "SELECT 1", nil, never), "Do": tx.Do(ctx, sqltx.Statement{SQL: "SELECT 1"}),
		"Do with rows": tx.Do(ctx, sqltx.Statement{SQL: "SELECT 1", Scan: never}),
		"Savepoint":    tx.Savepoint(ctx, func(sqltx.Tx) error { t.Error("fn was called"); return nil }),
	}
}

func TestEachGivesItsConnectionBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		ctx := t.Context()
		many := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1000) SELECT i FROM n"
		first := func(sqltx.Rows) error { return errBoom }
		recovered := func(f func()) (p any) {
			defer func() { p = recover() }()
			f()
			return nil
		}
		for _, where := range []struct {
			name string
			each func(q string, scan func(sqltx.Rows) error) error
		}{
			{"outside", func(q string, scan func(sqltx.Rows) error) error { return w.db.EachRow(ctx, q, nil, scan) }},
			{"inside", func(q string, scan func(sqltx.Rows) error) error {
				return w.db.InTx(ctx, func(tx sqltx.Tx) error {
					err := tx.Each(ctx, q, nil, scan)
					if err != nil && !errors.Is(err, errBoom) {
						return err // of the database, which has ended the transaction
					}
					var one []int64 // the same transaction can be asked at once
					if err := tx.Each(ctx, "SELECT 1", nil, collect(&one)); err != nil {
						t.Errorf("afterwards: %v", err)
					}
					return err
				})
			}},
		} {
			if err := where.each(many, first); !errors.Is(err, errBoom) {
				t.Errorf("%s: %v", where.name, err)
			}
			if p := recovered(func() { _ = where.each(many, func(sqltx.Rows) error { panic("scan") }) }); p != "scan" {
				t.Errorf("%s: recovered %v", where.name, p)
			}
			if err := where.each("SELEKT", first); err == nil || errors.Is(err, errBoom) {
				t.Errorf("%s: %v", where.name, err)
			}
			var all []int64
			if err := where.each(many, collect(&all)); err != nil || len(all) != 1000 || all[999] != 1000 {
				t.Errorf("%s: %d rows, %v", where.name, len(all), err)
			}
			if err := where.each("SELECT 'x'", collect(&all)); err == nil {
				t.Errorf("%s: scanned a text into a number", where.name)
			}
			if n := w.inUse(); n != 0 {
				t.Errorf("%s: %d connections are in use", where.name, n)
			}
		}
	})
}

func TestRunnerWithAndWithoutItsShortCuts(t *testing.T) {
	eachWorld(t, func(t *testing.T, w world) {
		plain := w.db
		plain.Exec, plain.Query = nil, nil
		for i, r := range []sqltx.Runner{w.db, plain} {
			if n, err := r.ExecSQL(t.Context(), w.insert, int64(i)); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			if n, err := r.ExecSQL(t.Context(), w.insert, int64(i)); !w.unique(err) || n != 0 {
				t.Errorf("%d rows, %v", n, err)
			}
			if n, err := r.ExecSQL(t.Context(), "UPDATE t SET id = id WHERE id < 100"); err != nil || n != int64(i+1) {
				t.Errorf("%d rows, %v", n, err)
			}
			var got []int64
			if err := r.EachRow(t.Context(), strings.Replace("SELECT id FROM t WHERE id >= $1", "$1", "0", 1), nil, collect(&got)); err != nil || len(got) != i+1 {
				t.Errorf("%v, %v", got, err)
			}
		}
	})
}
