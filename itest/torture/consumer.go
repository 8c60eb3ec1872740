package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
)

// consumers are those of one process.
type consumers[X any] struct {
	*process
	business[X]
	box    *inbox.Box[X]
	out    *outbox.Outbox
	broker bus.Transport
	local  *outbox.Local
	done   *handledLog
	all    []sixfold.Runnable
	errs   []error
	right  bool     // the handlers are repaired
	passed sync.Map // messages and consumers that have failed by the infrastructure's fault already
}

// runConsumer consumes until ctx ends.
func runConsumer[X any](ctx context.Context, p *process, own business[X]) error {
	c, err := newConsumers(ctx, p, own)
	if err != nil {
		return err
	}
	b := brokers[p.Options.Broker]
	c.add(c.broker, b.subscription("billing"), []sixfold.Middleware{c.killAfter, c.freezeAtParked}, inbox.On(c.box, c.billing))
	c.add(c.broker, b.subscription("shipping"), nil, inbox.OnBatch(c.box, c.shipping))
	c.add(c.broker, b.subscription("notes"), nil, inbox.OnBatch(c.box, c.notes))
	c.add(c.local, inDatabase("audit"), []sixfold.Middleware{c.freezeAtParked}, inbox.On(c.box, c.audit))
	c.add(c.local, inDatabase("marks"), nil, inbox.OnBatch(c.box, c.marks))
	return c.run(ctx)
}

func newConsumers[X any](ctx context.Context, p *process, own business[X]) (*consumers[X], error) {
	c := &consumers[X]{process: p, business: own, right: p.repaired()}
	b := brokers[p.Options.Broker]
	var err error
	if c.box, err = inbox.New(own.plain(), tapInbox{p.store.Inbox(), p}, &inbox.Options{Logger: p.log}); err != nil {
		return nil, err
	}
	if c.out, err = outbox.New(p.store.Outbox(), &outbox.Options{Source: "torture"}, b.routes()...); err != nil {
		return nil, err
	}
	if c.local, err = p.local(); err != nil {
		return nil, err
	}
	if c.broker, err = b.transport(ctx, p); err != nil {
		return nil, err
	}
	c.done, err = openHandledLog(p.path("handled"))
	return c, err
}

// inDatabase is where a consumer without a broker finds its messages.
func inDatabase(name string) bus.Subscription { return bus.Subscription{Group: name, Ordered: true} }

// inFlight bounds what a consumer holds, and so what has to run alone after a death.
const inFlight = 60

// parkingLease is shorter than a frozen process stays so.
const parkingLease = time.Second

func (c *consumers[X]) add(t bus.Transport, s bus.Subscription, mws []sixfold.Middleware, routes ...sixfold.Route) {
	s.MaxInFlight = inFlight
	one, err := bus.NewConsumer(t, s, c.options(s.Group, mws), routes...)
	c.all, c.errs = append(c.all, one), append(c.errs, err)
}

func (c *consumers[X]) run(ctx context.Context) error {
	if err := errors.Join(c.errs...); err != nil {
		return err
	}
	err := sixfold.Run(ctx, c.all...)
	return errors.Join(err, c.done.close(), c.broker.Close(context.WithoutCancel(ctx)))
}

func (c *consumers[X]) options(name string, mws []sixfold.Middleware) *bus.Options {
	o := &bus.Options{Inbox: c.box, Concurrency: 6, Middleware: mws, DrainTimeout: drain, ParkingLease: parkingLease, ParkingPoll: 200 * time.Millisecond, Logger: c.log.With("of", name),
		Retry: sixfold.Retry{MaxAttempts: c.Options.Attempts, Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * 20 * time.Millisecond }}}
	o.Hooks.Handled = func(d *bus.Delivery, _ int, _ time.Duration, err error) {
		if err != nil {
			return
		}
		if len(mws) == 0 && d.Claims == nil {
			c.maybeKillAfter() // batches know no middleware
		}
		if !fromLine(d) {
			c.done.add(name, d.Sequence)
		}
	}
	return o
}

// killAfter ends the process between the commit and the acknowledgement, when it was told to.
func (c *consumers[X]) killAfter(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error {
		err := next(ctx, env)
		if err == nil {
			c.maybeKillAfter()
		}
		return err
	}
}

func (c *consumers[X]) maybeKillAfter() {
	if c.afterCommit.CompareAndSwap(true, false) {
		c.event(eventKillAfterTx, "", 1)
		killSelf()
	}
}

// parked reports whether the message in hand comes from a line.
func parked(ctx context.Context) bool {
	ds := bus.DeliveriesFrom(ctx)
	return len(ds) == 1 && fromLine(ds[0])
}

// fromLine reports whether a delivery was parked before. Only its claims tell: the rest is as when it first came.
func fromLine(d *bus.Delivery) bool {
	return strings.Contains(fmt.Sprintf("%T", d.Claims), "inbox.parkedClaims")
}

// freezeAtParked stops the process before a parked message is handled, when it was told to. It is one that is handled well from now on, by
// whoever has it.
func (c *consumers[X]) freezeAtParked(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error {
		if file := c.freezeParked.Load(); file != nil && parked(ctx) && c.recovers(ctx, env) && c.freezeParked.CompareAndSwap(file, nil) &&
			claimFile(c.Dir, *file, c.Slot+" "+sixfold.InfoFrom(ctx).Consumer+" "+env.ID) {
			freezeSelf()
		}
		return next(ctx, env)
	}
}

// recovers reports whether a message has failed for the last time.
func (c *consumers[X]) recovers(ctx context.Context, env *sixfold.Envelope) bool {
	var m Order
	if json.Unmarshal(env.Body, &m) != nil {
		return false
	}
	info := sixfold.InfoFrom(ctx)
	f := c.Options.fate(info.Consumer, m.Key, m.N)
	return m.Poison != info.Consumer && !f.always && f.outage == 0 && info.Attempt > f.fails
}

// claimFile makes a file, and reports whether it was us who did.
func claimFile(dir, name, text string) bool {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close()) == nil
}

// handledLog lists what was handled and is about to be acknowledged: when, consumer, delivery. It is complete only when the
// process ends in order, which is when it is asked.
type handledLog struct {
	mu sync.Mutex
	f  *os.File
	w  *bufio.Writer
}

func openHandledLog(path string) (*handledLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("torture: open a journal: %w", err)
	}
	return &handledLog{f: f, w: bufio.NewWriterSize(f, 1<<16)}, nil
}

func (h *handledLog) add(consumer, sequence string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(h.w, "%d %s %s\n", time.Now().UnixNano(), consumer, sequence)
}

func (h *handledLog) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.w.Flush(), h.f.Close())
}
