package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Sagas is the part of a Store for sagas; it implements saga.Store.
type Sagas struct{ st *Store }

// Sagas of the store. Always the same one.
func (s *Store) Sagas() *Sagas { return &s.sagas }

// Instances implements saga.Store.
func (s *Sagas) Instances() saga.InstanceStore { return instances{s.st} }

// Records implements saga.Store.
func (s *Sagas) Records() saga.RecordStore { return sagaRecords{s.st} }

// Passing implements saga.Store.
func (s *Sagas) Passing(err error) bool { return s.st.inbox.Passing(err) }

type sagaKey struct{ saga, key string }

// conversation is the instances of a saga and key, by generation. It is one row, so that whoever changes one of them holds all.
type conversation struct{ all []*saga.Instance }

// last is the latest instance, or nil.
func (c *conversation) last() *saga.Instance {
	if c == nil || len(c.all) == 0 {
		return nil
	}
	return c.all[len(c.all)-1]
}

// with is c with in in place of the instance of its id, or added. What a version points to never changes, so it is a copy.
func (c *conversation) with(in *saga.Instance) *conversation {
	own := cloneInstance(in)
	var all []*saga.Instance
	if c != nil {
		all = slices.Clone(c.all)
	}
	if at := slices.IndexFunc(all, func(i *saga.Instance) bool { return i.ID == in.ID }); at >= 0 {
		all[at] = own
	} else {
		all = append(all, own)
	}
	return &conversation{all}
}

func cloneInstance(in *saga.Instance) *saga.Instance {
	own := *in
	own.State, own.Timers = slices.Clone(in.State), slices.Clone(in.Timers)
	return &own
}

// instances implements saga.InstanceStore.
type instances struct{ st *Store }

// locked waits for the conversation, holds it and runs fn.
func (i instances) locked(ctx context.Context, t sqltx.Tx, what string, key sagaKey, fn func(tx *Tx, c *conversation) error) error {
	tx, err := i.st.own(t, what)
	if err != nil {
		return err
	}
	return tx.do(ctx, what, func() error {
		if err := i.st.sagaRows.free(ctx, tx, key); err != nil {
			return err
		}
		return fn(tx, i.st.sagaRows.seen(tx, key))
	})
}

// Load implements saga.InstanceStore.
func (i instances) Load(ctx context.Context, t sqltx.Tx, name, key, fresh string) (in *saga.Instance, err error) {
	k := sagaKey{name, key}
	err = i.locked(ctx, t, "load an instance", k, func(tx *Tx, c *conversation) error {
		if in = c.last(); in == nil && fresh == "" {
			return nil
		}
		if in == nil {
			in = i.enter(k, fresh, 1)
			c = c.with(in)
		}
		i.st.sagaRows.put(tx, k, c) // which holds it
		in = cloneInstance(in)
		return nil
	})
	return in, err
}

func (i instances) enter(k sagaKey, id string, generation int) *saga.Instance {
	now := i.st.now()
	return &saga.Instance{Saga: k.saga, Key: k.key, ID: id, Generation: generation, Status: saga.Running, Started: now, Changed: now}
}

// Succeed implements saga.InstanceStore.
func (i instances) Succeed(ctx context.Context, t sqltx.Tx, ended *saga.Instance, fresh string) (in *saga.Instance, err error) {
	k := sagaKey{ended.Saga, ended.Key}
	err = i.locked(ctx, t, "begin an instance again", k, func(tx *Tx, c *conversation) error {
		if last := c.last(); last == nil || last.ID != ended.ID {
			return saga.ErrConflict
		}
		in = i.enter(k, fresh, ended.Generation+1)
		i.st.sagaRows.put(tx, k, c.with(in))
		return nil
	})
	return in, err
}

// Save implements saga.InstanceStore.
func (i instances) Save(ctx context.Context, t sqltx.Tx, in *saga.Instance, e *saga.Entry) error {
	k := sagaKey{in.Saga, in.Key}
	return i.locked(ctx, t, "save an instance", k, func(tx *Tx, c *conversation) error {
		last := c.last()
		if last == nil || last.ID != in.ID || last.Version != in.Version {
			return saga.ErrConflict
		}
		in.Version++
		in.Changed = i.st.now()
		switch {
		case !in.Status.Final():
			in.Ended = time.Time{} // a person brought it back
		case in.Ended.IsZero():
			in.Ended = in.Changed
		}
		i.st.sagaRows.put(tx, k, c.with(in))
		i.st.note(tx, e)
		return nil
	})
}

// Note implements saga.InstanceStore.
func (i instances) Note(ctx context.Context, t sqltx.Tx, e *saga.Entry) error {
	const what = "note in the journal"
	tx, err := i.st.own(t, what)
	if err != nil {
		return err
	}
	return tx.do(ctx, what, func() error {
		i.st.note(tx, e)
		return nil
	})
}

func (s *Store) note(tx *Tx, e *saga.Entry) {
	s.entries++
	own := *e
	own.N, own.At = s.entries, s.now()
	s.journal.put(tx, own.N, &own)
}

// CancelTimers implements saga.InstanceStore.
func (i instances) CancelTimers(ctx context.Context, t sqltx.Tx, ids []string) error {
	for _, id := range ids {
		if _, err := delayed(i).Cancel(ctx, t, id); err != nil {
			return fmt.Errorf("cancel timer %s: %w", id, err)
		}
	}
	return nil
}
