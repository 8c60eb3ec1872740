package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// publisher writes business transactions until enough messages are committed.
type publisher[X any] struct {
	*process
	business[X]
	box      *outbox.Outbox
	quick    sqltx.DB[X] // commits in one round trip
	slow     sqltx.DB[X]
	txs      *journal
	sum      atomic.Int64 // committed, by the ledger
	pending  atomic.Int64 // rows that wait in outbox and local
	poisoned atomic.Bool  // the poison messages are committed
}

// runPublisher returns nil when all messages are committed, or ctx has ended.
func runPublisher[X any](ctx context.Context, p *process, b business[X]) error {
	box, err := outbox.New(p.store.Outbox(), &outbox.Options{Source: "torture"}, brokers[p.Options.Broker].routes()...)
	if err != nil {
		return err
	}
	pub := &publisher[X]{process: p, business: b, box: box, quick: b.fast(), slow: b.plain()}
	pub.poisoned.Store(len(p.Options.Poison) == 0)
	if pub.txs, err = openJournal(p.path("txs")); err != nil {
		return err
	}
	pub.look(ctx)
	working, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for i := range p.Options.Writers {
		wg.Go(func() { newWriter(pub, i).run(working) })
	}
	for pub.sum.Load() < int64(p.Options.Messages) || !pub.poisoned.Load() {
		if !wait(ctx, lookEvery) {
			break
		}
		pub.look(ctx)
	}
	stop()
	wg.Wait()
	return nil
}

// lookEvery is how often the publisher looks at the queues: counting them walks over what was deleted and not yet vacuumed,
// which took a sixth of the database's time when it was done every 20 ms.
const lookEvery = 100 * time.Millisecond

// look reads how far the ledger and the queues are. While the database is away nothing changes.
func (p *publisher[X]) look(ctx context.Context) {
	var sum, pending, poison int64
	err := p.db.row(ctx, `SELECT (SELECT sum(n) FROM ledger_key), (SELECT count(*) FROM sixfold.outbox) + (SELECT count(*) FROM sixfold.local),
  (SELECT count(*) FROM ledger_poison)`, nil, &sum, &pending, &poison)
	if err != nil {
		return
	}
	p.sum.Store(sum)
	p.pending.Store(pending)
	p.poisoned.Store(int(poison) >= len(p.Options.Poison))
}

// open reports whether another transaction may begin.
func (p *publisher[X]) open() bool {
	sum := p.sum.Load()
	return sum < p.until.Load() && (sum < int64(p.Options.Messages) || !p.poisoned.Load()) && p.pending.Load() < int64(p.Options.Pending)
}

// run writes one transaction after the other.
func (w *writer[X]) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !w.open() {
			wait(ctx, 5*time.Millisecond)
			continue
		}
		w.transaction(ctx)
	}
}

// transaction writes one, and does it again where its messages have ids of our choice and it is not known whether they
// were committed: then either it succeeds, or it is refused as a duplicate.
func (w *writer[X]) transaction(ctx context.Context) {
	plan := w.plan()
	for range 5 {
		said, err := w.attempt(ctx, plan)
		if said == OK || said == Duplicate || errors.Is(err, errOnPurpose) || !plan.ownIDs {
			w.sum.Add(int64(len(plan.keys))) // until look knows better
			return
		}
		if !wait(context.WithoutCancel(ctx), 50*time.Millisecond) {
			return
		}
	}
}
