package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// sqliteDatabase is one file, which all processes open. It has no server that could die: who dies or stands still with its lock is
// a process of ours.
type sqliteDatabase struct{}

// sqliteFile is the directory of the file.
type sqliteFile string

func (sqliteFile) Stop(servers.Shutdown) error { return errors.New("torture: SQLite has no server") }
func (sqliteFile) Start(context.Context) error { return nil }
func (sqliteFile) Pid() int                    { return 0 }
func (f sqliteFile) Close() error              { return os.RemoveAll(string(f)) }

func (sqliteDatabase) start(context.Context) (databaseServer, string, error) {
	dir, err := os.MkdirTemp("", "sixfold-torture-")
	if err != nil {
		return nil, "", err
	}
	// Whoever waits for the lock waits longer than a process stands still.
	dsn := url.URL{Scheme: "file", Opaque: filepath.Join(dir, "torture.db"),
		RawQuery: "_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"}
	return sqliteFile(dir), dsn.String(), nil
}

// ledger has a table effect without any unique constraint but its number, and dead too, on purpose: what happens twice must show.
func (sqliteDatabase) ledger() []string {
	return []string{"CREATE TABLE ledger_key (key TEXT PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0)",
		"CREATE TABLE ledger_tx (tx TEXT NOT NULL)",
		"CREATE TABLE ledger_poison (consumer TEXT PRIMARY KEY, key TEXT NOT NULL, n INTEGER NOT NULL)",
		"CREATE TABLE effect (id INTEGER PRIMARY KEY AUTOINCREMENT, consumer TEXT NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, msg TEXT NOT NULL)",
		"CREATE TABLE dead (id INTEGER PRIMARY KEY AUTOINCREMENT, parked INTEGER NOT NULL, consumer TEXT NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, msg TEXT NOT NULL)"}
}

func (d sqliteDatabase) roles(ctx context.Context, db pool, st *store.Store, _ string, o *Options) (map[string]string, error) {
	return nil, errors.Join(st.Migrate(ctx), createLedger(ctx, d, db, o.Keys))
}

func (sqliteDatabase) endSessions(context.Context, pool) error {
	return errors.New("torture: SQLite has no sessions")
}

func (sqliteDatabase) publisher(ctx context.Context, p *process) error {
	return runPublisher(ctx, p, sqliteBusiness{p.db.(*sqlitePool)})
}

func (sqliteDatabase) consumer(ctx context.Context, p *process) error {
	return runConsumer(ctx, p, sqliteBusiness{p.db.(*sqlitePool)})
}

func (sqliteDatabase) lastEffect() string { return "(SELECT coalesce(max(id), 0) FROM effect)" }

func (sqliteDatabase) lastParked() string {
	return "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'sixfold_parked')"
}

func (sqliteDatabase) never() string { return "9223372036854775807" }

func (sqliteDatabase) numberOf() string { return "json_extract(CAST(body AS TEXT), '$.n')" }

func (sqliteDatabase) asID(column string) string { return column }

func (sqliteDatabase) open(dsn string, connections int) (pool, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("torture: open the database: %w", err)
	}
	db.SetMaxOpenConns(min(connections, 12)) // one of them writes
	db.SetMaxIdleConns(12)
	return &sqlitePool{db}, nil
}

type sqlitePool struct{ db *sql.DB }

func (p *sqlitePool) runner() sqltx.Runner { return sqltx.StdDB(p.db) }

func (p *sqlitePool) store(o *store.Options) (*store.Store, error) {
	return store.SQLite(sqltx.StdDB(p.db), o)
}

var sqliteParameter = regexp.MustCompile(`\$(\d+)`)

// sqliteSQL translates a question.
func sqliteSQL(q string) string {
	return sqliteParameter.ReplaceAllString(strings.ReplaceAll(q, "sixfold.", "sixfold_"), "?$1")
}

func (p *sqlitePool) row(ctx context.Context, q string, args []any, dest ...any) error {
	return p.db.QueryRowContext(ctx, sqliteSQL(q), args...).Scan(dest...)
}

func (p *sqlitePool) each(ctx context.Context, q string, dest []any, fn func()) error {
	rows, err := p.db.QueryContext(ctx, sqliteSQL(q))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		fn()
	}
	return rows.Err()
}

func (p *sqlitePool) exec(ctx context.Context, q string, args ...any) (int64, error) {
	r, err := p.db.ExecContext(ctx, sqliteSQL(q), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (p *sqlitePool) ping(ctx context.Context) error { return p.db.PingContext(ctx) }
func (p *sqlitePool) close()                         { _ = p.db.Close() } // what it could say comes too late
