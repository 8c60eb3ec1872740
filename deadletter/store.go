package deadletter

import (
	"context"
	"time"
)

// Store keeps parked messages; store.Store.DeadLetters makes one.
type Store interface {
	Reader
	Writer
}

// Reader looks at parked messages.
type Reader interface {
	// List answers the messages that match f, by number.
	List(ctx context.Context, f Filter, p Page) ([]Letter, error)
	// Show answers all about one message; ErrNotFound.
	Show(ctx context.Context, n int64) (*Detail, error)
	// Summary counts what matches f.
	Summary(ctx context.Context, f Filter) (Summary, error)
	// Audit answers entries of the audit, oldest first.
	Audit(ctx context.Context, t Trail) ([]Change, error)
	// Fate says what became of a message that was sent again.
	Fate(ctx context.Context, m Moved) (Fate, error)
}

// Writer changes parked messages. Each call is a transaction of its own and puts itself down in the audit.
type Writer interface {
	// Begin puts down that a run begins, with the highest number of now, or answers the run of that ID as it began.
	Begin(ctx context.Context, r Run) (Run, error)
	// Redrive sends again some of the dead letters that r chooses with numbers above after: up to limit, and with them, when
	// limit is more than 1, the later ones of their keys. What r sent again before is left out.
	Redrive(ctx context.Context, r Run, after int64, limit int) (Step, error)
	// Discard removes up to limit of the messages that r chooses with numbers above after.
	Discard(ctx context.Context, r Run, after int64, limit int) (Step, error)
	// Release makes lines due now in which messages wait that r chooses: up to limit, with numbers above after.
	Release(ctx context.Context, r Run, after int64, limit int) (Step, error)
	// Edit changes body and headers of a message; ErrNotFound, ErrClaimed.
	Edit(ctx context.Context, n int64, e Edit) error
}

// Run is one operation on many messages.
type Run struct {
	ID         string        `json:"id"`
	Action     string        `json:"action"` // redrive, discard or release
	Filter     Filter        `json:"filter"`
	Who        string        `json:"who"`
	Reason     string        `json:"reason,omitempty"`
	Canary     bool          `json:"canary,omitempty"`
	Rate       float64       `json:"rate,omitempty"`
	CanaryWait time.Duration `json:"canary_wait,omitempty"`
	// Top is the highest number that there was when it began, and AsOf the database's clock then, from which ages count, in
	// microseconds since 1970.
	Top  int64 `json:"top"`
	AsOf int64 `json:"as_of"`
	// Resumed: it was begun before.
	Resumed bool `json:"-"`
}

// Step is what one call did.
type Step struct {
	Done    []Moved
	Skipped []Skip
	// Next is the number after which to go on; 0: nothing is left.
	Next int64
}

// Moved is a message that was sent again, discarded or released.
type Moved struct {
	N            int64
	Relay        bool
	Consumer, ID string
	Key          string
	// Seq of its row in the outbox; 0: not known, or there is none.
	Seq int64
}

// Skip is a message that was left as it is.
type Skip struct {
	N   int64
	Why string
}

// Trail chooses entries of the audit, by all fields that are set; at least one is.
type Trail struct {
	Run     string
	Message string // its id
	Limit   int    // 0: 1,000
}

// Fate of a message that was sent again.
type Fate int

const (
	// StillWaiting: neither is known yet.
	StillWaiting Fate = iota
	// Handled: its effect is committed; of a relay's, the broker took it.
	Handled
	// DeadAgain: it is a dead letter once more.
	DeadAgain
	// Discarded: somebody removed it.
	Discarded
)

func (f Fate) String() string {
	return [...]string{"still waiting", "handled", "dead again", "discarded"}[f]
}

// Edit of a message. Fields that are nil or empty leave things as they are.
type Edit struct {
	Who    string // required
	Reason string
	// Body replaces the body when SetBody is true; nil is no body.
	Body    []byte
	SetBody bool
	// Headers replace the user's headers when they are not nil; an empty map removes all.
	Headers map[string]string
	// Type and ContentType replace these attributes. A message that could not be read needs both, and a body.
	Type, ContentType string
}
