package sixfoldtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// An OpenError says what was still open when the context of Quiet ended.
type OpenError struct {
	// Open names each message, or topic, that waits, with what is known of the reason.
	Open []string
	// Err is the context's own.
	Err error
}

// maxNamed is how much of OpenError.Open its text has.
const maxNamed = 10

func (e *OpenError) Error() string {
	named, more := e.Open, ""
	if len(named) > maxNamed {
		named, more = named[:maxNamed], fmt.Sprintf("; and %d more", len(named)-maxNamed)
	}
	return fmt.Sprintf("sixfoldtest: not quiet: %v; still open: %s%s", e.Err, strings.Join(named, "; "), more)
}

// Unwrap is the context's error.
func (e *OpenError) Unwrap() error { return e.Err }

// Quiet returns when everything that was published has been handled, is dead, or waits behind a dead letter: no row is left
// in the outbox, no message at a broker, nothing waits for another attempt. What handlers publish counts as well; only what
// a consumer with bus.AckOnReceipt still has in hand does not.
//
// It answers an *OpenError when ctx ends before that, and another error when the app has stopped or a database cannot be
// asked. It looks again every now and then, by the bubble's time in testing/synctest, and is late by a fiftieth of the
// time that it waited.
func Quiet(ctx context.Context, app *App) error {
	begun := time.Now()
	for {
		open, err := app.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && len(open) == 0:
			return nil
		}
		if err := app.stopped(); err != nil {
			return err
		}
		// Late by a fiftieth at most, and yet few looks in a bubble where hours pass.
		timer := time.NewTimer(min(max(time.Since(begun)/50, time.Millisecond), time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return app.notQuiet(ctx)
		}
	}
}

// look answers what is open. A message is always in one of the places that it looks at: it is in the next one before it
// leaves the last. Only what a handler publishes goes back, to an outbox that was looked at already: so the
// outboxes are looked at once more, and nothing may have been written or sent meanwhile.
func (a *App) look(ctx context.Context) (open []string, err error) {
	before := a.moves()
	for range 2 {
		for _, o := range a.Outboxes {
			rows, err := o.openRows(ctx)
			if err != nil || len(rows) > 0 {
				return rows, err
			}
		}
		for _, b := range a.Brokers {
			if open := b.open(); len(open) > 0 {
				return open, nil
			}
		}
		for _, in := range a.Inboxes {
			open, err := in.open(ctx)
			if err != nil || len(open) > 0 {
				return open, err
			}
		}
	}
	if a.moves() != before {
		return []string{"something was published this moment"}, nil
	}
	return nil, nil
}

// moves counts what was written and sent so far.
func (a *App) moves() (n int64) {
	for _, o := range a.Outboxes {
		n += o.written.Load()
	}
	for _, b := range a.Brokers {
		b.mu.Lock()
		n += int64(len(b.all))
		b.mu.Unlock()
	}
	return n
}

// openRows names the rows that are no dead letters.
func (r *Recorder) openRows(ctx context.Context) (open []string, err error) {
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		rows, err := r.waiting(ctx, t)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			p, err := publicationOf(t, &rows[i])
			if err != nil {
				return nil, err
			}
			if !strings.HasSuffix(p.To, bus.DeadSuffix) || !p.Local {
				open = append(open, p.String())
			}
		}
	}
	return open, nil
}

// String names the message and where it goes, never its content.
func (p *Publication) String() string {
	where := "topic"
	if p.Local {
		where = "local consumer"
	}
	return fmt.Sprintf("%.64s %.64s (key %.64q) for %s %.64s", p.Envelope.Type, p.Envelope.ID, p.Envelope.Key, where, p.To)
}

// open names the topics with messages that some group has not settled.
func (b *Broker) open() (open []string) {
	b.mu.Lock()
	var topics []string
	types := map[string][]string{}
	for _, p := range b.all {
		if strings.HasSuffix(p.To, bus.DeadSuffix) {
			continue
		}
		if types[p.To] == nil {
			topics = append(topics, p.To)
		}
		types[p.To] = append(types[p.To], p.Envelope.Type)
	}
	b.mu.Unlock() // Pending locks the broker, which calls took
	for _, topic := range topics {
		if n := b.Pending(topic); n > 0 {
			open = append(open, fmt.Sprintf("%d of %d messages on topic %.64s (the last one is %.64s) that a group has not settled, or no group has asked for",
				n, len(types[topic]), topic, types[topic][len(types[topic])-1]))
		}
	}
	return open
}

// notQuiet looks once more, with time of its own, and asks those who run.
func (a *App) notQuiet(ctx context.Context) error {
	out := &OpenError{Err: context.Cause(ctx)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, o := range a.Outboxes {
		rows, err := o.openRows(ctx)
		if err != nil {
			out.Open = append(out.Open, err.Error())
		}
		out.Open = append(out.Open, rows...)
	}
	for _, b := range a.Brokers {
		out.Open = append(out.Open, b.open()...)
	}
	for _, in := range a.Inboxes {
		open, err := in.open(ctx)
		if err != nil {
			out.Open = append(out.Open, err.Error())
		}
		out.Open = append(out.Open, open...)
	}
	if len(out.Open) == 0 {
		out.Open = append(out.Open, "nothing any more, a moment too late; give Quiet more time")
	}
	for _, r := range a.Runs {
		out.Open = append(out.Open, troubles(r)...)
	}
	return out
}

// troubles says what a consumer or a relay knows of the reason.
func troubles(r sixfold.Runnable) (all []string) {
	switch r := r.(type) {
	case *bus.Consumer:
		h := r.Health()
		if h.OldestType != "" {
			all = append(all, fmt.Sprintf("%v: a handler of %.64s has been running for %v", r, h.OldestType, h.OldestFor))
		}
		if h.LastError != nil && (h.Held > 0 || h.Parked > 0 || h.InFlight > 0 || h.State == bus.Connecting) {
			all = append(all, fmt.Sprintf("%v is %v and holds %d messages that failed, the last error: %v", r, h.State, h.Held+h.Parked, h.LastError))
		}
	case *outbox.Relay:
		for _, c := range r.Health().Classes {
			if c.Down != nil {
				all = append(all, fmt.Sprintf("%v cannot reach its broker: %v", r, c.Down))
			}
			for _, f := range c.Blocked {
				all = append(all, fmt.Sprintf("%v: the broker does not take %.64s %s: %s", r, f.Type, f.ID, f.Reason))
			}
		}
	}
	return all
}
