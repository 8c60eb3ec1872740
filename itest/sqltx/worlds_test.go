package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/sqltx"
)

// A world is a database through a library, with a table t(id) that has a primary key.
type world struct {
	db     sqltx.DB[any]
	insert string // with one placeholder
	inUse  func() int
	closed error // of a transaction that has ended
	unique func(error) bool
	// opened by the library itself, left open
	begin func(t *testing.T) (tx sqltx.Tx, commit, rollback func() error)
}

// erase makes DBs of different libraries comparable.
func erase[X any](db sqltx.DB[X]) sqltx.DB[any] {
	return sqltx.DB[any]{
		Run: func(ctx context.Context, fn func(any) error) error {
			return db.Run(ctx, func(x X) error { return fn(x) })
		},
		Tx:    func(x any) sqltx.Tx { return db.Tx(x.(X)) },
		Exec:  db.Exec,
		Query: db.Query,
	}
}

func pgxWorld(t *testing.T) world {
	pool := newPool(t, newDatabase(t))
	return world{
		db: erase(sqltx.PgxDB(pool)), insert: "INSERT INTO t(id) VALUES ($1)",
		inUse: func() int { return int(pool.Stat().AcquiredConns()) }, closed: pgx.ErrTxClosed, unique: state("23505"),
		begin: func(t *testing.T) (sqltx.Tx, func() error, func() error) {
			tx, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return sqltx.Pgx(tx), func() error { return tx.Commit(t.Context()) }, func() error { return tx.Rollback(t.Context()) }
		},
	}
}

func stdWorld(t *testing.T, driver, dsn, insert string, unique func(error) bool) world {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(2)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return world{
		db: erase(sqltx.StdDB(db)), insert: insert, inUse: func() int { return db.Stats().InUse }, closed: sql.ErrTxDone, unique: unique,
		begin: func(t *testing.T) (sqltx.Tx, func() error, func() error) {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return sqltx.Std(tx), tx.Commit, tx.Rollback
		},
	}
}

func sqliteWorld(t *testing.T) world {
	w := stdWorld(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "t.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)", "INSERT INTO t(id) VALUES (?)", func(err error) bool {
		var coded interface{ Code() int }
		return errors.As(err, &coded) && coded.Code() == 1555 // SQLITE_CONSTRAINT_PRIMARYKEY
	})
	if _, err := w.db.ExecSQL(t.Context(), "CREATE TABLE t (id INTEGER PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	return w
}

func eachWorld(t *testing.T, f func(t *testing.T, w world)) {
	for name, open := range map[string]func(t *testing.T) world{
		"pgx": pgxWorld,
		"database/sql on PostgreSQL": func(t *testing.T) world {
			return stdWorld(t, "pgx", newDatabase(t), "INSERT INTO t(id) VALUES ($1)", state("23505"))
		},
		"SQLite": sqliteWorld,
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			f(t, w)
			idle(t, w.inUse)
		})
	}
}

// holds expects the table to hold want and nothing else.
func (w world) holds(t *testing.T, want ...int64) {
	t.Helper()
	var got []int64
	if err := w.db.EachRow(t.Context(), "SELECT id FROM t ORDER BY id", nil, collect(&got)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table holds %v, want %v", got, want)
	}
}

func collect(into *[]int64) func(sqltx.Rows) error {
	return func(r sqltx.Rows) error {
		var id int64
		err := r.Scan(&id)
		*into = append(*into, id)
		return err
	}
}

func (w world) add(t *testing.T, tx sqltx.Tx, id int64) {
	t.Helper()
	if n, err := tx.Exec(t.Context(), w.insert, id); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}
