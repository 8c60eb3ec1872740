package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// Store is the database as this package needs it; store.Store.Broker makes one. Errors wrap bus.ErrUnavailable where the
// database cannot be reached and bus.ErrRefused where it does not let us.
type Store interface {
	// Send writes a row for each row given and group of its topic, in one transaction; rows of a topic become visible in the
	// order of their numbers. Topics that nobody wants come back, and then nothing was written.
	Send(ctx context.Context, rows []outbox.Row) (missing []string, err error)
	// Attach enters a group of a topic, or finds it, and answers its rows as a class of a store. Without a group it is a copy
	// for process, which goes when that has been dead for a while. fromKept: a new group begins with what is kept.
	Attach(ctx context.Context, topic, group, process string, fromKept bool) (st outbox.Store, class string, err error)
	// Detach removes a group, or the copy of process, with what waits for it, and reports whether it was there.
	Detach(ctx context.Context, topic, group, process string) (bool, error)
	// Keep keeps what is sent to topic from now on for so long, for groups that come later; 0: no longer.
	Keep(ctx context.Context, topic string, keep time.Duration) error
	// Check says what is wrong with the tables or the rights, and warns of what loses messages.
	Check(ctx context.Context) (warnings []string, err error)
}

// Options of a Transport. The zero value, and nil, are right for most.
type Options struct {
	// Groups are made, with their topics, when the first sender is opened, so that what is sent before their consumers come
	// waits for them. Without it, what is sent to a topic before anybody has subscribed to it is unroutable.
	Groups []bus.Subscription
	// FromKept lets a new group begin with all that its topics keep. False: with what is sent from now on.
	FromKept bool
	// Priority of topics. Of the topics of one subscription those with more come first: while one of them has messages
	// waiting, none is taken from a topic with less. What is with the handlers already stays there, and messages of one
	// topic keep their order. Topics that are not named have 0.
	Priority map[string]int
	// Lease bounds how long others wait before they take over from a process that died. Default 10 s, at least 200 ms.
	Lease time.Duration
	// Batch is the most messages of one read. Default 1,000, at most 10,000.
	Batch int
	// Poll is the longest time between two looks at a topic when nothing tells of new messages, for each topic of the
	// subscription: one with three topics looks at each every three. Default 1 s.
	Poll time.Duration
	// Sweep is the time between two reads from the start. Default 1 min.
	Sweep time.Duration
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// MaxBody bounds body and headers of a message together, in bytes, where the database states no lower limit.
const MaxBody = 16 << 20

// Transport is a database as the broker. It is safe for concurrent use and owns nothing but what Open and Subscribe
// answered: the database stays the caller's.
type Transport struct {
	store   Store
	opts    Options
	maxBody int

	mu     sync.Mutex
	closed bool
	open   map[closer]struct{}
}

// closer is a sender or a source.
type closer interface{ Close(context.Context) error }

// New makes the Transport of a database. It reports every problem at once, and asks nothing of the database.
func New(st Store, opts *Options) (*Transport, error) {
	t := &Transport{store: st, maxBody: MaxBody, open: make(map[closer]struct{})}
	if opts != nil {
		t.opts = *opts
		t.opts.Priority, t.opts.Groups = maps.Clone(opts.Priority), slices.Clone(opts.Groups)
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("sqlqueue: "+format+": %w", append(args, sixfold.ErrInvalid)...))
	}
	if st == nil {
		bad("the store is nil; pass store.Postgres(…).Broker() or that of another database")
	} else if e, ok := st.(interface{ Err() error }); ok && e.Err() != nil {
		errs = append(errs, fmt.Errorf("sqlqueue: %w", e.Err()))
	} else if lower, ok := st.(interface{ MaxBody() int }); ok && lower.MaxBody() > 0 {
		t.maxBody = min(t.maxBody, lower.MaxBody())
	}
	for _, d := range []struct {
		name  string
		v     *time.Duration
		zero  time.Duration
		least time.Duration
	}{{"Lease", &t.opts.Lease, 10 * time.Second, 200 * time.Millisecond}, {"Poll", &t.opts.Poll, time.Second, time.Millisecond},
		{"Sweep", &t.opts.Sweep, time.Minute, 10 * time.Millisecond}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
		if *d.v < d.least {
			bad("option %s is %v; give at least %v, or 0 for %v", d.name, *d.v, d.least, d.zero)
		}
	}
	if t.opts.Batch == 0 {
		t.opts.Batch = 1000
	}
	if t.opts.Batch < 1 || t.opts.Batch > 10_000 {
		bad("option Batch is %d; give 1 to 10,000, or 0 for 1,000", t.opts.Batch)
	}
	for _, topic := range slices.Sorted(maps.Keys(t.opts.Priority)) {
		if err := sixfold.CheckTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("sqlqueue: option Priority: %w", err))
		}
	}
	for i, g := range t.opts.Groups {
		if err := checkSubscription(g); err != nil {
			errs = append(errs, fmt.Errorf("sqlqueue: option Groups: number %d: %w", i+1, err))
		}
		if g.Group == "" {
			bad("option Groups: number %d has no group; name the consumer", i+1)
		}
	}
	if t.opts.Logger == nil {
		t.opts.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Capabilities implements bus.Transport.
func (t *Transport) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "sqlqueue", OrderPerKey: true, PrefixPerKey: true, Confirms: true, Copies: true, MaxBody: t.maxBody}
}

// Open implements bus.Transport. It asks the database once whether it may be used, and makes Options.Groups.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	if err := t.usable(ctx); err != nil {
		return nil, fmt.Errorf("sqlqueue: open: %w", err)
	}
	if err := t.Declare(ctx, t.opts.Groups...); err != nil {
		return nil, fmt.Errorf("sqlqueue: open: %w", err)
	}
	s := newSender(t)
	if err := t.add(s); err != nil {
		return nil, fmt.Errorf("sqlqueue: open: %w", err)
	}
	return s, nil
}

// Declare makes groups with their topics, as their first subscriptions would.
func (t *Transport) Declare(ctx context.Context, groups ...bus.Subscription) error {
	for _, g := range groups {
		if err := checkSubscription(g); err != nil {
			return err
		}
		if g.Group == "" {
			return fmt.Errorf("sqlqueue: declare: %w: a group without a name is a copy for one process, which subscribing makes", sixfold.ErrInvalid)
		}
		for _, topic := range g.Topics {
			if _, _, err := t.store.Attach(ctx, topic, g.Group, "", t.opts.FromKept); err != nil {
				return fmt.Errorf("sqlqueue: declare group %.64q of %.64q: %w", g.Group, topic, err)
			}
		}
	}
	return nil
}

// usable says why the database cannot be used.
func (t *Transport) usable(ctx context.Context) error {
	if t.isClosed() {
		return bus.ErrClosed
	}
	warnings, err := t.store.Check(ctx)
	for _, w := range warnings {
		t.opts.Logger.Warn("sqlqueue", "finding", w)
	}
	return err
}

// Subscribe implements bus.Transport. A group is made by its first subscription and stays, with what is sent to it, until
// Forget removes it; it also makes a place for the dead letters of consumers that have no database ("<topic>.dead", kept
// for 30 days unless Keep says otherwise).
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	if err := checkSubscription(sub); err != nil {
		return nil, err
	}
	if t.isClosed() {
		return nil, fmt.Errorf("sqlqueue: subscribe: %w", bus.ErrClosed)
	}
	s := &source{t: t, topics: sub.Topics, group: sub.Group, process: sixfold.NewID()}
	s.stop, s.end = context.WithCancel(context.WithoutCancel(ctx))
	var feeds []outbox.Feed
	for _, topic := range sub.Topics {
		st, class, err := t.store.Attach(ctx, topic, sub.Group, s.process, t.opts.FromKept)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sqlqueue: subscribe to %.64q: %w", topic, err), s.forget(ctx))
		}
		feeds = append(feeds, outbox.Feed{Store: st, Class: class, Topic: topic, Rank: t.opts.Priority[topic], InOrder: true})
	}
	var err error
	s.inner, err = outbox.OpenFeeds(ctx, feeds, sub.MaxInFlight, &outbox.LocalOptions{Lease: t.opts.Lease, Batch: t.opts.Batch, Poll: t.opts.Poll, Sweep: t.opts.Sweep, Logger: t.opts.Logger})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlqueue: subscribe: %w", err), s.forget(ctx))
	}
	if err := t.add(s); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlqueue: subscribe: %w", err), s.Close(ctx))
	}
	return s, nil
}

// checkSubscription says everything that is wrong with a subscription.
func checkSubscription(s bus.Subscription) error {
	var errs []error
	if len(s.Topics) == 0 {
		errs = append(errs, fmt.Errorf("sqlqueue: subscribe: %w: there is no topic; name at least one", sixfold.ErrInvalid))
	}
	for i, topic := range s.Topics {
		if err := sixfold.CheckTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("sqlqueue: subscribe: %w", err))
		}
		if slices.Contains(s.Topics[:i], topic) {
			errs = append(errs, fmt.Errorf("sqlqueue: subscribe: %w: topic %.64q is named twice; name it once", sixfold.ErrInvalid, topic))
		}
	}
	return errors.Join(append(errs, checkText("group", s.Group))...)
}

// checkText refuses what the database does not take as text.
func checkText(what, s string) error {
	switch {
	case len(s) > sixfold.MaxName:
		return fmt.Errorf("sqlqueue: %s %.64q: %w: it has %d bytes, the limit is %d; shorten it", what, s, sixfold.ErrInvalid, len(s), sixfold.MaxName)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return fmt.Errorf("sqlqueue: %s %.64q: %w: it is not valid UTF-8, or has a NUL; use another", what, s, sixfold.ErrInvalid)
	}
	return nil
}

// Keep keeps what is sent to a topic from now on for so long, whoever has handled it, for groups that subscribe later with
// Options.FromKept; 0: no longer. A topic that keeps has a place for messages although nobody has subscribed.
func (t *Transport) Keep(ctx context.Context, topic string, keep time.Duration) error {
	if err := sixfold.CheckTopic(topic); err != nil {
		return fmt.Errorf("sqlqueue: keep: %w", err)
	}
	if err := t.store.Keep(ctx, topic, keep); err != nil {
		return fmt.Errorf("sqlqueue: keep: %w", err)
	}
	return nil
}

// Forget removes a group of a topic, for good, with everything that waits for it: messages pile up for a group that nobody
// consumes any more. Nobody may be subscribed. It reports whether there was one.
func (t *Transport) Forget(ctx context.Context, topic, group string) (bool, error) {
	if err := errors.Join(sixfold.CheckTopic(topic), checkText("group", group)); err != nil || group == "" {
		return false, fmt.Errorf("sqlqueue: forget group %.64q of %.64q: name both: %w", group, topic, errors.Join(err, sixfold.ErrInvalid))
	}
	found, err := t.store.Detach(ctx, topic, group, "")
	if err != nil {
		return false, fmt.Errorf("sqlqueue: forget: %w", err)
	}
	return found, nil
}

// Close implements bus.Transport.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	all := slices.Collect(maps.Keys(t.open))
	t.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close(ctx))
	}
	return errors.Join(errs...)
}

func (t *Transport) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

func (t *Transport) add(c closer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return bus.ErrClosed
	}
	t.open[c] = struct{}{}
	return nil
}

func (t *Transport) drop(c closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}
