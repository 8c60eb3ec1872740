package schedule

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Options of a Scheduler. The zero value is ready to use.
type Options struct {
	// Owner is for whom Reconcile speaks: it ends what an earlier Reconcile of this owner declared and this one does not.
	// Default "default".
	Owner string
	// Poll is the longest time between two looks at the tables. What this process schedules is known at once; a poll finds what
	// others do. Default 10 s.
	Poll time.Duration
	// Batch is the most messages, and schedules, that one transaction moves. Default 1,000, at most 10,000.
	Batch int
	// History is how long occurrences are kept. Default 30 days, at least an hour. That a delayed message was sent is known for as
	// long, and for Remembered at most.
	History time.Duration
	// OnError hears of everything that went wrong and will be tried again. It must be quick. Nil: the Logger does.
	OnError func(error)
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// A Scheduler schedules messages in the caller's transactions, and its Run sends them when they are due. Any number of
// processes may run one each on the same tables. It is safe for concurrent use.
type Scheduler struct {
	store Store
	box   *outbox.Outbox
	opts  Options
	ran   atomic.Bool

	mu     sync.Mutex
	health Health
}

// Health is what a Scheduler says about itself.
type Health struct {
	// Running: Run works.
	Running bool
	// Promoted and Advanced are the messages that were moved, and the schedules that were advanced, since Run began.
	Promoted, Advanced int64
	// Down is why the database could not be used the last time; nil: it could.
	Down error
}

// New makes the Scheduler of a database. Messages go where box would publish them; both are of the same database. It reports
// every problem at once.
func New(st Store, box *outbox.Outbox, opts *Options) (*Scheduler, error) {
	s := &Scheduler{store: st, box: box}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	var errs []error
	if st == nil {
		errs = append(errs, errors.New("schedule: the store is nil; pass store.Postgres(…).Schedule() or that of another database"))
	}
	if box == nil {
		errs = append(errs, errors.New("schedule: the outbox is nil; pass the one by which the messages would be published"))
	}
	if o.Owner == "" {
		o.Owner = "default"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	duration := func(name string, d *time.Duration, def, least time.Duration) {
		if *d == 0 {
			*d = def
		}
		if *d < least {
			errs = append(errs, fmt.Errorf("schedule: option %s is %v; give at least %v, or 0 for %v", name, *d, least, def))
		}
	}
	duration("Poll", &o.Poll, 10*time.Second, time.Millisecond)
	duration("History", &o.History, 30*24*time.Hour, time.Hour)
	if o.Batch == 0 {
		o.Batch = 1000
	}
	if o.Batch < 1 || o.Batch > 10_000 {
		errs = append(errs, fmt.Errorf("schedule: option Batch is %d; give 1 to 10000, or 0 for 1000", o.Batch))
	}
	if len(o.Owner) > sixfold.MaxName {
		errs = append(errs, fmt.Errorf("schedule: option Owner has %d bytes, the limit is %d; shorten it", len(o.Owner), sixfold.MaxName))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Health answers at once.
func (s *Scheduler) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

func (s *Scheduler) note(fn func(h *Health)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.health)
}

// changed wakes the schedulers of this process. The transaction has not committed, as far as is known here.
func (s *Scheduler) changed() { s.box.Store().Bell(outbox.Later).Ring(outbox.Soon) }

func noTx(tx sqltx.Tx, what string) error {
	if tx.IsZero() {
		return fmt.Errorf("schedule: %s: %w", what, sqltx.ErrNoTx)
	}
	return nil
}
