package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// errOnPurpose rolls a transaction back.
var errOnPurpose = errors.New("rolled back on purpose")

// writer is one goroutine of the publisher.
type writer[X any] struct {
	*publisher[X]
	rng *rand.Rand
}

func newWriter[X any](p *publisher[X], i int) *writer[X] {
	return &writer[X]{p, rand.New(rand.NewPCG(p.Options.Seed, uint64(p.Incarnation)<<16|uint64(i)))}
}

// plan is what a transaction will do.
type plan struct {
	how       string // "do", "do plain" or "publish"
	keys      []string
	ownIDs    bool
	ids       []string
	rollBack  bool
	savepoint bool
	hold      time.Duration
	cut       bool
	swallow   bool
	poison    bool
}

func (w *writer[X]) per(cent int) bool { return w.rng.IntN(100) < cent }

// plan draws a transaction. Its keys are sorted, so that transactions do not deadlock; a key that comes several times has
// several messages in flight at once.
func (w *writer[X]) plan() *plan {
	o := &w.Options
	p := &plan{how: [...]string{"do", "do plain", "publish", "publish"}[w.rng.IntN(4)]}
	n := 1 + w.rng.IntN(5)
	switch {
	case w.per(5):
		for range 3 + w.rng.IntN(3) {
			p.keys = append(p.keys, hotKey)
		}
	case w.per(10):
		key := keyName(1 + w.rng.IntN(o.Keys-1))
		for range n {
			p.keys = append(p.keys, key)
		}
	default:
		for range n {
			p.keys = append(p.keys, keyName(1+w.rng.IntN(o.Keys-1)))
		}
		slices.Sort(p.keys)
	}
	p.rollBack = w.per(10)
	p.ownIDs = w.per(20)
	p.savepoint = p.how == "publish" && w.per(5)
	if w.per(o.Hold) && p.keys[0] != hotKey {
		least := o.HoldFor / 15
		p.hold = least + time.Duration(w.rng.Int64N(int64(o.HoldFor-least)))
	}
	p.cut = !p.rollBack && w.rng.IntN(map[bool]int{true: 60, false: 300}[p.ownIDs]) == 0
	p.swallow = w.per(50)
	p.poison = !w.poisoned.Load() && w.sum.Load() > int64(o.Messages)/3 && p.keys[0] != hotKey && !p.cut && !p.rollBack
	if p.ownIDs {
		for range p.keys {
			p.ids = append(p.ids, sixfold.NewID())
		}
	}
	return p
}

// attempt does a transaction and answers what is known of it.
func (w *writer[X]) attempt(ctx context.Context, p *plan) (Said, error) {
	t := &Tx{How: p.how, Held: p.hold > 0, Said: Begun}
	id, err := parseMsgID(sixfold.NewID())
	if err != nil {
		return Unknown, err
	}
	t.ID = id
	finished := false // fn has done its part, so COMMIT may have been sent
	var conn *cuttable
	ctx = context.WithoutCancel(ctx) // a planned stop lets transactions end
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body := func(tx X, publish func(Order, ...outbox.Option) (string, error)) error {
		if err := w.work(ctx, tx, p, t, publish); err != nil {
			return err
		}
		w.txs.add(t)
		if p.hold > 0 {
			wait(ctx, p.hold)
		}
		if p.rollBack {
			return errOnPurpose
		}
		if p.cut {
			p.cut = false
			conn = w.cut(ctx, tx, p.how == "do", p.swallow)
		}
		finished = true
		return nil
	}
	switch p.how {
	case "publish":
		err = w.begin(ctx, func(tx X) error {
			return body(tx, func(m Order, opts ...outbox.Option) (string, error) {
				return w.publish(ctx, tx, m, opts)
			})
		})
	default:
		db := w.quick
		if p.how == "do plain" {
			db = w.slow
		}
		err = outbox.Do(ctx, w.box, db, func(_ context.Context, tx X, u *outbox.Unit) error {
			return body(tx, func(m Order, opts ...outbox.Option) (string, error) {
				if planted.Is(planted.PublishApart) {
					return w.publish(ctx, tx, m, opts)
				}
				return u.Publish(m, opts...), nil
			})
		})
	}
	if t.Messages == nil {
		return RolledBack, err // nothing was published
	}
	said := w.saidOf(p.how, err, finished)
	line := Tx{ID: t.ID, Said: said, Cut: conn != nil && conn.done.Load()}
	if err != nil && !errors.Is(err, errOnPurpose) {
		line.Err = err.Error()
	}
	w.txs.add(line)
	if said == OK && p.how == "publish" {
		w.box.Committed()
	}
	return said, err
}

// saidOf is what the answer of a transaction says about it. Do finds out by itself, and says when it could not; a plain
// COMMIT that was not answered is unknown.
func (w *writer[X]) saidOf(how string, err error, finished bool) Said {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, outbox.ErrDuplicateMessage):
		return Duplicate
	case errors.Is(err, sqltx.ErrCommitUnknown):
		return Unknown
	case !finished || how != "publish" || w.rolledBack(err):
		return RolledBack
	}
	return Unknown
}

// work is what the application itself writes, and then the messages. The counters' row locks order the writers of a
// key, so that its numbers have no gaps.
func (w *writer[X]) work(ctx context.Context, tx X, p *plan, t *Tx, publish func(Order, ...outbox.Option) (string, error)) error {
	numbers, err := w.count(ctx, tx, p.keys, t.ID.String())
	if err != nil {
		return fmt.Errorf("torture: count: %w", err)
	}
	poison := ""
	if p.poison {
		poison = w.Options.Poison[w.rng.IntN(len(w.Options.Poison))]
	}
	for n := int64(1); n < numbers[0] && poison != ""; n++ {
		if w.Options.fate(poison, p.keys[0], n).always { // behind it the poison would wait for the repair
			poison = ""
		}
	}
	if poison != "" {
		first, err := w.business.poison(ctx, tx, poison, p.keys[0], numbers[0])
		if err != nil {
			return fmt.Errorf("torture: note the poison: %w", err)
		}
		if !first {
			poison = ""
		}
	}
	for i, key := range p.keys {
		m := Order{Key: key, N: numbers[i]}
		if i == 0 {
			m.Poison = poison
		}
		var opts []outbox.Option
		if p.ownIDs {
			opts = append(opts, outbox.ID(p.ids[i]))
		}
		if p.savepoint {
			if err := w.undone(ctx, tx, t, m); err != nil {
				return err
			}
		}
		text, err := publish(m, opts...)
		if text == "" && p.ownIDs {
			text = p.ids[i]
		}
		id, perr := parseMsgID(text)
		if perr == nil {
			t.Messages = append(t.Messages, Message{ID: id, Key: key, N: numbers[i]})
		}
		if err := errors.Join(err, perr); err != nil {
			if len(t.Messages) > 0 {
				w.txs.add(t)
			}
			return err
		}
	}
	return nil
}

// undone publishes m below a savepoint and takes it back.
func (w *writer[X]) undone(ctx context.Context, tx X, t *Tx, m Order) error {
	return w.below(ctx, tx, func(below X) error {
		text, err := w.box.Publish(ctx, w.slow.Tx(below), m)
		if err != nil {
			return err
		}
		id, err := parseMsgID(text)
		if err == nil {
			t.Messages = append(t.Messages, Message{ID: id, Key: m.Key, N: m.N, Undone: true})
		}
		return err
	})
}

// publish records m in tx; with the bug planted, in a transaction of its own.
func (w *writer[X]) publish(ctx context.Context, tx X, m Order, opts []outbox.Option) (id string, err error) {
	if planted.Is(planted.PublishApart) {
		err = w.begin(ctx, func(own X) error {
			id, err = w.box.Publish(ctx, w.slow.Tx(own), m, opts...)
			return err
		})
		return id, err
	}
	return w.box.Publish(ctx, w.slow.Tx(tx), m, opts...)
}
