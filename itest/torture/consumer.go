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

// consumers is one process with every consumer.
type consumers struct {
	*process
	box    *inbox.Box[pgx.Tx]
	out    *outbox.Outbox
	broker bus.Transport
	local  *outbox.Local
	done   *handledLog
	passed sync.Map // messages and consumers that have failed by the infrastructure's fault already
}

// runConsumer consumes until ctx ends.
func runConsumer(ctx context.Context, p *process) (err error) {
	c := &consumers{process: p}
	b := brokers[p.Options.Broker]
	if c.box, err = inbox.New(p.db(), p.store.Inbox(), &inbox.Options{Logger: p.log}); err != nil {
		return err
	}
	if c.out, err = outbox.New(p.store.Outbox(), &outbox.Options{Source: "torture"}, b.routes()...); err != nil {
		return err
	}
	if c.local, err = p.local(); err != nil {
		return err
	}
	if c.broker, err = b.transport(ctx, p); err != nil {
		return err
	}
	if c.done, err = openHandledLog(p.path("handled")); err != nil {
		return err
	}
	inDB := func(name string) bus.Subscription { return bus.Subscription{Group: name, Ordered: true} }
	var all []sixfold.Runnable
	var errs []error
	add := func(t bus.Transport, s bus.Subscription, mws []sixfold.Middleware, routes ...sixfold.Route) {
		one, err := bus.NewConsumer(t, s, c.options(s.Group, mws), routes...)
		all, errs = append(all, one), append(errs, err)
	}
	add(c.broker, b.subscription("billing"), []sixfold.Middleware{c.killAfter}, inbox.On(c.box, c.billing))
	add(c.broker, b.subscription("shipping"), nil, inbox.OnBatch(c.box, c.shipping))
	add(c.broker, b.subscription("notes"), nil, inbox.OnBatch(c.box, c.notes))
	add(c.local, inDB("audit"), nil, inbox.On(c.box, c.audit))
	add(c.local, inDB("marks"), nil, inbox.OnBatch(c.box, c.marks))
	for _, name := range []string{"billing", "shipping", "notes"} {
		s := b.subscription(name + bus.DeadSuffix)
		add(c.broker, s, nil, inbox.On(c.box, c.buried))
	}
	add(c.local, inDB("audit"+bus.DeadSuffix), nil, inbox.On(c.box, c.buried))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err = sixfold.Run(ctx, all...)
	return errors.Join(err, c.done.close(), c.broker.Close(context.WithoutCancel(ctx)))
}

func (c *consumers) options(name string, mws []sixfold.Middleware) *bus.Options {
	o := &bus.Options{Inbox: c.box, Concurrency: 6, MaxAttempts: c.Options.Attempts, Middleware: mws, Logger: c.log.With("of", name),
		Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * 20 * time.Millisecond }}
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
