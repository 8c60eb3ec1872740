package memory

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// node is one incarnation of a relay or a local consumer.
type node struct {
	class string
	until time.Time
	mark  int64 // the highest number that it has read
}

// lease is who reads a partition of a class. The zero value was never taken.
type lease struct {
	node    string
	epoch   int64
	suspect int64
	table   outbox.Table // of the last owner
}

// leases implements outbox.Leases. Nothing here waits for transactions of others.
type leases struct{ st *Store }

// live reports whether a node may hold leases: it may be late, as long as nobody has taken over.
func (s *Store) live(id string, now time.Time) bool {
	n := s.nodes[id]
	return n != nil && !n.until.Before(now)
}

// Join implements outbox.Leases. A node's id that is in use is an error.
func (l leases) Join(ctx context.Context, class, id string, ttl time.Duration) error {
	s := l.st
	if ttl <= 0 {
		return fmt.Errorf("memory: join %.64q: a lease of %v; give a positive duration", class, ttl)
	}
	return s.locked(ctx, "join", func() error {
		if s.nodes[id] != nil {
			return fmt.Errorf("memory: join %.64q: node %.64q is there already; give each incarnation an id of its own", class, id)
		}
		s.nodes[id] = &node{class: class, until: s.clock().Add(ttl)}
		if s.leases[class] == nil {
			s.leases[class] = new([outbox.Partitions]lease)
		}
		return nil
	})
}

// Beat implements outbox.Leases.
func (l leases) Beat(ctx context.Context, class, id string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	s := l.st
	err = s.locked(ctx, "beat", func() error {
		own := s.nodes[id]
		if own == nil || own.class != class {
			return outbox.ErrFenced
		}
		now := s.clock()
		own.until = now.Add(ttl)
		if mark != 0 {
			own.mark = mark
		}
		for other, n := range s.nodes {
			if n.class == class && (other == id || s.live(other, now)) {
				nodes++
			}
		}
		for _, p := range s.leases[class] {
			if p.node != id && !s.live(p.node, now) {
				free++
			}
		}
		return nil
	})
	return nodes, free, err
}

// Take implements outbox.Leases. The leases come in order of partition.
func (l leases) Take(ctx context.Context, class, id string, n int, t outbox.Table, countSuspects bool) (taken []outbox.Lease, err error) {
	s := l.st
	err = s.locked(ctx, "take leases", func() error {
		s.bury(class, id)
		if own := s.nodes[id]; own == nil || own.class != class {
			return outbox.ErrFenced
		}
		all := s.leases[class]
		for p := range all {
			if all[p].node != "" && all[p].table != t {
				return fmt.Errorf("memory: take leases: class %.64q is a transport and a local consumer at once; give one of them another name", class)
			}
		}
		for p := range all {
			if all[p].node != "" || len(taken) == n {
				continue
			}
			got := outbox.Lease{Partition: int16(p), Epoch: all[p].epoch + 1, Suspect: all[p].suspect}
			all[p] = lease{node: id, epoch: got.Epoch, table: t}
			taken = append(taken, got)
			if countSuspects && got.Suspect > 0 {
				s.countSuspects(class, t, got)
			}
		}
		return nil
	})
	return taken, err
}

// bury removes the dead nodes of a class, other than the one that asks, and frees what they held.
func (s *Store) bury(class, asks string) {
	now := s.clock()
	all := s.leases[class]
	for id, n := range s.nodes {
		if n.class != class || id == asks || s.live(id, now) {
			continue
		}
		delete(s.nodes, id)
		for p := range all {
			if all[p].node == id {
				all[p].node, all[p].suspect = "", max(all[p].suspect, n.mark)
			}
		}
	}
}

// countSuspects raises the attempts of the rows that a dead owner may have begun. A handler's open transaction that has
// removed one does not hold it up: if that is rolled back, the row is there with the attempt.
func (s *Store) countSuspects(class string, t outbox.Table, of outbox.Lease) {
	cells := s.rows[t].cells
	s.rows[t].each(0, of.Suspect, func(r *row) bool {
		if r.Class == class && r.Partition == of.Partition {
			counted := *r
			counted.Attempts = min(r.Attempts, math.MaxInt16-1) + 1
			cells[r.Seq].now = &counted
		}
		return true
	})
}

// GiveBack implements outbox.Leases.
func (l leases) GiveBack(ctx context.Context, class, id string, partitions []int16) error {
	s := l.st
	return s.locked(ctx, "give leases back", func() error {
		all := s.leases[class]
		for _, p := range partitions {
			if all != nil && p >= 0 && int(p) < len(all) && all[p].node == id {
				all[p].node, all[p].suspect = "", 0
			}
		}
		return nil
	})
}

// Leave implements outbox.Leases.
func (l leases) Leave(ctx context.Context, class, id string) error {
	s := l.st
	return s.locked(ctx, "leave", func() error {
		if own := s.nodes[id]; own == nil || own.class != class {
			return nil
		}
		delete(s.nodes, id)
		all := s.leases[class]
		for p := range all {
			if all[p].node == id {
				all[p].node, all[p].suspect = "", 0
			}
		}
		return nil
	})
}
