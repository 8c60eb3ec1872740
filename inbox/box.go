package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Options of a Box. The zero value is ready to use.
type Options struct {
	// Retention is how long "handled" is remembered, by the database's clock: a copy that comes later takes effect again.
	// Default 7 days.
	Retention time.Duration
	// Redelivery is the longest time after which the broker, or a retry, may still bring a copy. Retention may not be
	// less. Default 1 hour.
	Redelivery time.Duration
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// A Box is an inbox: the one object that knows the database's library, its dialect and its tables. On makes routes of it,
// and a bus.Consumer takes it in its options, so that attempts survive the process. Safe for concurrent use.
type Box[X any] struct {
	db      sqltx.DB[X]
	store   Store
	parking Parking // the store's
	opts    Options
	turn    *bus.Turn

	mu     sync.Mutex
	chores []func(context.Context) error // that Maintain does too

	parkedAt sync.Map // by key; of planted.KeyCheckedBefore
}

var _ bus.Inbox = (*Box[int])(nil)

// ErrIDReuse says that the id of a message was handled before with another payload.
var ErrIDReuse = fmt.Errorf("inbox: %w; the producer must give each message an id of its own", bus.ErrIDReuse)

// ErrAgain says that a handler lost against another transaction, for example by a version that it checks itself: it runs
// again in a fresh one, and no attempt is counted. Wrap it.
var ErrAgain = errors.New("the work is done again in a fresh transaction")

// New makes the Box of a database. It reports every problem at once.
func New[X any](db sqltx.DB[X], st Store, opts *Options) (*Box[X], error) {
	b := &Box[X]{db: db, store: st, turn: bus.NewTurn()}
	if opts != nil {
		b.opts = *opts
	}
	o := &b.opts
	if o.Retention == 0 {
		o.Retention = 7 * 24 * time.Hour
	}
	if o.Redelivery == 0 {
		o.Redelivery = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	errs := []error{db.Err()}
	if st != nil {
		b.parking = st.Parking()
	} else {
		errs = append(errs, errors.New("inbox: the store is nil; pass store.Postgres(…).Inbox() or that of another database"))
	}
	if o.Redelivery < 0 || o.Retention < o.Redelivery {
		errs = append(errs, fmt.Errorf("inbox: Retention is %v and Redelivery %v: a copy that comes when the first is forgotten takes effect twice; let Retention be the longer one",
			o.Retention, o.Redelivery))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b, nil
}

// Tx sees a handler's transaction as packages like outbox take it.
func (b *Box[X]) Tx(x X) sqltx.Tx { return b.db.Tx(x) }

// Suspect implements bus.Inbox.
func (b *Box[X]) Suspect(ctx context.Context, consumer string, ds []*bus.Delivery) ([]int, error) {
	recs, places := records(ds)
	if planted.Is(planted.AttemptsInMemory) {
		return slices.Repeat([]int{1}, len(ds)), nil
	}
	got, err := b.store.Suspect(ctx, consumer, recs)
	if err != nil {
		return nil, fmt.Errorf("inbox: count attempts: %w: %w", bus.ErrUnavailable, err)
	}
	attempts := make([]int, len(ds))
	for i, p := range places {
		attempts[i] = got[p]
	}
	return attempts, nil
}

// Turn implements bus.Inbox: the consumers of a Box run one suspect at a time.
func (b *Box[X]) Turn() *bus.Turn { return b.turn }

// Parking implements bus.Inbox.
func (b *Box[X]) Parking() bus.Parking {
	if b.parking == nil {
		return nil
	}
	return &lot[X]{b}
}

// Forget implements bus.Inbox.
func (b *Box[X]) Forget(ctx context.Context, consumer string, ds []*bus.Delivery) error {
	recs, _ := records(ds)
	if err := b.store.Forget(ctx, consumer, recs); err != nil {
		return fmt.Errorf("inbox: forget attempts: %w: %w", bus.ErrUnavailable, err)
	}
	return nil
}

// older is how records look to planted.KeyCheckedBefore: a snapshot does not know that a key was parked just now.
func (b *Box[X]) older(recs []Record) []Record {
	recs = slices.Clone(recs)
	for i := range recs {
		if at, ok := b.parkedAt.Load(recs[i].Key); ok && time.Since(at.(time.Time)) < time.Second {
			recs[i].Key = ""
		}
	}
	return recs
}

const (
	pruneEvery = time.Minute
	pruneStep  = 1000
)

// Chore has Maintain do work once a minute as well, for packages that keep rows of their own beside the inbox. It is called
// before the consumers of the Box run. What work answers is logged, and it is done again a minute later.
func (b *Box[X]) Chore(work func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chores = append(b.chores, work)
}

// Maintain implements bus.Inbox: once a minute it removes records past their retention, in small steps, and does what Chore was
// given.
func (b *Box[X]) Maintain(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for n := pruneStep; n == pruneStep && ctx.Err() == nil; {
			var err error
			if n, err = b.store.Prune(ctx, b.opts.Retention, pruneStep); err != nil && ctx.Err() == nil {
				b.opts.Logger.Warn("inbox could not remove old records; it tries again in a minute", "err", err)
				break
			}
		}
		b.mu.Lock()
		chores := slices.Clone(b.chores)
		b.mu.Unlock()
		for _, work := range chores {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				b.opts.Logger.Warn("inbox could not look after its tables; it tries again in a minute", "err", err)
			}
		}
	}
}
