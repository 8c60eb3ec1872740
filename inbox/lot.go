package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// lot is what a Box does with messages that could not be handled: it implements bus.Parking, and bus.Claims for the
// deliveries that it makes of them.
type lot[X any] struct{ b *Box[X] }

// spot is the token of a delivery that comes from a line.
type spot struct {
	hold  Hold
	n     int64
	epoch int // redrives
}

// errOnlyAsked rolls back what was only asked.
var errOnlyAsked = errors.New("inbox: asked, not entered")

// Park implements bus.Parking.
func (l *lot[X]) Park(ctx context.Context, consumer string, f bus.Failure) error {
	if s, ok := f.Token.(*spot); ok {
		return l.fail(ctx, s, f)
	}
	item := itemOf(f.Delivery)
	item.Enter = f.Claims == nil && !errors.Is(f.Err, ErrIDReuse) // of a reused id the inbox knows the other message
	if errors.Is(f.Err, ErrAside) {
		item.Key = ""
	}
	item.Attempts, item.Delay = f.Attempts, f.Delay
	item.Dead, item.Loose = f.Dead != "", f.Dead != "" && (f.GoOn || item.Key == "")
	item.Reason, item.Error, item.Node = f.Dead, f.Text, f.Node
	err := l.noted(ctx, &f, func(also note) error {
		return l.again(ctx, "park a message", func(tx sqltx.Tx) error {
			if f.Claims != nil {
				found, err := f.Claims.Claim(ctx, tx, []*bus.Delivery{f.Delivery})
				if err != nil || found[0] == bus.Gone {
					return err
				}
			}
			if _, err := l.b.parking.Park(ctx, tx, consumer, []Item{item}); err != nil || also == nil {
				return err
			}
			return also(ctx, tx)
		})
	})
	if err == nil && f.Claims != nil {
		f.Claimed = true
	}
	if planted.Is(planted.KeyCheckedBefore) {
		l.b.parkedAt.Store(f.Key, time.Now())
	}
	return err
}

// fail puts down an attempt at a message that was parked before.
func (l *lot[X]) fail(ctx context.Context, s *spot, f bus.Failure) error {
	err := l.noted(ctx, &f, func(also note) error {
		return l.b.parking.Fail(ctx, Failed{Hold: s.hold, N: s.n, Attempts: f.Attempts, Delay: f.Delay,
			Dead: f.Dead != "", Loose: f.Dead != "" && (f.GoOn || f.Key == ""), Reason: f.Dead, Error: f.Text, Node: f.Node, Also: also})
	})
	if errors.Is(err, ErrNotOurs) {
		return fmt.Errorf("%w: %w", bus.ErrLost, err)
	}
	return err
}

// Admit implements bus.Parking.
func (l *lot[X]) Admit(ctx context.Context, consumer string, d *bus.Delivery) (done func(context.Context) error, run bool, err error) {
	ds := []*bus.Delivery{d}
	if s, ok := d.Token.(*spot); ok {
		return func(ctx context.Context) error {
			return l.again(ctx, "put down a message as handled", func(tx sqltx.Tx) error {
				_, err := l.b.parking.Take(ctx, tx, []Ticket{{N: s.n, Token: s.hold.Token}})
				return err
			})
		}, true, nil
	}
	recs, places := records(ds)
	claimed := false
	err = l.again(ctx, "ask whether a message may run", func(tx sqltx.Tx) error {
		first, err := l.b.decide(ctx, tx, consumer, ds, recs, places, &claimed)
		if err == nil && len(first) > 0 {
			return errOnlyAsked
		}
		return err
	})
	if run = errors.Is(err, errOnlyAsked); run {
		return nil, true, nil
	}
	if err == nil && claimed {
		d.Claimed = true
	}
	return nil, false, err
}

// again runs fn in a transaction, and once more as long as it fails by nobody's fault.
func (l *lot[X]) again(ctx context.Context, what string, fn func(sqltx.Tx) error) error {
	for try := 0; ; try++ {
		err := l.b.db.InTx(ctx, fn)
		switch {
		case errors.Is(err, ErrLineFull):
			return fmt.Errorf("inbox: %s: %w: %w", what, bus.ErrUnavailable, err)
		case err == nil || !l.b.store.Passing(err):
			return err
		case !pause(ctx, try):
			return fmt.Errorf("inbox: %s: %w: %w", what, bus.ErrUnavailable, err)
		}
	}
}

// Claim implements bus.Parking.
func (l *lot[X]) Claim(ctx context.Context, consumer string, ask bus.ParkedAsk) (bus.ParkedWork, error) {
	got, err := l.b.parking.Claim(ctx, consumer, Ask{Token: sixfold.NewID(), Lines: ask.Lines, Rows: ask.Rows, Hold: ask.Hold, Count: ask.Count})
	if err != nil {
		return bus.ParkedWork{}, err
	}
	work := bus.ParkedWork{Next: got.Next, Waiting: got.Waiting, Lines: make([]*bus.ParkedLine, len(got.Lines))}
	for i := range got.Lines {
		ln := &got.Lines[i]
		hold := Hold{Line: ln.ID, Token: ln.Token}
		out := &bus.ParkedLine{Attempts: ln.Attempts, Suspect: ln.Suspect, Token: hold, Deliveries: make([]*bus.Delivery, len(ln.Rows))}
		for j := range ln.Rows {
			out.Deliveries[j] = l.delivery(&ln.Rows[j], hold)
		}
		if planted.Is(planted.LineBackwards) {
			slices.Reverse(out.Deliveries)
		}
		if planted.Is(planted.CrashUncounted) && out.Suspect {
			out.Suspect, out.Attempts = false, 0
		}
		work.Lines[i] = out
	}
	return work, nil
}

// delivery makes one of a parked row.
func (l *lot[X]) delivery(w *Waiting, hold Hold) *bus.Delivery {
	d := &bus.Delivery{Topic: w.Topic, Attempts: w.Attempts, Claims: parkedClaims[X]{l}, Token: &spot{hold, w.N, w.Epoch}}
	d.ID, d.Key, d.Body = w.ID, w.Key, w.Body
	_, err := outbox.DecodeAttrs(w.Attrs, &d.Envelope)
	switch {
	case w.Damaged != "":
		d.Damaged = errors.New(w.Damaged)
	case err != nil:
		d.Damaged = err
	}
	return d
}

// Tend implements bus.Parking.
func (l *lot[X]) Tend(ctx context.Context, keep []*bus.ParkedLine, hold time.Duration, back []*bus.ParkedLine) ([]bool, error) {
	holds, returns := make([]Hold, len(keep)), make([]Return, len(back))
	for i, ln := range keep {
		holds[i] = ln.Token.(Hold)
	}
	for i, ln := range back {
		returns[i] = Return{Hold: ln.Token.(Hold)}
		returns[i].Begins = ln.Begun
	}
	kept, err := l.b.parking.Tend(ctx, holds, hold, returns)
	if err != nil {
		return nil, err
	}
	ours := make([]bool, len(keep))
	for i := range holds {
		_, ours[i] = slices.BinarySearch(kept, holds[i].Line)
	}
	return ours, nil
}

// Begin implements bus.Parking.
func (l *lot[X]) Begin(ctx context.Context, ln *bus.ParkedLine, hold time.Duration) (bool, error) {
	h := ln.Token.(Hold)
	h.Begins = true
	kept, err := l.b.parking.Tend(ctx, []Hold{h}, hold, nil)
	return len(kept) == 1, err
}

// parkedClaims implements bus.Claims: the row leaves its line in the handler's transaction, which is its record.
type parkedClaims[X any] struct{ l *lot[X] }

// Claim implements bus.Claims.
func (c parkedClaims[X]) Claim(ctx context.Context, tx sqltx.Tx, ds []*bus.Delivery) ([]bus.Found, error) {
	tickets := make([]Ticket, len(ds))
	for i, d := range ds {
		s := d.Token.(*spot)
		tickets[i] = Ticket{N: s.n, Token: s.hold.Token}
	}
	there, err := c.l.b.parking.Take(ctx, tx, tickets)
	if err != nil {
		return nil, err
	}
	found := make([]bus.Found, len(ds))
	for i := range tickets {
		if _, ours := slices.BinarySearch(there, tickets[i].N); ours || planted.Is(planted.ClaimUnfenced) {
			found[i] = bus.Ours
		}
		if ds[i].Token.(*spot).epoch > 0 && planted.Is(planted.RedriveSwallowed) {
			found[i] = bus.Gone
		}
	}
	return found, nil
}

// itemOf is a delivery as it is parked. What no database takes as text is left out of what people look for; the
// attributes keep it.
func itemOf(d *bus.Delivery) Item {
	env := &d.Envelope
	item := Item{Record: RecordOf(env), ID: text(env.ID), Source: text(env.Source), Type: text(env.Type), Topic: text(d.Topic),
		Attrs: outbox.EncodeAttrs(env, outbox.Flags{}), Body: env.Body}
	if item.Key = text(env.Key); item.Key != env.Key {
		item.Key = "" // no message has that key
	}
	if d.Damaged != nil {
		item.Damaged = text(d.Damaged.Error())
	}
	return item
}

// text is s as every database takes it.
func text(s string) string {
	if !strings.ContainsRune(s, 0) && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
