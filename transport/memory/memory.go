// Package memory is a broker inside the process: for tests, for examples, and for programs whose messages may end with
// them. It keeps every promise of package bus (order per key through redeliveries, confirms, groups, leases) and can
// play a broker's faults.
//
//	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
//	defer broker.Close(ctx)
//
// Nothing runs in the background: work is done by the goroutines that call, and the only timers are those of
// Options.Lease. So it works in a testing/synctest bubble, and nothing is left when it is closed.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// Options of a Transport. The zero value is right for tests.
type Options struct {
	// Topics that exist from the beginning, as if Declare had been called.
	Topics []string
	// MaxBody in bytes of body and headers together. What is larger fails with bus.ErrTooLarge. 0: 1 MiB.
	MaxBody int
	// MaxPending bounds the memory: how many messages a topic holds that some group or copy has not settled yet. Send
	// blocks while a topic is full. 0: 100,000.
	MaxPending int
	// Lease is how long a delivery stays with its source without Settle and Extend. When it passes, the delivery is
	// redelivered; where the subscription is ordered its whole lane moves. 0: for ever.
	Lease time.Duration
}

// Transport is the broker and the connection to it. It is safe for concurrent use.
//
// A topic exists once it is declared, as long as a group knows it, and while a copy listens to it; other topics are
// unroutable. A group is known from its first subscription on: what is sent while all of its members are away waits
// for them. What is sent to a declared topic before its first group came waits for that group; a later one begins
// with what is sent from then on. A group that will not come back should be dropped, since a full topic blocks.
//
// An ordered group divides the keys of a topic over 64 lanes, so that at most 64 of its members have work. Nobody may
// change bodies and headers of deliveries: every group, and every redelivery, shares them.
type Transport struct {
	maxBody, maxPending int
	lease               time.Duration
	bad                 error // what is wrong with the options; Open and Subscribe answer it

	mu      sync.Mutex // guards all below, and every topic, queue, lane, sender and source
	topics  map[string]*topic
	senders map[*sender]struct{}
	sources map[*source]struct{}
	down    bool
	closed  bool

	tap    func(topic string, env *sixfold.Envelope)
	refuse func(topic string, env *sixfold.Envelope) error
	hold   func(topic string, env *sixfold.Envelope) bool
}

var _ bus.Transport = (*Transport)(nil)

// New makes a broker. Bad options are answered, all of them, by Open and Subscribe as bus.ErrRefused.
func New(opts *Options) *Transport {
	if opts == nil {
		opts = &Options{}
	}
	t := &Transport{
		maxBody:    opts.MaxBody,
		maxPending: opts.MaxPending,
		lease:      opts.Lease,
		topics:     make(map[string]*topic),
		senders:    make(map[*sender]struct{}),
		sources:    make(map[*source]struct{}),
	}
	var errs []error
	for _, n := range []struct {
		name  string
		value int64
	}{{"MaxBody", int64(opts.MaxBody)}, {"MaxPending", int64(opts.MaxPending)}, {"Lease", int64(opts.Lease)}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("memory: option %s: it is negative (%d); leave it 0 for the default", n.name, n.value))
		}
	}
	if t.maxBody <= 0 {
		t.maxBody = 1 << 20
	}
	if t.maxPending <= 0 {
		t.maxPending = 100_000
	}
	errs = append(errs, t.Declare(opts.Topics...))
	if err := errors.Join(errs...); err != nil {
		t.bad = fmt.Errorf("memory: %w the options: %w", bus.ErrRefused, err)
	}
	return t
}

// Declare makes topics exist. Those that do are left as they are. Errors wrap sixfold.ErrInvalid and name every
// illegal topic; the legal ones are declared all the same.
func (t *Transport) Declare(topics ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, name := range topics {
		if err := sixfold.CheckTopic(name); err != nil {
			errs = append(errs, fmt.Errorf("memory: declare: %w", err))
			continue
		}
		t.topic(name).declare()
	}
	return errors.Join(errs...)
}

// Open opens a Sender. It fails with bus.ErrRefused for bad options and with bus.ErrUnavailable after Cut.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx, "open a sender"); err != nil {
		return nil, err
	}
	s := &sender{t: t, gone: make(chan struct{})}
	t.senders[s] = struct{}{}
	return s, nil
}

// Subscribe opens a Source. The members of a group have to agree about Ordered; it can change while there are none.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx, "subscribe"); err != nil {
		return nil, err
	}
	if err := t.check(sub); err != nil {
		return nil, err
	}
	s := newSource(t, sub)
	for _, name := range sub.Topics {
		s.join(t.topic(name).queue(sub.Group, sub.Ordered))
	}
	t.sources[s] = struct{}{}
	return s, nil
}

// check says everything that is wrong with a subscription.
func (t *Transport) check(sub bus.Subscription) error {
	var errs []error
	if len(sub.Topics) == 0 {
		errs = append(errs, errors.New("there is no topic; name at least one"))
	}
	seen := make(map[string]bool, len(sub.Topics))
	for _, name := range sub.Topics {
		if err := sixfold.CheckTopic(name); err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[name] {
			errs = append(errs, fmt.Errorf("topic %q is there twice; name it once", name))
		}
		seen[name] = true
		if tp := t.topics[name]; tp != nil && sub.Group != "" {
			if q := tp.groups[sub.Group]; q != nil && len(q.members) > 0 && q.ordered != sub.Ordered {
				errs = append(errs, fmt.Errorf("group %.64q has members on topic %q with Ordered=%v; let all of them agree", sub.Group, name, q.ordered))
			}
		}
	}
	if sub.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("MaxInFlight is negative (%d); leave it 0 for 1,000", sub.MaxInFlight))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("memory: subscribe: %w: %w", bus.ErrRefused, err)
	}
	return nil
}

// usable says why nothing can be opened now. t.mu is held.
func (t *Transport) usable(ctx context.Context, verb string) error {
	switch {
	case t.closed:
		return fmt.Errorf("memory: %s: %w: the transport was closed; make another", verb, bus.ErrClosed)
	case t.bad != nil:
		return t.bad
	case ctx.Err() != nil:
		return fmt.Errorf("memory: %s: %w", verb, ctx.Err())
	case t.down:
		return fmt.Errorf("memory: %s: %w: it was cut off; Restore it", verb, bus.ErrUnavailable)
	}
	return nil
}

// Capabilities answers what the broker keeps: everything but a dedup window.
func (t *Transport) Capabilities() bus.Capabilities {
	return bus.Capabilities{
		Name:         "memory",
		OrderPerKey:  true,
		PrefixPerKey: true,
		Confirms:     true,
		Copies:       true,
		MaxBody:      t.maxBody,
		ExtendEvery:  t.lease / 3,
	}
}

// Close ends the broker with all that it holds. Blocked calls return. It never blocks and always answers nil.
func (t *Transport) Close(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for s := range t.senders {
		s.end(bus.ErrClosed)
	}
	for s := range t.sources {
		s.end()
	}
	clear(t.topics)
	return nil
}

// Drop forgets a group on all topics, with everything that waits for it. It fails while the group has members.
func (t *Transport) Drop(group string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var of []*queue
	for _, tp := range t.topics {
		q := tp.groups[group]
		if q == nil {
			continue
		}
		if len(q.members) > 0 {
			return fmt.Errorf("memory: drop group %.64q: it has %d members on topic %q; close their sources first", group, len(q.members), tp.name)
		}
		of = append(of, q)
	}
	for _, q := range of {
		q.topic.drop(q)
	}
	return nil
}

// Pending answers how many messages of a topic some group or copy has not settled yet.
func (t *Transport) Pending(topic string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tp := t.topics[topic]; tp != nil {
		return tp.pending
	}
	return 0
}

// topic answers the topic of that name and makes it where it is not there. t.mu is held.
func (t *Transport) topic(name string) *topic {
	tp := t.topics[name]
	if tp == nil {
		tp = &topic{t: t, name: name, groups: make(map[string]*queue)}
		t.topics[name] = tp
	}
	return tp
}
