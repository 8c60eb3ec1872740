package sixfoldtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A Publication is one message on its way to one destination.
type Publication struct {
	// Envelope as the receiver gets it. Read it only.
	Envelope *sixfold.Envelope
	// To is the topic, or the name of the local consumer.
	To string
	// Local says which.
	Local bool
	// Via names the transport of a topic; empty: the default one, or local.
	Via string
}

// Dead reports whether the message is a dead letter, and the reason, one of those of bus.DeadReason.
func (p *Publication) Dead() (reason string, dead bool) {
	reason, dead = p.Envelope.Headers[bus.DeadReason]
	return reason, dead
}

// A Recorder is an outbox.Store that remembers the messages of every transaction that committed. The program gets it in
// place of the store: its publishers, relays and local consumers, or what they hand on before anybody looks is missed. It
// works with the store of any database. It is safe for concurrent use.
type Recorder struct {
	store   outbox.Store
	written atomic.Int64 // rows, committed or not

	mu   sync.Mutex
	rows [2]map[int64]outbox.Row
}

var _ outbox.Store = (*Recorder)(nil)

// Record makes the Recorder of a store.
func Record(st outbox.Store) *Recorder {
	return &Recorder{store: st, rows: [2]map[int64]outbox.Row{{}, {}}}
}

// Writer implements outbox.Store.
func (r *Recorder) Writer() outbox.Writer { return countingWriter{r.store.Writer(), r} }

// Queue implements outbox.Store.
func (r *Recorder) Queue(t outbox.Table) outbox.Queue { return notingQueue{r.store.Queue(t), r, t} }

// Leases implements outbox.Store.
func (r *Recorder) Leases() outbox.Leases { return r.store.Leases() }

// Keeper implements outbox.Store.
func (r *Recorder) Keeper() outbox.Keeper { return r.store.Keeper() }

// Bell implements outbox.Store.
func (r *Recorder) Bell(t outbox.Table) *outbox.Bell { return r.store.Bell(t) }

// countingWriter counts, so that Quiet sees that something was written between two looks.
type countingWriter struct {
	outbox.Writer
	r *Recorder
}

func (w countingWriter) Append(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, wantXact bool) ([]int, string, error) {
	w.r.written.Add(int64(len(rows)))
	return w.Writer.Append(ctx, tx, t, rows, wantXact)
}

func (w countingWriter) Delay(ctx context.Context, tx sqltx.Tx, rows []outbox.DelayedRow, wantXact bool) ([]int, string, error) {
	w.r.written.Add(int64(len(rows)))
	return w.Writer.Delay(ctx, tx, rows, wantXact)
}

func (w countingWriter) Prepare(t outbox.Table, rows []outbox.Row) (sqltx.Statement, error) {
	w.r.written.Add(int64(len(rows)))
	return w.Writer.Prepare(t, rows)
}

// notingQueue notes what relays and local consumers read: a row is read before it can be handed on and removed.
type notingQueue struct {
	outbox.Queue
	r *Recorder
	t outbox.Table
}

func (q notingQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	rows, err := q.Queue.Read(ctx, after, limit, own)
	q.r.note(q.t, rows, own.Class)
	return rows, err
}

func (q notingQueue) LookUp(ctx context.Context, missing []outbox.Range, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	rows, err := q.Queue.LookUp(ctx, missing, limit, own)
	q.r.note(q.t, rows, own.Class)
	return rows, err
}

func (r *Recorder) note(t outbox.Table, rows []outbox.Row, class string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		if _, known := r.rows[t][row.Seq]; known || row.Foreign {
			continue
		}
		row.Class = class
		row.Attrs, row.Body = slices.Clone(row.Attrs), slices.Clone(row.Body)
		r.rows[t][row.Seq] = row
	}
}

// All answers everything that was published so far, in any transaction that committed: what goes to brokers first, then
// what goes to local consumers, each in the order of its rows. A message with two destinations is there twice.
func (r *Recorder) All(ctx context.Context) (all []Publication, err error) {
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		if _, err := r.waiting(ctx, t); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for t := range r.rows {
		for _, seq := range slices.Sorted(maps.Keys(r.rows[t])) {
			row := r.rows[t][seq]
			p, err := publicationOf(outbox.Table(t), &row)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, p)
		}
	}
	return all, errors.Join(errs...)
}

func publicationOf(t outbox.Table, row *outbox.Row) (Publication, error) {
	env := &sixfold.Envelope{ID: row.ID, Key: row.Key, Body: row.Body}
	if _, err := outbox.DecodeAttrs(row.Attrs, env); err != nil {
		return Publication{}, fmt.Errorf("sixfoldtest: message %.64q: its attributes cannot be read: %w", row.ID, err)
	}
	if t == outbox.ToLocal {
		return Publication{Envelope: env, To: row.Class, Local: true}, nil
	}
	return Publication{Envelope: env, To: row.Topic, Via: row.Class}, nil
}

// waiting reads, and notes, the rows that are in a table now.
func (r *Recorder) waiting(ctx context.Context, t outbox.Table) (rows []outbox.Row, err error) {
	stats, err := r.store.Keeper().Stats(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("sixfoldtest: look at what was published: %w", err)
	}
	for _, class := range stats.Classes {
		if class.Pending == 0 {
			continue
		}
		found, err := r.read(ctx, t, class.Class)
		if err != nil {
			return nil, fmt.Errorf("sixfoldtest: look at what was published: %w", err)
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

// read reads all rows of a class. Those of others fill the batches as well.
func (r *Recorder) read(ctx context.Context, t outbox.Table, class string) (own []outbox.Row, err error) {
	const batch = 1000
	all := outbox.Ownership{Class: class}
	for p := range all.Partitions {
		all.Partitions[p] = true
	}
	for after := int64(0); ; {
		rows, err := r.store.Queue(t).Read(ctx, after, batch, all)
		if err != nil {
			return nil, err
		}
		r.note(t, rows, class)
		for i := range rows {
			if !rows[i].Foreign {
				rows[i].Class = class
				own = append(own, rows[i])
			}
		}
		if len(rows) < batch {
			return own, nil
		}
		after = rows[len(rows)-1].Seq
	}
}
