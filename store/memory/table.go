package memory

import "context"

// A table has its rows by key. A row that is not there has no cell.
type table[K comparable, V any] map[K]*cell[V]

// cell is one row in two versions: the one that is committed, and what the transaction that holds it makes of it. What a
// version points to never changes, so that it can be handed out without a copy. Nil is a version without the row.
type cell[V any] struct {
	now, next *V
	by        *Tx
}

// seen is the row as tx sees it, or nil.
func (t table[K, V]) seen(tx *Tx, key K) *V {
	c := t[key]
	switch {
	case c == nil:
		return nil
	case c.by == tx:
		return c.next
	}
	return c.now
}

// held reports whether another transaction holds the row.
func (t table[K, V]) held(tx *Tx, key K) bool {
	c := t[key]
	return c != nil && c.by != nil && c.by != tx
}

// free waits until no other transaction holds the row. The store is unlocked meanwhile.
func (t table[K, V]) free(ctx context.Context, tx *Tx, key K) error {
	for t.held(tx, key) {
		if err := tx.await(ctx, t[key].by); err != nil {
			return err
		}
	}
	return nil
}

// put lets tx hold the row, which must be free, and make v of it; nil removes it.
func (t table[K, V]) put(tx *Tx, key K, v *V) {
	c := t[key]
	if c == nil {
		c = &cell[V]{}
		t[key] = c
	}
	first := c.by == nil
	if first {
		c.by, c.next = tx, c.now
	}
	tx.changes = append(tx.changes, changed[K, V]{t, key, c.next, first})
	c.next = v
}

// A change is one put of a transaction.
type change interface {
	commit(tx *Tx)
	undo()
}

type changed[K comparable, V any] struct {
	t      table[K, V]
	key    K
	before *V
	first  bool // the row was not held before
}

func (c changed[K, V]) commit(tx *Tx) {
	cell := c.t[c.key]
	if cell == nil || cell.by != tx {
		return // a later change of the same row was committed already, and so was this one
	}
	cell.now, cell.next, cell.by = cell.next, nil, nil
	c.tidy(cell)
}

// undo is called for the latest change first.
func (c changed[K, V]) undo() {
	cell := c.t[c.key]
	cell.next = c.before
	if c.first {
		cell.next, cell.by = nil, nil
		c.tidy(cell)
	}
}

func (c changed[K, V]) tidy(cell *cell[V]) {
	if cell.now == nil {
		delete(c.t, c.key)
	}
}
