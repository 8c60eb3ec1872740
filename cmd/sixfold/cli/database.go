package cli

import (
	"context"

	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// database is a connected store.
type database struct {
	*store.Store
	run    sqltx.Runner
	server string // for people
	unfit  error  // why nothing but doctor can use it; nil mostly
	close  func()
}

// connect connects to the database of the flags, and refuses one that cannot hold the tables. create makes an SQLite file that
// is missing.
func (a *app) connect(ctx context.Context, create bool) (*database, error) {
	db, err := a.reach(ctx, create)
	if err == nil && db.unfit != nil {
		db.close()
		return nil, db.unfit
	}
	return db, err
}

// reach connects to the database of the flags, whatever it is.
func (a *app) reach(ctx context.Context, create bool) (*database, error) {
	where, err := a.parseDSN()
	if err != nil {
		return nil, err
	}
	// The names are checked first, so that nothing is asked of a server for nothing.
	if _, err := a.offline(where.kind); err != nil {
		return nil, err
	}
	open := a.openPostgres
	switch where.kind {
	case "sqlite":
		open = a.openSQLite
	case "mysql":
		open = a.openMySQL
	}
	db, err := open(ctx, where, create)
	if err != nil {
		return nil, err
	}
	if db.Store, err = a.store(db.run, where.kind); err != nil {
		db.close()
		return nil, err
	}
	return db, nil
}

func (a *app) store(run sqltx.Runner, kind string) (*store.Store, error) {
	open, o := store.Postgres, &store.Options{Schema: a.schema, Prefix: a.prefix}
	switch kind {
	case "sqlite":
		open = store.SQLite
	case "mysql":
		open = store.MySQL
	}
	st, err := open(run, o)
	if err != nil {
		f := asFailure(err)
		return nil, usage(f.Message, f.Hint)
	}
	return st, nil
}

// offline is a store that only knows its names.
func (a *app) offline(kind string) (*store.Store, error) { return a.store(nobody{}, kind) }

// nobody is a database that cannot be asked.
type nobody struct{}

var errOffline = failedWith("this command is not connected", "give --dsn")

func (nobody) InTx(context.Context, func(sqltx.Tx) error) error       { return errOffline }
func (nobody) ExecSQL(context.Context, string, ...any) (int64, error) { return 0, errOffline }
func (nobody) EachRow(context.Context, string, []any, func(sqltx.Rows) error) error {
	return errOffline
}
