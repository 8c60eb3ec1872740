package main

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// tapStore is a store that writes down take-overs and fences, and can be as slow as a distant one.
type tapStore struct {
	outbox.Store
	p *process
}

func (p *process) tapped() outbox.Store { return tapStore{p.store.Outbox(), p} }

// Leases implements outbox.Store.
func (s tapStore) Leases() outbox.Leases { return tapLeases{s.Store.Leases(), s.p} }

// Queue implements outbox.Store.
func (s tapStore) Queue(t outbox.Table) outbox.Queue { return tapQueue{s.Store.Queue(t), s.p, t} }

// Keeper implements outbox.Store.
func (s tapStore) Keeper() outbox.Keeper {
	if planted.Is(planted.SequenceCache) {
		return blindKeeper{s.Store.Keeper()}
	}
	return s.Store.Keeper()
}

// blindKeeper checks nothing, for the bug that the check would refuse.
type blindKeeper struct{ outbox.Keeper }

// Check implements outbox.Keeper.
func (blindKeeper) Check(context.Context) ([]string, error) { return nil, nil }

type tapLeases struct {
	outbox.Leases
	p *process
}

func (p *process) fenced(class string, err error) {
	if errors.Is(err, outbox.ErrFenced) {
		p.event(eventFenced, class, 1)
	}
}

// Take implements outbox.Leases.
func (l tapLeases) Take(ctx context.Context, class, node string, n int, t outbox.Table, countSuspects bool) ([]outbox.Lease, error) {
	got, err := l.Leases.Take(ctx, class, node, n, t, countSuspects)
	dead := 0
	for _, lease := range got {
		if lease.Suspect > 0 { // only an owner that died leaves a mark
			dead++
		}
	}
	if dead > 0 {
		l.p.event(eventTakeOver, class, dead)
	}
	l.p.fenced(class, err)
	return got, err
}

// Beat implements outbox.Leases.
func (l tapLeases) Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	nodes, free, err = l.Leases.Beat(ctx, class, node, ttl, mark)
	l.p.fenced(class, err)
	return nodes, free, err
}

type tapQueue struct {
	outbox.Queue
	p *process
	t outbox.Table
}

func (q tapQueue) slow() {
	if q.p.Options.Slow > 0 && q.t == outbox.ToBroker {
		time.Sleep(q.p.Options.Slow)
	}
}

// Read implements outbox.Queue.
func (q tapQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	q.slow()
	return q.Queue.Read(ctx, after, limit, own)
}

// LookUp implements outbox.Queue.
func (q tapQueue) LookUp(ctx context.Context, missing []outbox.Range, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	q.slow()
	return q.Queue.LookUp(ctx, missing, limit, own)
}

// Settle implements outbox.Queue.
func (q tapQueue) Settle(ctx context.Context, node string, seqs []int64) (int, error) {
	n, err := q.Queue.Settle(ctx, node, seqs)
	q.p.fenced(q.t.String(), err)
	return n, err
}

// Claim implements outbox.Queue.
func (q tapQueue) Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	there, behind, err = q.Queue.Claim(ctx, tx, node, seqs)
	q.p.fenced(q.t.String(), err)
	return there, behind, err
}

// tapInbox writes down which messages are suspected more than once.
type tapInbox struct {
	inbox.Store
	p *process
}

// Suspect implements inbox.Store.
func (i tapInbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	ns, err := i.Store.Suspect(ctx, consumer, recs)
	for j, n := range ns {
		if n > 1 {
			i.p.event(eventSuspect, consumer+" "+recs[j].Key, n)
		}
	}
	return ns, err
}

// Parking implements inbox.Store.
func (i tapInbox) Parking() inbox.Parking { return tapParking{i.Store.Parking(), i.p} }

// tapParking writes down which lines came from dead owners, and can be slow to keep them.
type tapParking struct {
	inbox.Parking
	p *process
}

// Claim implements inbox.Parking.
func (t tapParking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	got, err := t.Parking.Claim(ctx, consumer, ask)
	dead := 0
	for i := range got.Lines {
		if got.Lines[i].Suspect {
			dead++
		}
	}
	if dead > 0 {
		t.p.event(eventClaimed, consumer, dead)
	}
	return got, err
}

// Tend implements inbox.Parking.
func (t tapParking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) ([]int64, error) {
	wait(ctx, t.p.Options.SlowTend)
	return t.Parking.Tend(ctx, keep, hold, back)
}
