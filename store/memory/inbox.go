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
	handled  bool // else it is a suspect: attempts were counted
	attempts int
	at       time.Time
}

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
	verdicts := make([]inbox.Verdict, len(recs))
	err = tx.do(ctx, what, func() error {
		now := b.st.clock()
		for _, i := range inOrder(recs) {
			key := recordKey{consumer, recs[i].Message}
			if err := b.st.records.free(ctx, tx, key); err != nil {
				return err
			}
			have := b.st.records.seen(tx, key)
			switch {
			case have == nil || !have.handled:
				verdicts[i] = inbox.First
				b.st.records.put(tx, key, &record{digest: recs[i].Digest, handled: true, at: now})
			case have.digest != recs[i].Digest:
				verdicts[i] = inbox.Reused
			default:
				verdicts[i] = inbox.Handled
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return verdicts, nil
}

// Suspect implements inbox.Store.
func (b *Inbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	attempts := make([]int, len(recs))
	err := b.inTx(ctx, "count attempts in the inbox", consumer, recs, func(tx *Tx, i int, key recordKey, have *record) {
		if have == nil {
			have = &record{}
		}
		if have.handled {
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
		if have != nil && !have.handled {
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
			if c.by == nil && c.now.at.Before(before) {
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

// Passing implements inbox.Store.
func (b *Inbox) Passing(err error) bool { return errors.Is(err, ErrDeadlock) }
