package inbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/sqltx"
)

// On makes a route whose handler shares one transaction with the record that the message was handled: its effect commits
// at most once per consumer and message. The handler itself may run again after a failure, so what it does outside of tx
// (mails, HTTP calls) can repeat. What it publishes in tx commits with it.
//
// A deadlock, a serialization failure, a lock timeout, a lost connection, or an error that wraps ErrAgain makes the handler run
// again in a fresh transaction, without counting as an attempt, until the handler timeout.
func On[X any, M sixfold.Message](b *Box[X], h func(ctx context.Context, tx X, m M) error) sixfold.Route {
	r := routeOf[X, M](b, h == nil)
	r.Handle = func(ctx context.Context, env *sixfold.Envelope) error {
		m, err := sixfold.Decode[M](ctx, env)
		if err != nil {
			return err
		}
		return b.handle(ctx, []*sixfold.Envelope{env}, func(ctx context.Context, x X, _ []int) error { return h(ctx, x, m) })
	}
	return r
}

// OnBatch is On for a handler that takes several messages in one transaction, in their order, up to the route's
// BatchSize. sixfold.InfoFrom(ctx).Envelopes are their envelopes. When it fails, all is rolled back and the messages are
// handled one by one, so it must be able to take a single one.
func OnBatch[X any, M sixfold.Message](b *Box[X], h func(ctx context.Context, tx X, ms []M) error) sixfold.Route {
	r := routeOf[X, M](b, h == nil)
	r.Batch = func(ctx context.Context, envs []*sixfold.Envelope) error {
		ms := make([]M, len(envs))
		for i, env := range envs {
			var err error
			if ms[i], err = sixfold.Decode[M](ctx, env); err != nil {
				return err
			}
		}
		return b.handle(ctx, envs, func(ctx context.Context, x X, first []int) error {
			own := ms
			if len(first) < len(envs) {
				own = make([]M, len(first))
				some := make([]*sixfold.Envelope, len(first))
				for i, j := range first {
					own[i], some[i] = ms[j], envs[j]
				}
				ctx = only(ctx, some)
			}
			return h(ctx, x, own)
		})
	}
	r.Handle = func(ctx context.Context, env *sixfold.Envelope) error {
		return r.Batch(only(ctx, []*sixfold.Envelope{env}), []*sixfold.Envelope{env})
	}
	return r
}

// OnEnvelope makes of r, made by sixfold.RouteOf or by hand, a route whose handler is given the envelope as it came, under
// the promises of On: for messages whose body only the handler can read.
func OnEnvelope[X any](b *Box[X], r sixfold.Route, h func(ctx context.Context, tx X, env *sixfold.Envelope) error) sixfold.Route {
	r = boxed(b, r, h == nil, "*sixfold.Envelope")
	r.Handle = func(ctx context.Context, env *sixfold.Envelope) error {
		return b.handle(ctx, []*sixfold.Envelope{env}, func(ctx context.Context, x X, _ []int) error { return h(ctx, x, env) })
	}
	return r
}

// Mark enters a name in x, the transaction of a handler, and reports whether it was not there: so handlers of several messages of one
// consumer agree on which of them is the first. Names are forgotten with the inbox's Retention, and are apart from those
// of messages. Who enters one that another open transaction has entered waits for its end.
func (b *Box[X]) Mark(ctx context.Context, x X, name string) (first bool, err error) {
	consumer := ""
	if info := sixfold.InfoFrom(ctx); info != nil {
		consumer = info.Consumer
	}
	var r Record
	sum := sha256.Sum256(append([]byte("\x00\x00mark\x00"), name...)) // no record of a message begins so
	copy(r.Message[:], sum[:])
	verdicts, err := b.store.Record(ctx, b.db.Tx(x), consumer, []Record{r})
	if err != nil {
		return false, fmt.Errorf("inbox: mark: %w", err)
	}
	return verdicts[0] == First, nil
}

func routeOf[X any, M sixfold.Message](b *Box[X], missing bool) sixfold.Route {
	return boxed(b, sixfold.RouteOf[M](), missing, reflect.TypeFor[M]().String())
}

// boxed gives a route the box.
func boxed[X any](b *Box[X], r sixfold.Route, missing bool, takes string) sixfold.Route {
	if b != nil {
		r.Inbox = b
	} else {
		r = r.Refuse(fmt.Errorf("inbox: route %s: the box is nil; make one with inbox.New", r.Name))
	}
	if missing {
		r = r.Refuse(fmt.Errorf("inbox: route %s: the handler is nil; pass a func(context.Context, %s, %s) error", r.Name, reflect.TypeFor[X](), takes))
	}
	return r
}

// only says in ctx which envelopes the handler was given.
func only(ctx context.Context, envs []*sixfold.Envelope) context.Context {
	info := sixfold.Info{Attempt: 1}
	if known := sixfold.InfoFrom(ctx); known != nil {
		info = *known
	}
	info.Envelope, info.Envelopes = envs[0], envs
	return sixfold.WithInfo(ctx, &info)
}

// handle runs h in one transaction with the records of envs. h is told which of them are first, and not called when none
// is.
func (b *Box[X]) handle(ctx context.Context, envs []*sixfold.Envelope, h func(ctx context.Context, x X, first []int) error) error {
	info := sixfold.InfoFrom(ctx)
	consumer := ""
	if info != nil {
		consumer = info.Consumer
	}
	ds := deliveries(ctx, envs)
	recs, places := records(ds)
	if len(recs) < len(ds) && !sameRepeats(ds, recs, places) {
		return sixfold.Permanent(fmt.Errorf("%w: within one batch", ErrIDReuse))
	}
	for try := 0; ; try++ {
		claimed := false
		var failed error // of ParkBeforeRollback
		err := b.db.Run(ctx, func(x X) error {
			first, err := b.decide(ctx, b.db.Tx(x), consumer, ds, recs, places, &claimed)
			if err != nil || len(first) == 0 {
				return err
			}
			if err := h(ctx, x, first); err != nil && planted.Is(planted.ParkBeforeRollback) {
				failed = err
				return nil
			} else {
				return err
			}
		})
		if failed != nil {
			return failed
		}
		if err == nil && claimed {
			for _, d := range ds {
				d.Claimed = d.Claims != nil
			}
		}
		if errors.Is(err, ErrLineFull) {
			return fmt.Errorf("inbox: %w: %w", bus.ErrUnavailable, err)
		}
		if err == nil || !b.store.Passing(err) && !errors.Is(err, ErrAgain) {
			return err
		}
		if !pause(ctx, try) {
			return fmt.Errorf("inbox: %w: %w", bus.ErrUnavailable, err)
		}
	}
}

// deliveries are those of ctx that belong to envs, or stand-ins where a route is called without a consumer.
func deliveries(ctx context.Context, envs []*sixfold.Envelope) []*bus.Delivery {
	known := bus.DeliveriesFrom(ctx)
	if len(known) == len(envs) {
		return known
	}
	ds := make([]*bus.Delivery, len(envs))
	for i, env := range envs {
		at := slices.IndexFunc(known, func(d *bus.Delivery) bool { return &d.Envelope == env })
		if at >= 0 {
			ds[i] = known[at]
		} else {
			ds[i] = &bus.Delivery{Envelope: *env}
		}
	}
	return ds
}

// sameRepeats reports whether deliveries of one message all have its payload.
func sameRepeats(ds []*bus.Delivery, recs []Record, places []int) bool {
	for i, d := range ds {
		if RecordOf(&d.Envelope).Digest != recs[places[i]].Digest {
			return false
		}
	}
	return true
}

// decide records ds in tx and answers which of them are first, by index. What has to wait behind its key is parked in tx.
func (b *Box[X]) decide(ctx context.Context, tx sqltx.Tx, consumer string, ds []*bus.Delivery, recs []Record, places []int, claimed *bool) ([]int, error) {
	var claims, remote, behind []int
	seen := make([]bool, len(recs))
	for i, d := range ds {
		switch {
		case d.Claims != nil:
			claims = append(claims, i)
		case !seen[places[i]]:
			seen[places[i]] = true
			remote = append(remote, i)
		}
	}
	first := make([]int, 0, len(ds))
	for len(claims) > 0 {
		by := ds[claims[0]].Claims
		var some []*bus.Delivery
		var at, others []int
		for _, i := range claims {
			if ds[i].Claims == by {
				some, at = append(some, ds[i]), append(at, i)
			} else {
				others = append(others, i)
			}
		}
		found, err := by.Claim(ctx, tx, some)
		if err != nil {
			return nil, err
		}
		*claimed = true
		for i, f := range found {
			switch f {
			case bus.Ours:
				first = append(first, at[i])
			case bus.Behind:
				behind = append(behind, at[i])
			}
		}
		claims = others
	}
	if len(remote) > 0 {
		some := make([]Record, len(remote))
		for i, j := range remote {
			some[i] = recs[places[j]]
		}
		verdicts, err := b.record(ctx, tx, consumer, some)
		if err != nil {
			return nil, err
		}
		for i, j := range remote {
			switch verdicts[i] {
			case First:
				first = append(first, j)
			case Behind:
				behind = append(behind, j)
			case Reused:
				return nil, sixfold.Permanent(fmt.Errorf("%w (id %.64q from %.64q)", ErrIDReuse, ds[j].ID, ds[j].Source))
			}
		}
	}
	if len(behind) > 0 {
		slices.Sort(behind)
		items := make([]Item, len(behind))
		for i, j := range behind {
			items[i] = itemOf(ds[j])
			items[i].Attempts = ds[j].Attempts
		}
		if _, err := b.parking.Park(ctx, tx, consumer, items); err != nil {
			return nil, err
		}
	}
	slices.Sort(first)
	return first, nil
}

// record is Store.Record.
func (b *Box[X]) record(ctx context.Context, tx sqltx.Tx, consumer string, recs []Record) (verdicts []Verdict, err error) {
	switch {
	case planted.Is(planted.NoInbox):
		return make([]Verdict, len(recs)), nil
	case planted.Is(planted.InboxWithoutName):
		consumer = "everybody"
	case planted.Is(planted.RecordApart):
		err := b.db.InTx(ctx, func(own sqltx.Tx) error {
			verdicts, err = b.store.Record(ctx, own, consumer, recs)
			return err
		})
		return verdicts, err
	case planted.Is(planted.KeyCheckedBefore):
		recs = b.older(recs)
	}
	return b.store.Record(ctx, tx, consumer, recs)
}

// pause waits before another try, 5 ms doubled up to 1 s; false: ctx has ended.
func pause(ctx context.Context, try int) bool {
	t := time.NewTimer(min(5*time.Millisecond<<min(try, 8), time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
