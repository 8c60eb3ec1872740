package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type recordKey struct {
	consumer string
	message  [16]byte
}

// record is one message in the inbox of a consumer.
type record struct {
	digest   [16]byte
	state    state
	attempts int
	at       time.Time
}

// state of a record.
type state int

const (
	suspected state = iota // attempts were counted
	handled
	waiting
	dead
)

// verdicts are those on a record that is there.
var verdicts = [...]inbox.Verdict{handled: inbox.Handled, waiting: inbox.Parked, dead: inbox.Dead}

// inOrder answers the places of recs in an order that all transactions share, so that those with the same messages cannot
// wait for each other.
func inOrder(recs []inbox.Record) []int {
	order := make([]int, len(recs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(bytes.Compare(recs[a].Message[:], recs[b].Message[:]), a-b)
	})
	return order
}

// Record implements inbox.Store.
func (b *Inbox) Record(ctx context.Context, t sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	const what = "record in the inbox"
	tx, err := b.st.own(t, what)
	if err != nil {
		return nil, err
	}
	out := make([]inbox.Verdict, len(recs))
	err = tx.do(ctx, what, func() error {
		now := b.st.clock()
		for _, i := range inOrder(recs) {
			key := recordKey{consumer, recs[i].Message}
			if err := b.st.records.free(ctx, tx, key); err != nil {
				return err
			}
			have := b.st.records.seen(tx, key)
			switch {
			case have == nil || have.state == suspected:
				out[i] = inbox.First
				b.st.records.put(tx, key, &record{digest: recs[i].Digest, state: handled, at: now})
			case have.digest != recs[i].Digest:
				out[i] = inbox.Reused
			default:
				out[i] = verdicts[have.state]
			}
		}
		// After all waiting: whoever was parking the first one of a key has ended by now.
		for i := range recs {
			if out[i] == inbox.First && b.st.lineOf.seen(tx, lineKey{consumer, recs[i].Key}) != nil {
				out[i] = inbox.Behind
				b.st.records.put(tx, recordKey{consumer, recs[i].Message}, &record{digest: recs[i].Digest, state: waiting, at: now})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Suspect implements inbox.Store.
func (b *Inbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	attempts := make([]int, len(recs))
	err := b.inTx(ctx, "count attempts in the inbox", consumer, recs, func(tx *Tx, i int, key recordKey, have *record) {
		if have == nil {
			have = &record{}
		}
		if have.state != suspected {
			return
		}
		attempts[i] = min(have.attempts, math.MaxInt16-1) + 1
		b.st.records.put(tx, key, &record{digest: recs[i].Digest, attempts: attempts[i], at: b.st.clock()})
	})
	if err != nil {
		return nil, err
	}
	return attempts, nil
}

// Forget implements inbox.Store.
func (b *Inbox) Forget(ctx context.Context, consumer string, recs []inbox.Record) error {
	return b.inTx(ctx, "forget attempts in the inbox", consumer, recs, func(tx *Tx, _ int, key recordKey, have *record) {
		if have != nil && have.state == suspected {
			b.st.records.put(tx, key, nil)
		}
	})
}

// inTx calls fn, in one transaction of its own, for each of recs when no other transaction holds its record.
func (b *Inbox) inTx(ctx context.Context, what, consumer string, recs []inbox.Record, fn func(tx *Tx, i int, key recordKey, have *record)) error {
	if len(recs) == 0 {
		return nil
	}
	return b.st.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, what, func() error {
			for _, i := range inOrder(recs) {
				key := recordKey{consumer, recs[i].Message}
				if err := b.st.records.free(ctx, tx, key); err != nil {
					return err
				}
				fn(tx, i, key, b.st.records.seen(tx, key))
			}
			return nil
		})
	})
}

// Prune implements inbox.Store. What an open transaction holds stays.
func (b *Inbox) Prune(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	err = b.st.locked(ctx, "prune the inbox", func() error {
		before := b.st.clock().Add(-keep)
		var old []recordKey
		for key, c := range b.st.records {
			if c.by == nil && c.now.at.Before(before) && c.now.state != waiting && !(c.now.state == dead && b.st.isParked(key)) {
				old = append(old, key)
			}
		}
		slices.SortFunc(old, func(a, c recordKey) int { return b.st.records[a].now.at.Compare(b.st.records[c].now.at) })
		n = min(limit, len(old))
		for _, key := range old[:n] {
			delete(b.st.records, key)
		}
		return nil
	})
	return n, err
}

// Parking implements inbox.Store.
func (b *Inbox) Parking() inbox.Parking { return parking{b.st} }

// Passing implements inbox.Store.
func (b *Inbox) Passing(err error) bool { return errors.Is(err, ErrDeadlock) }
