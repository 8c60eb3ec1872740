package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// keeper implements outbox.Keeper.
type keeper struct{ st *Store }

// classStats is what is collected of one class.
type classStats struct {
	outbox.ClassStats
	partitions [outbox.Partitions]outbox.PartitionStats
}

// Stats implements outbox.Keeper. It looks at every row.
func (k keeper) Stats(ctx context.Context, t outbox.Table) (out outbox.Stats, err error) {
	s := k.st
	classes := map[string]*classStats{}
	class := func(name string) *classStats {
		if classes[name] == nil {
			classes[name] = &classStats{ClassStats: outbox.ClassStats{Class: name}}
		}
		return classes[name]
	}
	err = s.locked(ctx, "read the statistics of "+t.String(), func() error {
		now := s.clock()
		s.rows[t].each(0, maxSeq, func(r *row) bool {
			c, age := class(r.Class), max(0, now.Sub(r.created))
			p := &c.partitions[r.Partition]
			c.Pending, p.Pending = c.Pending+1, p.Pending+1
			c.Oldest, p.Oldest = max(c.Oldest, age), max(p.Oldest, age)
			return true
		})
		for name, all := range s.leases {
			s.owners(name, all, t, now, class)
		}
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		c := classes[name]
		for i := range c.partitions {
			p := &c.partitions[i]
			p.Partition = int16(i)
			if p.Pending > 0 || p.Owner != "" {
				c.Partitions = append(c.Partitions, *p)
			}
		}
		out.Pending += c.Pending
		out.Oldest = max(out.Oldest, c.Oldest)
		out.Classes = append(out.Classes, c.ClassStats)
	}
	return out, err
}

// owners adds who reads a class, if it is one of table t.
func (s *Store) owners(name string, all *[outbox.Partitions]lease, t outbox.Table, now time.Time, class func(string) *classStats) {
	ofTable := false
	for i := range all {
		if all[i].epoch == 0 || all[i].table != t {
			continue
		}
		ofTable = true
		if s.live(all[i].node, now) {
			c := class(name)
			c.Consumed = true
			c.partitions[i].Owner, c.partitions[i].Epoch = all[i].node, all[i].epoch
		}
	}
	for id, n := range s.nodes {
		if ofTable && n.class == name && s.live(id, now) {
			class(name).Nodes++
		}
	}
}

// Purge implements outbox.Keeper. Delivered rows are not kept, so only claims can be past their time.
func (k keeper) Purge(ctx context.Context, limit int) (n int, err error) {
	s := k.st
	err = s.locked(ctx, "purge published ids", func() error {
		now := s.clock()
		for key, c := range s.published {
			if n >= limit {
				break
			}
			if c.by == nil && !c.now.until.IsZero() && c.now.until.Before(now) {
				delete(s.published, key)
				n++
			}
		}
		return nil
	})
	return n, err
}

// Check implements outbox.Keeper. There is nothing to check, but something to be said.
func (k keeper) Check(ctx context.Context) (warnings []string, err error) {
	err = k.st.locked(ctx, "check", func() error { return nil })
	return []string{"the outbox is in the memory of this process: its messages end with it; use a database where they must not"}, err
}
