package explain

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
)

// Store is what is asked; store.Store.Explain makes one. An id is any string.
type Store interface {
	// Pending answers the rows with the id in outbox and local. Unless exact it looks where the time in the id leads.
	Pending(ctx context.Context, id string, exact bool) ([]Pending, error)
	// Delivered answers what is kept of delivered rows with the id, as far as it looks.
	Delivered(ctx context.Context, id string, exact bool) ([]Delivered, error)
	// Parked answers the parked messages with the id.
	Parked(ctx context.Context, id string) ([]deadletter.Detail, error)
	// Handled answers what the inboxes of all consumers know of the id, if it came from one of sources or from one that was seen
	// lately, and the sources that were tried.
	Handled(ctx context.Context, id string, sources []string) ([]Record, []string, error)
	// Audit answers what people did to messages with the id.
	Audit(ctx context.Context, id string) ([]deadletter.Change, error)
}

// Pending is a row that waits to be sent, or for a local consumer.
type Pending struct {
	Local        bool
	Seq          int64
	Class, Topic string
	Key, Type    string
	Source       string
	Partition    int
	Attempts     int
	Age          time.Duration
	Lease        Lease
	// Ahead is how many of the Looked rows directly before it are of the same class and partition, and Behind the seq of
	// the first one of the same key among these; 0: none.
	Ahead, Looked int
	Behind        int64
	// Writers are open transactions that have written to the table, oldest first: each may hold a row or a gap before it.
	Writers []Writer
}

// Lease of a partition.
type Lease struct {
	Known bool   // there is a row for it
	Node  string // empty: nobody has it
	Alive bool
	// Left until the node is taken for dead; negative: since then.
	Left  time.Duration
	Epoch int64
	// Nodes of the class that are alive.
	Nodes int
}

// Writer is an open transaction of a database session.
type Writer struct {
	PID         int
	User        string
	Application string
	State       string // as pg_stat_activity has it; empty: this role may not see it
	Open        time.Duration
	// Waits says that it waits for a lock, and BlockedBy for whose.
	Waits     bool
	BlockedBy []int64
}

// Delivered is a row that was settled and is kept.
type Delivered struct {
	Local        bool
	Seq          int64
	Class, Topic string
	Source       string
	At           time.Time
	Age          time.Duration
}

// Record in the inbox of a consumer. State is "suspect", "handled", "parked" or "dead".
type Record struct {
	Consumer, Source, State string
	Attempts                int
	At                      time.Time
	Age                     time.Duration
}
