package main

import (
	"context"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// database is what a kind of database means to the run. Each kind is database_<kind>.go; what its transactions are to the
// business is business_<kind>.go.
type database interface {
	// start starts a private server, and answers the DSN of an empty database on it.
	start(ctx context.Context) (databaseServer, string, error)
	// open opens a pool of at most so many connections. It connects when it is used.
	open(dsn string, connections int) (pool, error)
	// ledger are the statements that make the ledger's tables.
	ledger() []string
	// roles makes tables and roles on a server of our own, and answers the DSN for each role of ours.
	roles(ctx context.Context, db pool, st *store.Store, dsn string, o *Options) (map[string]string, error)
	// endSessions ends the sessions of all others.
	endSessions(ctx context.Context, db pool) error
	// publisher and consumer play the roles whose transactions are the library's own.
	publisher(ctx context.Context, p *process) error
	consumer(ctx context.Context, p *process) error
	// lastEffect is about the number of effects, and lastParked how many messages were ever parked, as expressions.
	lastEffect() string
	lastParked() string
	// never is when a line is due that waits behind a dead letter; numberOf is the number of a parked message.
	never() string
	numberOf() string
	asID(column string) string
}

// databaseServer is a private server, which can be a victim.
type databaseServer interface {
	Stop(how servers.Shutdown) error
	Start(ctx context.Context) error
	Close() error
	Pid() int
}

// pool is one process's way to its database. Questions are written for PostgreSQL, with Sixfold's tables in the schema
// sixfold; other databases translate them.
type pool interface {
	runner() sqltx.Runner
	store(o *store.Options) (*store.Store, error)
	// row asks for one row, each for many; both leave values that are there in dest.
	row(ctx context.Context, q string, args []any, dest ...any) error
	each(ctx context.Context, q string, dest []any, fn func()) error
	exec(ctx context.Context, q string, args ...any) (int64, error)
	ping(ctx context.Context) error
	close()
}

// databases are the kinds that there are; nobody writes to it.
var databases = map[string]database{"postgres": postgresDatabase{}, "mariadb": mariaDatabase{}, "sqlite": sqliteDatabase{}}

func (r *run) database() database { return databases[r.o.Database] }

// createLedger makes the tables, with a counter for each of keys keys.
func createLedger(ctx context.Context, d database, db pool, keys int) error {
	for _, q := range d.ledger() {
		if _, err := db.exec(ctx, q); err != nil {
			return err
		}
	}
	names := "('" + hotKey + "')"
	for i := 1; i < keys; i++ {
		names += ", ('" + keyName(i) + "')"
	}
	_, err := db.exec(ctx, "INSERT INTO ledger_key (key) VALUES "+names)
	return err
}
