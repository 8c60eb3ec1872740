package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// RelayOptions tunes a Relay. The zero value is ready to use.
type RelayOptions struct {
	// Transports by name, for routes with Via. The transport of NewRelay is the one named "".
	Transports map[string]bus.Transport
	// Lease bounds how long others wait before they take over from a relay that died. Default 10 s, at least 200 ms. A
	// relay that was frozen for longer settles nothing more when it wakes up.
	Lease time.Duration
	// Batch is the most rows of one read and one send. Default 1,000.
	Batch int
	// MaxInFlight is the most rows handed to a broker and not settled. Default 8,000.
	MaxInFlight int
	// Poll is the longest time between two looks at the table when nothing tells of new rows. Default 1 s.
	Poll time.Duration
	// Linger is the least time between two reads that find little, so that a stream of small transactions is read in
	// batches. Default 1 ms; negative is none. A quiet outbox is read at once.
	Linger time.Duration
	// Sweep is the time between two reads from the start, which find rows below the cursor, for example after a
	// sequence was reset. Default 1 min.
	Sweep time.Duration
	// DrainTimeout bounds how long Run waits for confirms after its context ended. Default 10 s.
	DrainTimeout time.Duration
	// OnPoison says what becomes of a row that the broker does not take (unroutable, too large, refused, unreadable).
	// Default BlockKey.
	OnPoison Poison
	// Retry is the delay before attempt n+1 of a row that the broker does not take. Default 1 s, doubled up to 1 min.
	Retry func(attempt int) time.Duration
	// Hooks observe.
	Hooks Hooks
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// Poison says what becomes of a row that the broker does not take.
type Poison int

const (
	// BlockKey keeps the row and what follows of its key in the outbox, tries again with growing delays, and shows it in
	// Blocked. All other keys go on.
	BlockKey Poison = iota
	// DeadLetter tries once more and then parks the row as a dead letter, beside those of consumers, and goes on with its key.
	// Package deadletter lists it, and publishes it again.
	DeadLetter
)

// Relay moves committed rows to brokers, in the order of their keys. Any number of processes may run one each on the
// same tables: they divide the partitions, and each takes over from those that die.
type Relay struct {
	store Store
	opts  RelayOptions
	pumps []*pump
	ran   atomic.Bool
}

// NewRelay makes the relay of a database's outbox to a transport. It reports every problem at once.
func NewRelay(st Store, t bus.Transport, opts *RelayOptions) (*Relay, error) {
	r := &Relay{store: st}
	if opts != nil {
		r.opts = *opts
	}
	o := &r.opts
	transports := maps.Clone(o.Transports)
	if transports == nil {
		transports = map[string]bus.Transport{}
	}
	var errs []error
	if t != nil {
		if transports[""] != nil {
			errs = append(errs, errors.New(`outbox: relay: there are two transports called ""; leave one of NewRelay's own and RelayOptions.Transports[""] out`))
		}
		transports[""] = t
	}
	if st == nil {
		errs = append(errs, errors.New("outbox: relay: the store is nil; pass store.Postgres(…).Outbox() or that of another database"))
	}
	if len(transports) == 0 {
		errs = append(errs, errors.New("outbox: relay: there is no transport; pass one, or RelayOptions.Transports"))
	}
	errs = append(errs, o.defaults("relay"))
	for _, class := range slices.Sorted(maps.Keys(transports)) {
		errs = append(errs, checkClass(class))
		t := transports[class]
		if t == nil {
			errs = append(errs, fmt.Errorf("outbox: relay: transport %q is nil", class))
			continue
		}
		if caps := t.Capabilities(); !caps.Confirms {
			errs = append(errs, fmt.Errorf("outbox: relay: transport %q (%s) does not confirm what it takes, so rows could be lost; use one that does", class, caps.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, class := range slices.Sorted(maps.Keys(transports)) {
		r.pumps = append(r.pumps, newPump(st, class, transports[class], o))
	}
	return r, nil
}

// defaults fills o in and names everything that is wrong with it; what is whose options they are.
func (o *RelayOptions) defaults(what string) error {
	var errs []error
	duration := func(name string, d *time.Duration, def, least time.Duration) {
		if *d == 0 {
			*d = def
		}
		if *d < least {
			errs = append(errs, fmt.Errorf("outbox: %s: %s is %v; give at least %v, or 0 for %v", what, name, *d, least, def))
		}
	}
	count := func(name string, n *int, def, most int) {
		if *n == 0 {
			*n = def
		}
		if *n < 1 || *n > most {
			errs = append(errs, fmt.Errorf("outbox: %s: %s is %d; give 1 to %d, or 0 for %d", what, name, *n, most, def))
		}
	}
	duration("Lease", &o.Lease, 10*time.Second, 200*time.Millisecond)
	duration("Poll", &o.Poll, time.Second, time.Millisecond)
	duration("Sweep", &o.Sweep, time.Minute, 10*time.Millisecond)
	duration("DrainTimeout", &o.DrainTimeout, 10*time.Second, time.Millisecond)
	if o.Linger == 0 {
		o.Linger = time.Millisecond
	}
	count("Batch", &o.Batch, 1000, 10_000)
	count("MaxInFlight", &o.MaxInFlight, 8000, 1_000_000)
	if o.MaxInFlight < o.Batch {
		o.Batch = o.MaxInFlight
	}
	if o.Retry == nil {
		o.Retry = func(attempt int) time.Duration { return min(time.Second<<min(attempt-1, 6), time.Minute) }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return errors.Join(errs...)
}

// String names the relay in errors of sixfold.Run.
func (r *Relay) String() string { return "outbox: relay" }

// Run relays until ctx ends, then stops reading, waits within the drain limit for what is in flight, settles it and
// frees its partitions: after nil nothing that it sent will be sent again. A *sixfold.DrainError says how many messages
// are in doubt, and why: the limit passed, an outage took the confirms, or another relay took over (ErrFenced). An outage
// of broker or database ends nothing; what a retry cannot mend (refused credentials, a schema that does not fit) does.
// Run may be called once.
func (r *Relay) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return errors.New("outbox: relay: Run was called twice; make a new Relay")
	}
	away := backoff{log: r.opts.Logger, what: "outbox relay cannot look at its tables"}
	for {
		err := check(ctx, r.store.Keeper(), r.opts.Logger)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			away.over()
			break
		}
		if !errors.Is(err, bus.ErrUnavailable) {
			return fmt.Errorf("outbox: relay: %w", err)
		}
		away.wait(ctx, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(r.pumps))
	var wg sync.WaitGroup
	for i, p := range r.pumps {
		wg.Go(func() {
			defer stop() // one that cannot go on ends all: a relay that silently serves some classes only helps nobody
			errs[i] = p.run(ctx)
		})
	}
	wg.Go(func() { purge(ctx, r.store.Keeper(), r.opts.Logger) })
	wg.Wait()
	return joinDrains(errs, r.opts.DrainTimeout)
}

// check refuses tables that cannot be worked on, and logs what is dangerous about them.
func check(ctx context.Context, k Keeper, log *slog.Logger) error {
	warnings, err := k.Check(ctx)
	for _, w := range warnings {
		log.Warn("outbox", "finding", w)
	}
	return err
}

// joinDrains makes one *sixfold.DrainError of several, so that the number in doubt is the relay's, and keeps all else. If the limit passed for
// one of them, it passed.
func joinDrains(errs []error, limit time.Duration) error {
	all := &sixfold.DrainError{What: "relay", After: limit}
	passed := false
	var rest []error
	var add func(error)
	add = func(err error) {
		var d *sixfold.DrainError
		if !errors.As(err, &d) {
			rest = append(rest, err)
		} else if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				add(err)
			}
		} else {
			all.InDoubt += d.InDoubt
			switch passed = passed || d.Cause == nil; {
			case passed:
				all.Cause = nil
			case all.Cause == nil:
				all.Cause = d.Cause
			case all.Cause.Error() != d.Cause.Error():
				all.Cause = fmt.Errorf("%w; %w", all.Cause, d.Cause)
			}
		}
	}
	for _, err := range errs {
		add(err)
	}
	if all.InDoubt > 0 {
		rest = append(rest, all)
	}
	return errors.Join(rest...)
}

// purgeEvery is how often a relay looks for rows that are past their retention.
const purgeEvery = time.Minute

// purge removes old rows in small steps until ctx ends.
func purge(ctx context.Context, k Keeper, log *slog.Logger) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	const step = 1000
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for {
			n, err := k.Purge(ctx, step)
			if err != nil && ctx.Err() == nil {
				log.Warn("outbox purge failed; it is tried again in a minute", "err", err)
			}
			if err != nil || n < step {
				break
			}
		}
	}
}
