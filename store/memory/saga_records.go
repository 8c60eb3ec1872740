package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/saga"
)

// sagaRecords implements saga.RecordStore.
type sagaRecords struct{ st *Store }

func compareInstances(a, b *saga.Instance) int {
	return cmp.Or(cmp.Compare(a.Saga, b.Saga), cmp.Compare(a.Key, b.Key), a.Generation-b.Generation)
}

// each calls fn for every instance that is committed.
func (r sagaRecords) each(ctx context.Context, what string, fn func(*saga.Instance)) error {
	return r.st.locked(ctx, what, func() error {
		for _, c := range r.st.sagaRows {
			if c.now != nil {
				for _, in := range c.now.all {
					fn(in)
				}
			}
		}
		return nil
	})
}

// List implements saga.RecordStore.
func (r sagaRecords) List(ctx context.Context, f saga.Filter, p saga.Page) (all []saga.Instance, err error) {
	behind := &saga.Instance{Saga: p.AfterSaga, Key: p.AfterKey, Generation: p.AfterGeneration}
	now := r.st.now()
	err = r.each(ctx, "list instances", func(in *saga.Instance) {
		switch {
		case f.Saga != "" && in.Saga != f.Saga, f.Key != "" && in.Key != f.Key, f.ID != "" && in.ID != f.ID, f.Step != "" && in.Step != f.Step:
		case f.Status != 0 && in.Status != f.Status, f.Live && in.Status.Ended(), f.Idle > 0 && now.Sub(in.Changed) < f.Idle:
		case compareInstances(in, behind) <= 0:
		default:
			all = append(all, *cloneInstance(in))
		}
	})
	slices.SortFunc(all, func(a, b saga.Instance) int { return compareInstances(&a, &b) })
	all = all[:min(p.Limit, len(all))]
	for i := range all {
		if !f.Full {
			all[i].State, all[i].Timers = nil, nil
		}
	}
	return all, err
}

// History implements saga.RecordStore.
func (r sagaRecords) History(ctx context.Context, id string, after int64, limit int) (all []saga.Entry, err error) {
	err = r.st.locked(ctx, "read a journal", func() error {
		for n, c := range r.st.journal {
			if c.now != nil && c.now.Instance == id && n > after {
				all = append(all, *c.now)
			}
		}
		slices.SortFunc(all, func(a, b saga.Entry) int { return cmp.Compare(a.N, b.N) })
		all = all[:min(limit, len(all))]
		return nil
	})
	return all, err
}

// Counts implements saga.RecordStore.
func (r sagaRecords) Counts(ctx context.Context, name string) (all []saga.Count, err error) {
	counted := make(map[saga.Count]int64)
	err = r.each(ctx, "count instances", func(in *saga.Instance) {
		if name == "" || in.Saga == name {
			counted[saga.Count{Saga: in.Saga, Status: in.Status, Step: in.Step}]++
		}
	})
	for c, n := range counted {
		c.N = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b saga.Count) int {
		return cmp.Or(cmp.Compare(a.Saga, b.Saga), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Step, b.Step))
	})
	return all, err
}

// Schemas implements saga.RecordStore.
func (r sagaRecords) Schemas(ctx context.Context) (all []saga.SchemaCount, err error) {
	counted := make(map[saga.SchemaCount]int64)
	err = r.each(ctx, "count instances", func(in *saga.Instance) {
		if !in.Status.Final() {
			counted[saga.SchemaCount{Saga: in.Saga, Schema: in.Schema}]++
		}
	})
	for c, n := range counted {
		c.N = n
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b saga.SchemaCount) int {
		return cmp.Or(cmp.Compare(a.Saga, b.Saga), a.Schema-b.Schema)
	})
	return all, err
}

// Purge implements saga.RecordStore.
func (r sagaRecords) Purge(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	s := r.st
	err = s.locked(ctx, "purge instances", func() error {
		before := s.now().Add(-keep)
		gone := map[string]bool{}
		for key, c := range s.sagaRows {
			if c.by != nil || c.now == nil {
				continue
			}
			kept := slices.DeleteFunc(slices.Clone(c.now.all), func(in *saga.Instance) bool {
				old := in.Status.Final() && in.Ended.Before(before) && len(gone) < limit
				if old {
					gone[in.ID] = true
				}
				return old
			})
			if len(kept) == 0 {
				delete(s.sagaRows, key)
			} else {
				c.now = &conversation{kept}
			}
		}
		for number, c := range s.journal {
			if c.now != nil && gone[c.now.Instance] {
				delete(s.journal, number)
			}
		}
		n = len(gone)
		return nil
	})
	return n, err
}
