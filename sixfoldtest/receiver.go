package sixfoldtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A Receiver hands messages to routes, as a broker would: through a consumer with everything that belongs to it
// (decoding, middleware, attempts, the inbox), but at the moment, as often, and in the order that the test says. It
// belongs to one goroutine.
type Receiver struct {
	group  string
	opts   bus.Options
	routes []sixfold.Route
	seen   map[string]bool // ids that were delivered before
}

// NewReceiver makes a Receiver for the consumer of that name (its group). opts may be nil; without Retry.MaxAttempts in it
// there is one attempt for each delivery, and without a Logger nothing is logged. Errors name everything that is wrong,
// as those of bus.NewConsumer.
func NewReceiver(group string, opts *bus.Options, routes ...sixfold.Route) (*Receiver, error) {
	r := &Receiver{group: group, routes: routes, seen: map[string]bool{}}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.Retry.MaxAttempts == 0 {
		r.opts.Retry.MaxAttempts = 1
	}
	if r.opts.Logger == nil {
		r.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if r.opts.DeadLetters == nil {
		r.opts.DeadLetters = bus.DropDeadLetters() // the test is told
	}
	if _, err := r.consumer(&feed{}, r.opts.Hooks); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Receiver) consumer(f *feed, hooks bus.Hooks) (*bus.Consumer, error) {
	opts := r.opts
	opts.Hooks = hooks
	return bus.NewConsumer(f, bus.Subscription{Group: r.group}, &opts, r.routes...)
}

// An UndeliveredError says what became of a delivery that was not handled. It wraps the handler's error.
type UndeliveredError struct {
	// Envelope that was delivered.
	Envelope *sixfold.Envelope
	// Reason is one of those of bus.DeadReason: "attempts", "expired", "no-handler" and others.
	Reason string
	// Err is the last error.
	Err error
}

func (e *UndeliveredError) Error() string {
	return fmt.Sprintf("sixfoldtest: message %.64s %.64s became a dead letter (%s): %v", e.Envelope.Type, e.Envelope.ID, e.Reason, e.Err)
}

// Unwrap is Err.
func (e *UndeliveredError) Unwrap() error { return e.Err }

// Deliver makes an envelope of each message and delivers them: see DeliverEnvelopes.
func (r *Receiver) Deliver(ctx context.Context, ms ...sixfold.Message) error {
	envs := make([]*sixfold.Envelope, len(ms))
	for i, m := range ms {
		var err error
		if envs[i], err = sixfold.NewEnvelope(ctx, "sixfoldtest", nil, m); err != nil {
			return fmt.Errorf("sixfoldtest: deliver: %w", err)
		}
	}
	return r.DeliverEnvelopes(ctx, envs...)
}

// DeliverEnvelopes delivers envs one after the other, in the order in which they are given, each when the one before is
// settled, and returns when all are. The same envelope, or the same id, a second time is marked as redelivered, as after
// a consumer's death. The error joins an *UndeliveredError for each that became a dead letter; nil: all were handled, or
// had been before.
func (r *Receiver) DeliverEnvelopes(ctx context.Context, envs ...*sixfold.Envelope) error {
	f := &feed{settled: make(chan struct{}, 1), done: make(chan struct{})}
	for i, env := range envs {
		if env == nil {
			return fmt.Errorf("sixfoldtest: deliver: %w envelope number %d: it is nil; make one with sixfold.NewEnvelope", sixfold.ErrInvalid, i+1)
		}
		f.waiting = append(f.waiting, &bus.Delivery{Envelope: *env, Topic: r.group, Redelivered: r.seen[env.ID]})
		r.seen[env.ID] = true
	}
	if len(envs) == 0 {
		return nil
	}
	var undelivered []error
	hooks := r.opts.Hooks
	hooks.Dead = func(d *bus.Delivery, reason string, err error) {
		// Only one delivery is out at a time, so nobody else is here.
		undelivered = append(undelivered, &UndeliveredError{Envelope: &d.Envelope, Reason: reason, Err: err})
		if r.opts.Hooks.Dead != nil {
			r.opts.Hooks.Dead(d, reason, err)
		}
	}
	c, err := r.consumer(f, hooks)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- c.Run(run) }()
	select {
	case <-f.done:
		stop()
		err = <-ran
	case err = <-ran:
		if err == nil {
			err = ctx.Err()
		}
		err = fmt.Errorf("sixfoldtest: deliver: %d of %d messages were not settled: %w", len(envs)-f.count, len(envs), err)
	}
	return errors.Join(append(undelivered, err)...)
}

// feed is a bus.Subscriber and its one Source: it has one delivery out at a time.
type feed struct {
	waiting []*bus.Delivery // Receive's goroutine, and Settle's while that waits
	count   int             // settled
	settled chan struct{}
	done    chan struct{}
}

// Capabilities implements bus.Subscriber.
func (f *feed) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "sixfoldtest", OrderPerKey: true, PrefixPerKey: true, Confirms: true, Copies: true}
}

// Subscribe implements bus.Subscriber.
func (f *feed) Subscribe(context.Context, bus.Subscription) (bus.Source, error) {
	f.settled <- struct{}{} // nothing is out
	return f, nil
}

// Receive implements bus.Source.
func (f *feed) Receive(ctx context.Context, _ int) ([]*bus.Delivery, error) {
	select {
	case <-f.settled:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(f.waiting) == 0 {
		close(f.done)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.waiting[:1:1], nil
}

// Settle implements bus.Source. What is released comes again.
func (f *feed) Settle(_ context.Context, all []bus.Settlement) []error {
	for _, s := range all {
		if s.Release {
			again := *f.waiting[0]
			again.Redelivered = true
			f.waiting[0] = &again
		} else {
			f.waiting = f.waiting[1:]
			f.count++
		}
		f.settled <- struct{}{}
	}
	return make([]error, len(all))
}

// Extend implements bus.Source.
func (f *feed) Extend(context.Context, []*bus.Delivery) error { return nil }

// Close implements bus.Source.
func (f *feed) Close(context.Context) error { return nil }

// Late is env as it would be if it had been sent by earlier than it was: a message that expires has less time left, or
// none.
func Late(env *sixfold.Envelope, by time.Duration) *sixfold.Envelope {
	late := *env
	late.Time = env.Time.Add(-by)
	if !env.Expires.IsZero() {
		late.Expires = env.Expires.Add(-by)
	}
	return &late
}
