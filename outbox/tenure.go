package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
)

// tenure is one incarnation of a reader: its node row, its heartbeat, and the partitions that it holds. The heart beats
// in a goroutine of its own, so that neither a slow broker nor a slow handler stops it; partitions change hands only in
// the reader's goroutine, by adjust.
//
// Of a lease L the node row lives for 3/4 L after a beat and beats come every L/4, so that others take over within L
// of a death. Sends go on until 5/8 L after the start of the last good beat: an eighth before anybody else may begin.
type tenure struct {
	leases Leases
	class  string
	node   string
	lease  time.Duration
	table  Table
	log    *slog.Logger

	mark func() int64 // highest seq read, for rows that are counted when their owner dies

	mu         sync.Mutex
	validUntil time.Time // monotonic
	nodes      int
	free       int
	news       bool // of a beat, not seen by adjust yet
	fenced     bool

	own    Ownership // the reader's goroutine only, like all below
	held   int
	unsure bool // the answer to a take-over or to a giving back was lost
}

// join begins an incarnation.
func join(ctx context.Context, leases Leases, class string, t Table, lease time.Duration, mark func() int64, log *slog.Logger) (*tenure, error) {
	n := &tenure{leases: leases, class: class, node: sixfold.NewID(), lease: lease, table: t, mark: mark, log: log, own: Ownership{Class: class}}
	start := time.Now()
	if err := leases.Join(ctx, class, n.node, n.ttl()); err != nil {
		return nil, err
	}
	n.validUntil = start.Add(n.sendFor())
	return n, n.beat(ctx)
}

func (n *tenure) ttl() time.Duration     { return n.lease * 3 / 4 }
func (n *tenure) every() time.Duration   { return n.lease / 4 }
func (n *tenure) sendFor() time.Duration { return n.lease * 5 / 8 }

// beat keeps the node alive.
func (n *tenure) beat(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, n.ttl())
	defer cancel()
	nodes, free, err := n.leases.Beat(ctx, n.class, n.node, n.ttl(), n.mark())
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case errors.Is(err, ErrFenced):
		n.fenced, n.news = true, true
	case err == nil:
		n.validUntil, n.nodes, n.free, n.news = start.Add(n.sendFor()), nodes, free, true
	}
	return err
}

// run beats until ctx ends or the node is fenced. changed is called after each beat that tells something new.
func (n *tenure) run(ctx context.Context, changed func()) {
	tick := time.NewTicker(n.every())
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := n.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			n.log.Warn("outbox heartbeat failed; sending stops until one succeeds", "class", n.class, "err", err)
		case err == nil && failing:
			n.log.Info("outbox heartbeat is back", "class", n.class)
		}
		failing = err != nil
		changed()
		if errors.Is(err, ErrFenced) {
			return
		}
	}
}

// valid reports whether a send may begin now.
func (n *tenure) valid() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.fenced && time.Now().Before(n.validUntil)
}

// lost reports whether somebody has taken over.
func (n *tenure) lost() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fenced
}

func (n *tenure) fence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fenced = true
}

// claim answers how many partitions to take, or (negative) how many to give back, for a fair share. It answers each
// beat's news once.
func (n *tenure) claim() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.news || n.nodes == 0 {
		return 0
	}
	n.news = false
	share := (Partitions + n.nodes - 1) / n.nodes
	if n.held > share {
		return share - n.held
	}
	return min(n.free, share-n.held)
}

// take takes up to count partitions over and answers those it got.
func (n *tenure) take(ctx context.Context, count int, countSuspects bool) ([]Lease, error) {
	got, err := n.leases.Take(ctx, n.class, n.node, count, n.table, countSuspects)
	if errors.Is(err, ErrFenced) {
		n.fence()
	}
	if err != nil {
		n.unsure = true
		return nil, err
	}
	for _, l := range got {
		if !n.own.Partitions[l.Partition] {
			n.own.Partitions[l.Partition] = true
			n.held++
		}
	}
	return got, nil
}

// release stops owning count partitions, the highest first; the caller drains them and then gives them back.
func (n *tenure) release(count int) (ps []int16) {
	for p := int16(Partitions - 1); p >= 0 && len(ps) < count; p-- {
		if n.own.Partitions[p] {
			n.own.Partitions[p] = false
			n.held--
			ps = append(ps, p)
		}
	}
	return ps
}

// giveBack frees drained partitions.
func (n *tenure) giveBack(ctx context.Context, ps []int16) error {
	err := n.leases.GiveBack(ctx, n.class, n.node, ps)
	n.unsure = n.unsure || err != nil
	return err
}

// tidy frees, after a take-over or a giving back whose answer was lost, every partition that is not known to be held:
// one that is leased to a living node which does not read it would stand still. Nothing may be left to drain.
func (n *tenure) tidy(ctx context.Context) error {
	if !n.unsure {
		return nil
	}
	var ps []int16
	for p := range int16(Partitions) {
		if !n.own.Partitions[p] {
			ps = append(ps, p)
		}
	}
	if err := n.leases.GiveBack(ctx, n.class, n.node, ps); err != nil {
		return err
	}
	n.unsure = false
	return nil
}

// leave ends the incarnation.
func (n *tenure) leave(ctx context.Context) error { return n.leases.Leave(ctx, n.class, n.node) }
