package cli

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/sixfold-go/sixfold/sqltx"
)

// openSQLite opens a file, which create makes where it is missing.
func (a *app) openSQLite(ctx context.Context, where dsn, create bool) (*database, error) {
	info, err := os.Stat(where.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !create:
		return nil, cannotConnect("the file "+quote(where.path)+" is not there", "correct the path, or make it with sixfold migrate up")
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(where.path)); err != nil {
			return nil, cannotConnect("the directory of "+quote(where.path)+" is not there", "make it, or correct the path")
		}
	case err != nil:
		return nil, cannotConnect("the file "+quote(where.path)+" cannot be looked at", "look at its rights")
	case info.IsDir():
		return nil, cannotConnect(quote(where.path)+" is a directory", "name a file in it")
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)"}, "mode": {"rw"}}
	if create {
		q.Set("mode", "rwc")
	}
	if mode := where.query.Get("mode"); mode != "" {
		q.Set("mode", mode)
		if mode == "ro" {
			q.Del("_txlock") // which is a lock for writing
		}
	}
	for _, p := range where.query["_pragma"] {
		q.Add("_pragma", p)
	}
	path := (&url.URL{Path: where.path}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, cannotConnect("the file "+quote(where.path)+" cannot be opened", "look at the parameters behind its path")
	}
	db.SetMaxOpenConns(1)
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var tables int
	if err := db.QueryRowContext(limited, "SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		db.Close()
		if interrupted(ctx) {
			return nil, ctx.Err()
		}
		return nil, cannotConnect("the file "+quote(where.path)+" is no database of SQLite, or cannot be read", "look at the path and at its rights")
	}
	return &database{run: sqltx.StdDB(db), server: "SQLite file " + where.path, close: func() { _ = db.Close() }}, nil
}
