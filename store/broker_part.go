package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// errNoClaims says why a broker's rows are not claimed in a handler's transaction.
var errNoClaims = errors.New("store: rows of a broker are settled, not claimed: a message may be there twice, so that the inbox records it")

// brokerQueue implements outbox.Queue for one group of one topic.
type brokerQueue struct{ part *brokerPart }

// Read implements outbox.Queue.
func (q brokerQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	return q.part.broker.tables.read(ctx, q.part.id, after, limit, own)
}

// LookUp implements outbox.Queue. The rows of a group become visible in their order, so a gap never fills.
func (q brokerQueue) LookUp(context.Context, []outbox.Range, int, outbox.Ownership) ([]outbox.Row, error) {
	return nil, nil
}

// Writers implements outbox.Queue.
func (q brokerQueue) Writers(context.Context) ([]string, error) { return nil, nil }

// Settle implements outbox.Queue.
func (q brokerQueue) Settle(ctx context.Context, node string, seqs []int64) (int, error) {
	n, err := q.part.broker.tables.settle(ctx, q.part.id, node, seqs)
	if err == nil && n < 0 {
		return 0, outbox.ErrFenced
	}
	return n, err
}

// Claim implements outbox.Queue.
func (q brokerQueue) Claim(context.Context, sqltx.Tx, string, []int64) (there, behind []int64, err error) {
	return nil, nil, errNoClaims
}

// Bury implements outbox.Queue.
func (q brokerQueue) Bury(context.Context, string, []outbox.DeadRow) (int, error) {
	return 0, errNotBuried
}

// brokerLeases implements outbox.Leases with the tables of all leases.
type brokerLeases struct {
	outbox.Leases
	part *brokerPart
}

// Join implements outbox.Leases. Whoever was away for long may have been taken for dead, so it enters the group again.
func (l brokerLeases) Join(ctx context.Context, class, node string, ttl time.Duration) error {
	p := l.part
	if !p.joined.Swap(true) {
		return l.Leases.Join(ctx, class, node, ttl)
	}
	id, err := p.broker.tables.attach(ctx, p.topic, p.name, p.kind, false, p.id)
	switch {
	case err != nil:
		return err
	case id != p.id:
		return fmt.Errorf("store: join group %s of topic %s: it was removed and made again meanwhile; subscribe again", quoteCut(p.name), quoteCut(p.topic))
	}
	return l.Leases.Join(ctx, class, node, ttl)
}

// Take implements outbox.Leases. Suspects are always marked: attempts of a broker's rows say that they were handed out.
func (l brokerLeases) Take(ctx context.Context, class, node string, n int, _ outbox.Table, _ bool) ([]outbox.Lease, error) {
	return l.part.broker.tables.take(ctx, l.part.id, class, node, n)
}

// brokerKeeper implements outbox.Keeper.
type brokerKeeper struct{ broker *Broker }

// Stats implements outbox.Keeper. What a broker holds is Broker.Groups.
func (k brokerKeeper) Stats(context.Context, outbox.Table) (outbox.Stats, error) {
	return outbox.Stats{}, nil
}

// Purge implements outbox.Keeper.
func (k brokerKeeper) Purge(ctx context.Context, limit int) (int, error) {
	return k.broker.tables.Purge(ctx, limit)
}

// Check implements outbox.Keeper.
func (k brokerKeeper) Check(ctx context.Context) ([]string, error) { return k.broker.Check(ctx) }
