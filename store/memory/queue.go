package memory

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strconv"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// rowTable is one table of the outbox.
type rowTable struct {
	cells table[int64, row]
	last  int64   // number that was drawn; never given back
	order []int64 // ascending; with numbers of rows that are gone, until there are more of those than of others
}

func (t *rowTable) insert(tx *Tx, r row) {
	if len(t.order) > 2*len(t.cells)+64 {
		t.order = slices.DeleteFunc(t.order, func(seq int64) bool { return t.cells[seq] == nil })
	}
	t.last++
	r.Seq, r.Attempts = t.last, 0
	t.order = append(t.order, r.Seq)
	t.cells.put(tx, r.Seq, &r)
}

// each calls fn for the committed rows with a number of from to to, in order, while it answers true.
func (t *rowTable) each(from, to int64, fn func(r *row) bool) {
	at := sort.Search(len(t.order), func(i int) bool { return t.order[i] >= from })
	for _, seq := range t.order[at:] {
		if seq > to {
			return
		}
		if c := t.cells[seq]; c != nil && c.now != nil && !fn(c.now) {
			return
		}
	}
}

// queue implements outbox.Queue.
type queue struct {
	st    *Store
	table outbox.Table
}

const maxSeq = 1<<63 - 1

// Read implements outbox.Queue.
func (q queue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) (rows []outbox.Row, err error) {
	if after == maxSeq || limit <= 0 {
		return nil, nil
	}
	return q.collect(ctx, []outbox.Range{{From: after + 1, To: maxSeq}}, limit, &own)
}

// LookUp implements outbox.Queue.
func (q queue) LookUp(ctx context.Context, missing []outbox.Range, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	return q.collect(ctx, missing, limit, &own)
}

func (q queue) collect(ctx context.Context, ranges []outbox.Range, limit int, own *outbox.Ownership) (rows []outbox.Row, err error) {
	err = q.st.locked(ctx, "read "+q.table.String(), func() error {
		for _, r := range ranges {
			q.st.rows[q.table].each(r.From, r.To, func(r *row) bool {
				if len(rows) < limit {
					rows = append(rows, show(r, own))
				}
				return len(rows) < limit
			})
		}
		return nil
	})
	return rows, err
}

// show is a row as its reader may have it. It is a copy: a handler that changes a body must not change the next attempt's.
func show(r *row, own *outbox.Ownership) outbox.Row {
	if r.Class != own.Class || !own.Partitions[r.Partition] {
		return outbox.Row{Seq: r.Seq, Partition: r.Partition, Foreign: true}
	}
	out := clone(&r.Row)
	out.Claim, out.ClaimFor = "", 0
	return out
}

// Writers implements outbox.Queue.
func (q queue) Writers(ctx context.Context) (names []string, err error) {
	names = []string{}
	err = q.st.locked(ctx, "look for writers of "+q.table.String(), func() error {
		for tx := range q.st.open {
			if tx.wrote[q.table] {
				names = append(names, "tx-"+strconv.FormatUint(tx.id, 10))
			}
		}
		return nil
	})
	return names, err
}

// Settle implements outbox.Queue.
func (q queue) Settle(ctx context.Context, node string, seqs []int64) (n int, err error) {
	err = q.st.run(ctx, func(tx *Tx) error {
		there, _, err := q.claim(ctx, tx, "settle", node, seqs)
		n = len(there)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Claim implements outbox.Queue.
func (q queue) Claim(ctx context.Context, t sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	tx, err := q.st.own(t, "claim "+q.table.String())
	if err != nil {
		return nil, nil, err
	}
	return q.claim(ctx, tx, "claim", node, seqs)
}

func (q queue) claim(ctx context.Context, tx *Tx, verb, node string, seqs []int64) (there, behind []int64, err error) {
	seqs = slices.Compact(slices.Sorted(slices.Values(seqs)))
	if len(seqs) == 0 {
		return nil, nil, nil
	}
	cells := q.st.rows[q.table].cells
	var keys []lineKey
	err = tx.do(ctx, verb+" "+q.table.String(), func() error {
		for _, seq := range seqs {
			if err := cells.free(ctx, tx, seq); err != nil {
				return err
			}
			if r := cells.seen(tx, seq); r != nil {
				cells.put(tx, seq, nil)
				there = append(there, seq)
				keys = append(keys, lineKey{r.Class, r.Key})
			}
		}
		// After all waiting, as in Record.
		for i, key := range keys {
			if q.table == outbox.ToLocal && q.st.lineOf.seen(tx, key) != nil {
				behind = append(behind, there[i])
			}
		}
		// Asked after the waiting: a take-over may have come meanwhile.
		if q.st.nodes[node] == nil {
			return outbox.ErrFenced
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return there, behind, nil
}

// Bury implements outbox.Queue.
func (q queue) Bury(ctx context.Context, node string, rows []outbox.DeadRow) (n int, err error) {
	if q.table == outbox.ToLocal {
		return 0, errors.New("memory: bury rows of local: their consumer parks them; bury rows on their way to a broker")
	}
	s := q.st
	err = s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "bury", func() error {
			cells := s.rows[q.table].cells
			for i := range rows {
				d := &rows[i]
				if err := cells.free(ctx, tx, d.Seq); err != nil {
					return err
				}
				r := cells.seen(tx, d.Seq)
				if r == nil {
					continue
				}
				cells.put(tx, d.Seq, nil)
				rec := inbox.RecordOf(&sixfold.Envelope{Source: d.Source, ID: d.ID, Type: d.Type, Body: r.Body})
				rec.Key = r.Key
				s.parked.put(tx, s.draw(), &parked{consumer: r.Class, dead: true, relay: true, Item: inbox.Item{Record: rec, ID: d.ID, Source: d.Source, Type: d.Type,
					Topic: r.Topic, Attrs: r.Attrs, Body: r.Body, Attempts: d.Attempts, Dead: true, Loose: true, Reason: d.Reason, Error: d.Error, Node: d.Node}})
				n++
			}
			// Asked after the waiting, as in claim.
			if s.nodes[node] == nil {
				return outbox.ErrFenced
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
