package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
)

// consumers are those of one process.
type consumers struct {
	*process
	box    *inbox.Box[pgx.Tx]
	out    *outbox.Outbox
	broker bus.Transport
	local  *outbox.Local
	done   *handledLog
	all    []sixfold.Runnable
	errs   []error
	passed sync.Map // messages and consumers that have failed by the infrastructure's fault already
}

// runConsumer consumes until ctx ends.
func runConsumer(ctx context.Context, p *process) error {
	c, err := newConsumers(ctx, p)
	if err != nil {
		return err
	}
	b := brokers[p.Options.Broker]
	c.add(c.broker, b.subscription("billing"), []sixfold.Middleware{c.killAfter}, inbox.On(c.box, c.billing))
	c.add(c.broker, b.subscription("shipping"), nil, inbox.OnBatch(c.box, c.shipping))
	c.add(c.broker, b.subscription("notes"), nil, inbox.OnBatch(c.box, c.notes))
	c.add(c.local, inDatabase("audit"), nil, inbox.On(c.box, c.audit))
	c.add(c.local, inDatabase("marks"), nil, inbox.OnBatch(c.box, c.marks))
	return c.run(ctx)
}

// runMourner consumes the dead letters. It comes when the publisher has finished: until then they wait.
func runMourner(ctx context.Context, p *process) error {
	c, err := newConsumers(ctx, p)
	if err != nil {
		return err
	}
	b := brokers[p.Options.Broker]
	seen := map[string]bool{}
	for _, x := range expected() {
		s, t := b.subscription(x.Name), c.broker
		if x.inDatabase() {
			s, t = inDatabase(x.Name), c.local
		}
		s.Group += bus.DeadSuffix
		for i := range s.Topics {
			s.Topics[i] += bus.DeadSuffix
		}
		if key := fmt.Sprint(s.Topics); len(s.Topics) > 0 && seen[key] {
			continue // groups of one topic share its dead letters
		} else {
			seen[key] = true
		}
		c.add(t, s, nil, inbox.On(c.box, c.buried))
	}
	return c.run(ctx)
}

func newConsumers(ctx context.Context, p *process) (*consumers, error) {
	c := &consumers{process: p}
	b := brokers[p.Options.Broker]
	var err error
	if c.box, err = inbox.New(p.db(), tapInbox{p.store.Inbox(), p}, &inbox.Options{Logger: p.log}); err != nil {
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

func (c *consumers) add(t bus.Transport, s bus.Subscription, mws []sixfold.Middleware, routes ...sixfold.Route) {
	s.MaxInFlight = inFlight
	one, err := bus.NewConsumer(t, s, c.options(s.Group, mws), routes...)
	c.all, c.errs = append(c.all, one), append(c.errs, err)
}

func (c *consumers) run(ctx context.Context) error {
	if err := errors.Join(c.errs...); err != nil {
		return err
	}
	err := sixfold.Run(ctx, c.all...)
	return errors.Join(err, c.done.close(), c.broker.Close(context.WithoutCancel(ctx)))
}

func (c *consumers) options(name string, mws []sixfold.Middleware) *bus.Options {
	o := &bus.Options{Inbox: c.box, Concurrency: 6, Middleware: mws, Logger: c.log.With("of", name),
		Retry: sixfold.Retry{MaxAttempts: c.Options.Attempts, Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * 20 * time.Millisecond }}}
	if strings.HasSuffix(name, bus.DeadSuffix) {
		o.Concurrency = 1
		return o
	}
	o.Hooks.Handled = func(d *bus.Delivery, _ int, _ time.Duration, err error) {
		if err != nil {
			return
		}
		if len(mws) == 0 && d.Claims == nil {
			c.maybeKillAfter() // batches know no middleware
		}
		c.done.add(name, d.Sequence)
	}
	return o
}

// killAfter ends the process between the commit and the acknowledgement, when it was told to.
func (c *consumers) killAfter(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error {
		err := next(ctx, env)
		if err == nil {
			c.maybeKillAfter()
		}
		return err
	}
}

func (c *consumers) maybeKillAfter() {
	if c.afterCommit.CompareAndSwap(true, false) {
		c.event(eventKillAfterTx, "", 1)
		killSelf()
	}
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
