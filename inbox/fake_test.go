package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// fakeDB is a database of the tests: an inbox.Store whose records commit with their transactions.
type fakeDB struct {
	mu       sync.Mutex
	handled  map[string]inbox.Record
	attempts map[string]int
	begun    int
	commit   func(n int) error // what COMMIT number n answers; the transaction is rolled back
	lost     func(n int) error // the same, but it was committed
	pruned   []int             // what Prune answers, in turn
	err      error
}

func newDB() *fakeDB {
	return &fakeDB{handled: map[string]inbox.Record{}, attempts: map[string]int{}}
}

var errPassing = errors.New("fake: deadlock")

// fakeTx is a transaction. Handlers write their effects into it.
type fakeTx struct {
	db      *fakeDB
	records map[string]inbox.Record
	effects []string
}

func (tx *fakeTx) ExecContext(_ context.Context, _ string, args ...any) (sql.Result, error) {
	return nil2{}, args[0].(func(*fakeTx) error)(tx)
}

func (tx *fakeTx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("fake: no queries")
}
func (tx *fakeTx) Commit() error   { return nil }
func (tx *fakeTx) Rollback() error { return nil }

type nil2 struct{}

func (nil2) LastInsertId() (int64, error) { return 0, nil }
func (nil2) RowsAffected() (int64, error) { return 0, nil }

// lib opens transactions whose effects are appended to into at commit.
func (db *fakeDB) lib(into *[]string) sqltx.DB[*fakeTx] {
	return sqltx.DB[*fakeTx]{
		Tx: func(tx *fakeTx) sqltx.Tx { return sqltx.Like(tx) },
		Run: func(ctx context.Context, fn func(*fakeTx) error) error {
			db.mu.Lock()
			db.begun++
			n := db.begun
			db.mu.Unlock()
			tx := &fakeTx{db: db, records: map[string]inbox.Record{}}
			if err := fn(tx); err != nil {
				return err
			}
			if db.commit != nil && db.commit(n) != nil {
				return db.commit(n)
			}
			db.mu.Lock()
			for k, r := range tx.records {
				db.handled[k] = r
			}
			if into != nil {
				*into = append(*into, tx.effects...)
			}
			db.mu.Unlock()
			if db.lost != nil {
				return db.lost(n)
			}
			return nil
		},
	}
}

func key(consumer string, r inbox.Record) string { return fmt.Sprintf("%s %x", consumer, r.Message) }

func (db *fakeDB) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	verdicts := make([]inbox.Verdict, len(recs))
	_, err := tx.Exec(ctx, "record", func(tx *fakeTx) error {
		db.mu.Lock()
		defer db.mu.Unlock()
		for i, r := range recs {
			old, is := db.handled[key(consumer, r)]
			switch {
			case !is:
				tx.records[key(consumer, r)] = r
			case old.Digest != r.Digest:
				verdicts[i] = inbox.Reused
			default:
				verdicts[i] = inbox.Handled
			}
		}
		return db.err
	})
	return verdicts, err
}

func (db *fakeDB) Suspect(_ context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	out := make([]int, len(recs))
	for i, r := range recs {
		db.attempts[key(consumer, r)]++
		out[i] = db.attempts[key(consumer, r)]
	}
	return out, db.err
}

func (db *fakeDB) Forget(_ context.Context, consumer string, recs []inbox.Record) error {
	for _, r := range recs {
		delete(db.attempts, key(consumer, r))
	}
	return db.err
}

func (db *fakeDB) Prune(context.Context, time.Duration, int) (int, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.pruned) == 0 {
		return 0, db.err
	}
	n := db.pruned[0]
	db.pruned = db.pruned[1:]
	return n, nil
}

// Parking implements inbox.Store: nothing is parked.
func (db *fakeDB) Parking() inbox.Parking { return nil }

func (db *fakeDB) Passing(err error) bool { return errors.Is(err, errPassing) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
