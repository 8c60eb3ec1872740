package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Options of a Store. Nil and the zero value are right for most.
type Options struct {
	// Clock replaces the clock, which is time.Now: the end of leases, of unique keys, and of what the inbox remembers. It is
	// called with the store locked, so it must not use the store.
	Clock func() time.Time
}

// A Store is a database in the process. It is safe for concurrent use, and needs no Close.
type Store struct {
	clock  func() time.Time
	outbox Outbox
	inbox  Inbox
	later  Schedule
	sagas  Sagas

	mu        sync.Mutex // guards all below, and every open Tx
	begun     uint64     // transactions
	open      map[*Tx]struct{}
	aborted   map[uint64]struct{} // transactions that were rolled back, of those that may be asked for
	rows      [2]rowTable
	published table[string, claim]
	records   table[recordKey, record]
	lineOf    table[lineKey, int64] // the lines of keys
	lines     table[int64, line]
	parked    table[int64, parked]
	members   map[int64][]int64 // by line, ascending; with numbers of messages that are gone
	numbers   int64             // that were drawn for lines and parked messages
	locks     table[string, struct{}]
	nodes     map[string]*node
	leases    map[string]*[outbox.Partitions]lease // by class
	delayed   table[int64, delayedRow]
	delays    int64 // numbers that were drawn for them
	promoted  map[string]time.Time
	schedules table[string, schedule.Entry]
	ticks     table[tickKey, schedule.Occurrence]
	sagaRows  table[sagaKey, conversation]
	journal   table[int64, saga.Entry]
	entries   int64  // numbers that were drawn for the journal
	onWait    func() // for tests: a transaction waits for another
}

// Outbox is the outbox of a Store; it implements outbox.Store.
type Outbox struct {
	st    *Store
	bells [3]outbox.Bell
}

// Inbox is the inbox of a Store; it implements inbox.Store.
type Inbox struct{ st *Store }

var (
	_ outbox.Store   = (*Outbox)(nil)
	_ inbox.Store    = (*Inbox)(nil)
	_ schedule.Store = (*Schedule)(nil)
	_ saga.Store     = (*Sagas)(nil)
)

// New makes an empty database.
func New(opts *Options) *Store {
	s := &Store{
		clock:     time.Now,
		open:      make(map[*Tx]struct{}),
		aborted:   make(map[uint64]struct{}),
		rows:      [2]rowTable{{cells: make(table[int64, row])}, {cells: make(table[int64, row])}},
		published: make(table[string, claim]),
		records:   make(table[recordKey, record]),
		lineOf:    make(table[lineKey, int64]),
		lines:     make(table[int64, line]),
		parked:    make(table[int64, parked]),
		members:   make(map[int64][]int64),
		locks:     make(table[string, struct{}]),
		nodes:     make(map[string]*node),
		leases:    make(map[string]*[outbox.Partitions]lease),
		delayed:   make(table[int64, delayedRow]),
		promoted:  make(map[string]time.Time),
		schedules: make(table[string, schedule.Entry]),
		ticks:     make(table[tickKey, schedule.Occurrence]),
		sagaRows:  make(table[sagaKey, conversation]),
		journal:   make(table[int64, saga.Entry]),
	}
	if opts != nil && opts.Clock != nil {
		s.clock = opts.Clock
	}
	s.outbox.st, s.inbox.st, s.later.st, s.sagas.st = s, s, s, s
	return s
}

// DB opens transactions of the store. What a handler of package inbox, or a function of outbox.Do, is given is a *Tx.
func (s *Store) DB() sqltx.DB[*Tx] {
	return sqltx.DB[*Tx]{Run: s.run, Tx: func(tx *Tx) sqltx.Tx { return sqltx.Native(tx) }}
}

// Outbox of the store. Always the same one.
func (s *Store) Outbox() *Outbox { return &s.outbox }

// Inbox of the store. Always the same one.
func (s *Store) Inbox() *Inbox { return &s.inbox }

// Writer implements outbox.Store.
func (o *Outbox) Writer() outbox.Writer { return writer{o.st} }

// Queue implements outbox.Store.
func (o *Outbox) Queue(t outbox.Table) outbox.Queue { return queue{o.st, t} }

// Leases implements outbox.Store.
func (o *Outbox) Leases() outbox.Leases { return leases{o.st} }

// Keeper implements outbox.Store.
func (o *Outbox) Keeper() outbox.Keeper { return keeper{o.st} }

// Bell implements outbox.Store. Every commit that wrote rows of t rings it.
func (o *Outbox) Bell(t outbox.Table) *outbox.Bell { return &o.bells[t] }

// locked runs fn as a short transaction of its own that waits for nobody.
func (s *Store) locked(ctx context.Context, what string, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %s: %w", what, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn()
}
