package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Options of a store. Nil and the zero value are right for most.
type Options struct {
	// Schema that holds the tables. PostgreSQL: "sixfold" when empty; MySQL: the name of a database, that of the connection when
	// empty. Migrate creates it where it is missing. SQLite has none.
	Schema string
	// Prefix of every table, index and function. PostgreSQL: none; MySQL and SQLite: "sixfold_" when empty.
	Prefix string
	// KeepDelivered keeps settled rows in the table "delivered" for this long, until Keeper.Purge removes them.
	// 0: they are deleted.
	KeepDelivered time.Duration
	// Clock replaces the clock, for virtual time in tests. SQLite only: elsewhere time is the database's own.
	Clock func() time.Time
	// Logger hears of each migration. Nil: nobody does.
	Logger *slog.Logger
}

// A Store is one set of tables in one database. It is safe for concurrent use.
type Store struct {
	db         sqltx.Runner
	names      names
	keep       time.Duration
	dialect    dialect
	migrations Migrations
	log        *slog.Logger
	outbox     Outbox
	inbox      Inbox
	broker     *Broker
	blobs      Blobs
	schedule   Schedule
	sagas      Sagas
	requests   Requests
	answers    Answers
}

// dialect is how a kind of database is migrated.
type dialect interface {
	// files is the folder of its migrations.
	files() string
	// begin refuses a server that cannot hold the tables.
	begin(ctx context.Context, s *Store) error
	// lock waits for other processes that migrate the same tables, then makes the version table.
	lock(ctx context.Context, tx sqltx.Tx, n names) error
	// kindOf answers "table", what else an object is, or "" when it is not there.
	kindOf(ctx context.Context, each eachRow, n names, object string) (string, error)
	columnsOf(ctx context.Context, each eachRow, n names, table string) ([]string, error)
}

// Outbox is the outbox of a Store; it implements outbox.Store.
type Outbox struct {
	names  names
	writer outbox.Writer
	queues [2]outbox.Queue
	leases outbox.Leases
	keeper outbox.Keeper
	bells  [3]outbox.Bell
}

// Inbox is the inbox of a Store; it implements inbox.Store.
type Inbox struct{ inbox.Store }

// Outbox of the store. Always the same one.
func (s *Store) Outbox() *Outbox { return &s.outbox }

// Inbox of the store. Always the same one.
func (s *Store) Inbox() *Inbox { return &s.inbox }

// Writer implements outbox.Store.
func (o *Outbox) Writer() outbox.Writer { return o.writer }

// Queue implements outbox.Store.
func (o *Outbox) Queue(t outbox.Table) outbox.Queue { return o.queues[t] }

// Leases implements outbox.Store.
func (o *Outbox) Leases() outbox.Leases { return o.leases }

// Keeper implements outbox.Store.
func (o *Outbox) Keeper() outbox.Keeper { return o.keeper }

// Bell implements outbox.Store. It is rung by the publishers of this process; package postgres rings it for those of others.
func (o *Outbox) Bell(t outbox.Table) *outbox.Bell { return &o.bells[t] }

// newStore checks what the dialects share.
func newStore(db sqltx.Runner, opts *Options, d dialect, schema, prefix string) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Schema == "" {
		o.Schema = schema
	}
	if o.Prefix == "" {
		o.Prefix = prefix
	}
	errs := []error{checkNames(o.Schema, o.Prefix)}
	if db == nil {
		errs = append(errs, errors.New("store: the database is nil; pass sqltx.PgxDB(pool) or sqltx.StdDB(db)"))
	} else if e, ok := db.(interface{ Err() error }); ok && e.Err() != nil {
		errs = append(errs, e.Err())
	}
	if o.KeepDelivered < 0 {
		errs = append(errs, errors.New("store: option KeepDelivered "+o.KeepDelivered.String()+": it is negative; give how long delivered rows are kept, or 0 to delete them"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := names{o.Schema, o.Prefix}
	all, err := loadMigrations(d.files(), n)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, names: n, keep: o.KeepDelivered, dialect: d, log: log}
	s.migrations = Migrations{s, all}
	s.outbox.names = n
	return s, nil
}

var (
	_ outbox.Store = (*Outbox)(nil)
	_ inbox.Store  = (*Inbox)(nil)
)
