package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
)

// A Consumer receives the messages of one subscription and runs their handlers: those of one key one after the
// other, in their order, many keys at once; settled only after the handler. It retries what fails, holding back
// nothing but the message's own key. With an Inbox what failed is parked in its database, with its key, until it is handled
// or a dead letter; without one it waits in memory, and after the last attempt goes to the topic "<topic>.dead", with the
// reason in headers. It is safe for concurrent use.
type Consumer struct {
	sub  Subscriber
	s    Subscription
	caps Capabilities
	o    Options
	dead Opener
	// parking is the database that failures are kept in; nil: memory and dead topics.
	parking Parking
	routes  map[string]*route
	rest    *route // takes what no other route names; or nil
	log     *slog.Logger

	started atomic.Bool
	live    atomic.Pointer[run]

	mu      sync.Mutex
	status  status
	resumed chan struct{} // closed by Resume; nil while not paused
}

// route is a sixfold.Route made ready.
type route struct {
	name   string
	handle sixfold.Handler
	batch  sixfold.BatchHandler
	size   int
	gate   *gate // bounds how many run at once; or nil
	retry  sixfold.Retry
	plain  bool // its handler shares no transaction with the inbox
}

// NewConsumer makes a Consumer of the messages of s, which routes handle; t is a Transport, or a Subscriber alone
// together with Options.DeadLetters. Errors name everything that is wrong at once; nothing is connected before Run.
func NewConsumer(t Subscriber, s Subscription, opts *Options, routes ...sixfold.Route) (*Consumer, error) {
	c := &Consumer{sub: t, o: opts.withDefaults(), routes: make(map[string]*route)}
	c.log = c.o.Logger
	s.Topics = slices.Clone(s.Topics)
	s.MaxInFlight = orElse(s.MaxInFlight, 1000)
	c.s = s
	errs := []error{checkSubscription(s), c.o.check(s), c.addRoutes(routes)}
	if t == nil {
		errs = append(errs, fmt.Errorf("bus: consumer %q: %w transport: it is nil; pass a driver's Transport", c.s.Group, sixfold.ErrInvalid))
		return nil, errors.Join(errs...)
	}
	c.caps = t.Capabilities()
	errs = append(errs, c.caps.check(s, &c.o))
	if c.o.Inbox != nil {
		c.parking = c.o.Inbox.Parking()
	}
	if c.parking != nil {
		c.oneByOne()
	}
	errs = append(errs, c.findDead())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.status = status{state: New, since: now()}
	return c, nil
}

func checkSubscription(s Subscription) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("bus: subscription: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...))
	}
	if len(s.Topics) == 0 && s.Group == "" {
		bad("Topics: there are none; name one, or the Group of a local destination")
	}
	for i, t := range s.Topics {
		if err := sixfold.CheckTopic(t); err != nil {
			errs = append(errs, err)
		} else if err := sixfold.CheckTopic(t + DeadSuffix); err != nil {
			bad("topic %s: its dead letters have no name: %w", short(t), err)
		}
		if slices.Contains(s.Topics[:i], t) {
			bad("topic %s: it is named twice; name it once", short(t))
		}
	}
	if len(s.Group) > sixfold.MaxName || !plainText(s.Group) {
		bad("Group %s: give at most %d bytes of printable text", short(s.Group), sixfold.MaxName)
	}
	if s.MaxInFlight < 1 || s.MaxInFlight > 1_000_000 {
		bad("MaxInFlight %d: give 1 to 1,000,000, or 0 for 1,000", s.MaxInFlight)
	}
	return errors.Join(errs...)
}

func (c *Consumer) addRoutes(routes []sixfold.Route) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("bus: consumer %q: %w "+format, append([]any{c.s.Group, sixfold.ErrInvalid}, args...)...))
	}
	if len(routes) == 0 {
		bad("routes: there are none; make some with sixfold.On, sixfold.Raw or inbox.On")
	}
	for _, r := range routes {
		if err := r.Err(); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.adopt(r); err != nil {
			errs = append(errs, err)
		}
		ready := &route{name: r.Name, handle: sixfold.Chain(r.Handler(), c.o.Middleware...), size: orElse(r.BatchSize, 50), retry: r.Retry.Or(c.o.Retry), plain: r.Inbox == nil}
		if r.MaxConcurrent > 0 {
			ready.gate = &gate{limit: r.MaxConcurrent}
		}
		if len(c.o.Middleware) == 0 && ready.size > 1 {
			ready.batch = r.Batch
		}
		if r.Name == "" {
			if c.rest != nil {
				bad("routes: two take every message that no other names; leave one out")
			}
			c.rest = ready
			continue
		}
		for _, name := range append([]string{r.Name}, r.Former...) {
			if other := c.routes[name]; other != nil {
				bad("routes: messages called %q have two handlers (the routes %q and %q); leave one out, or give it a consumer of its own", name, other.name, r.Name)
			}
			c.routes[name] = ready
		}
	}
	return errors.Join(errs...)
}

// oneByOne takes their batches from the routes whose handlers share no transaction with the inbox, since each of their
// messages is asked about first.
func (c *Consumer) oneByOne() {
	for _, r := range c.routes {
		if r.plain {
			r.batch = nil
		}
	}
	if c.rest != nil && c.rest.plain {
		c.rest.batch = nil
	}
}

// adopt takes the inbox of a route as the consumer's, so that it need not be named twice.
func (c *Consumer) adopt(r sixfold.Route) error {
	box, ok := r.Inbox.(Inbox)
	switch {
	case !ok:
		return nil
	case c.s.Group == "":
		return fmt.Errorf("bus: consumer of %s: %w route %s: it remembers what it has handled by the consumer's name, and there is none; give Subscription.Group",
			strings.Join(c.s.Topics, ", "), sixfold.ErrInvalid, short(r.Name))
	case c.o.Inbox == nil:
		c.o.Inbox = box
	case c.o.Inbox != box:
		return fmt.Errorf("bus: consumer %q: %w route %s: it has another inbox than Options.Inbox or the routes before it; make one box and use it for all", c.s.Group, sixfold.ErrInvalid, short(r.Name))
	}
	return nil
}

// findDead settles where dead letters go.
func (c *Consumer) findDead() error {
	if c.dead = c.o.DeadLetters; c.dead != nil || c.o.Ack == AckNever || c.parking != nil {
		return nil
	}
	t, ok := c.sub.(Transport)
	if !ok {
		return fmt.Errorf("bus: consumer %q: %w DeadLetters: it is nil, and %T cannot send; give the transport that dead letters go to, or DropDeadLetters()", c.s.Group, sixfold.ErrInvalid, c.sub)
	}
	if !c.caps.Confirms {
		return fmt.Errorf("bus: consumer %q: %w DeadLetters: it is nil, and %s does not confirm what it is sent; give a transport that does, or DropDeadLetters()",
			c.s.Group, sixfold.ErrInvalid, orElse(c.caps.Name, "this transport"))
	}
	c.dead = t
	return nil
}

// Run subscribes and consumes until ctx ends. Then it receives no more, gives back what has not begun, lets handlers
// finish within DrainTimeout, settles, and returns nil, or a *sixfold.DrainError with the number in doubt. A broker
// that cannot be reached is waited for; an error that ends the subscription (ErrRefused, ErrClosed) ends Run. It can
// be called once.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return fmt.Errorf("bus: run %s: it was run before; make a new one with NewConsumer", c)
	}
	c.enter(Connecting)
	defer c.enter(Stopped)
	src, err := c.subscribe(ctx)
	if err != nil || ctx.Err() != nil && src == nil {
		return err
	}
	r := newRun(ctx, c, src)
	c.live.Store(r)
	return r.run(ctx)
}

// String names the consumer in errors.
func (c *Consumer) String() string { return "consumer " + strconv.Quote(c.s.Group) }

// subscribe answers nil, nil when ctx ended first.
func (c *Consumer) subscribe(ctx context.Context) (Source, error) {
	away := outage{c: c, what: "cannot subscribe, trying again", over: "subscribed after an outage"}
	for n := 1; ; n++ {
		src, err := c.sub.Subscribe(ctx, c.s)
		if err == nil && src == nil {
			err = fmt.Errorf("%w: the driver opened nothing", ErrRefused)
		}
		if err == nil {
			away.end()
			return src, nil
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		err = fmt.Errorf("bus: subscribe %s: %w", c, err)
		if !errors.Is(err, ErrUnavailable) {
			c.noteError(err)
			return nil, err
		}
		away.begin(err)
		if !sleep(ctx, passing(n)) {
			return nil, nil
		}
	}
}

// Pause stops taking messages, from the broker and from what is parked, until Resume; what is in flight already is handled.
func (c *Consumer) Pause() {
	c.mu.Lock()
	if c.resumed == nil {
		c.resumed = make(chan struct{})
	}
	c.mu.Unlock()
	c.enter(Paused, Running)
}

// Resume ends a Pause.
func (c *Consumer) Resume() {
	c.mu.Lock()
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
	}
	c.mu.Unlock()
	c.enter(Running, Paused)
}

// paused reports whether Pause was called last.
func (c *Consumer) paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resumed != nil
}

// unpaused waits while the consumer is paused and reports false when ctx ended first.
func (c *Consumer) unpaused(ctx context.Context) bool {
	for {
		c.mu.Lock()
		resumed := c.resumed
		c.mu.Unlock()
		if resumed == nil {
			return true
		}
		c.enter(Paused, Running)
		select {
		case <-resumed:
		case <-ctx.Done():
			return false
		}
	}
}
