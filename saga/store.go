package saga

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Store is a database's part of sagas; store.Store.Sagas makes one. Times are by the database's clock.
type Store interface {
	// Instances are changed in the transactions of handlers.
	Instances() InstanceStore
	// Records are for people, and for what looks after the tables.
	Records() RecordStore
	// Passing reports whether err is the infrastructure's own, so that the same may succeed in a new transaction.
	Passing(err error) bool
}

// InstanceStore changes instances in the caller's transaction.
type InstanceStore interface {
	// Load locks the last instance of a saga and key until tx ends and answers it; nil: there is none. If fresh is not empty it
	// enters one then, with fresh as its id, generation 1, version 0 and Running, and answers that. Of two that do so at once, one waits for the
	// other and sees what it has entered, or has ErrConflict.
	Load(ctx context.Context, tx sqltx.Tx, saga, key, fresh string) (*Instance, error)
	// Succeed enters an instance with that id after one that has ended: the next generation, as Load enters the first. ErrConflict:
	// somebody else did.
	Succeed(ctx context.Context, tx sqltx.Tx, ended *Instance, fresh string) (*Instance, error)
	// Save writes an instance that Load or Succeed answered, whose Version grows by one, and e into its journal. The times are those
	// of the database. ErrConflict: it is not of that version any more.
	Save(ctx context.Context, tx sqltx.Tx, in *Instance, e *Entry) error
	// Note writes e into the journal only.
	Note(ctx context.Context, tx sqltx.Tx, e *Entry) error
	// CancelTimers removes the messages of timers that still wait for their time. Others are none of its business.
	CancelTimers(ctx context.Context, tx sqltx.Tx, ids []string) error
}

// RecordStore looks at instances, each call by itself.
type RecordStore interface {
	// List answers instances that match f, without State and Timers unless f.Full, by saga, key and generation, from the page's
	// After on.
	List(ctx context.Context, f Filter, p Page) ([]Instance, error)
	// History answers entries of the journal of an instance behind number after, oldest first, at most limit.
	History(ctx context.Context, id string, after int64, limit int) ([]Entry, error)
	// Counts counts the instances of a saga by status and step; empty: of all sagas.
	Counts(ctx context.Context, saga string) ([]Count, error)
	// Schemas counts the instances that have not ended, or are stuck, by saga and version of their state.
	Schemas(ctx context.Context) ([]SchemaCount, error)
	// Purge removes at most limit instances that ended longer than keep ago, stuck ones excepted, with their journals. What somebody
	// else holds is left for later.
	Purge(ctx context.Context, keep time.Duration, limit int) (int, error)
}

// Filter chooses instances by all fields that are set.
type Filter struct {
	Saga, Key, ID, Step string
	// Status; 0: any. Live: that have not ended.
	Status Status
	Live   bool
	// Idle: that were not changed for so long.
	Idle time.Duration
	// Full answers State and Timers too.
	Full bool
}

// Page is a part of a list: Limit of them, behind that instance.
type Page struct {
	AfterSaga, AfterKey string
	AfterGeneration     int
	Limit               int // 1 to 10,000; 0: 100
}

// Count counts instances of a saga of one status whose last step was one message.
type Count struct {
	Saga   string
	Status Status
	Step   string
	N      int64
}

// SchemaCount counts instances of a saga whose state has one version.
type SchemaCount struct {
	Saga   string
	Schema int
	N      int64
}
