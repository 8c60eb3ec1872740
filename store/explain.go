package store

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/explain"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Explain answers what the tables know of a message; it implements explain.Store.
type Explain struct{ s *Store }

var _ explain.Store = (*Explain)(nil)

// Explain of the store. explain.Message takes it.
func (s *Store) Explain() *Explain { return &Explain{s} }

const (
	// explainBefore is how many rows before a pending one are looked at.
	explainBefore = 10_000
	// explainDelivered is how many delivered rows are looked at behind the time in an id.
	explainDelivered = 200_000
	// explainSources is how many rows of a table are asked for the sources of late.
	explainSources = 100
)

// Pending implements explain.Store.
func (x *Explain) Pending(ctx context.Context, id string, exact bool) (list []explain.Pending, err error) {
	if _, err := sixfold.ParseID(id); err != nil {
		return nil, nil
	}
	o := x.s.Operator()
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		look := o.Near
		if exact {
			look = o.Find
		}
		rows, err := look(ctx, t, id)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			p, err := x.pending(ctx, t, &rows[i])
			if err != nil {
				return nil, failed("explain a row of "+t.String(), err)
			}
			list = append(list, p)
		}
	}
	return list, nil
}

func (x *Explain) pending(ctx context.Context, t outbox.Table, e *Entry) (p explain.Pending, err error) {
	var env sixfold.Envelope
	_, _ = outbox.DecodeAttrs(e.Attrs, &env) // what can be read of it
	p = explain.Pending{Local: t == outbox.ToLocal, Seq: e.Seq, Class: e.Class, Topic: e.Topic, Key: e.Key, Type: env.Type, Source: env.Source, Partition: int(e.Partition), Attempts: int(e.Attempts), Age: e.Age}
	d := &DeadLetters{x.s}
	return p, d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		id, left := "l.node", "n.until - "+q.now(0)
		if q.pg {
			id, left = "l.node::text", "(extract(epoch FROM n.until - clock_timestamp())::numeric * 1000000.0)::bigint"
		}
		err := q.each(ctx, tx, "SELECT coalesce("+id+", ''), l.epoch, coalesce("+left+", -1) FROM {{lease}} l LEFT JOIN {{node}} n ON n.id = l.node WHERE l.class = "+q.arg(e.Class)+" AND l.partition = "+q.arg(e.Partition),
			func(r sqltx.Rows) error {
				var left int64
				err := r.Scan(&p.Lease.Node, &p.Lease.Epoch, &left)
				p.Lease.Known, p.Lease.Left = true, time.Duration(left)*time.Microsecond
				p.Lease.Alive = p.Lease.Node != "" && left >= 0
				return err
			})
		if err != nil {
			return err
		}
		q = d.sql()
		until := "until >= " + q.instant()
		if err := q.each(ctx, tx, "SELECT count(*) FROM {{node}} WHERE class = "+q.arg(e.Class)+" AND "+until, func(r sqltx.Rows) error { return r.Scan(&p.Lease.Nodes) }); err != nil {
			return err
		}
		q = d.sql()
		key, part := "1 = 0", "partition"
		if q.pg {
			part = "partition::bigint"
		}
		before := q.arg(e.Seq)
		if e.Key != "" {
			key = "w.key = " + q.arg(e.Key) + " AND w.class = " + q.arg(e.Class)
		}
		err = q.each(ctx, tx, "SELECT count(*), coalesce(sum(CASE WHEN w.class = "+q.arg(e.Class)+" AND w.part & 63 = "+q.arg(int64(e.Partition))+" THEN 1 ELSE 0 END), 0), coalesce(min(CASE WHEN "+key+" THEN w.seq END), 0) "+
			"FROM (SELECT seq, class, "+part+" AS part, key FROM {{"+t.String()+"}} WHERE seq < "+before+" ORDER BY seq DESC LIMIT "+q.arg(explainBefore)+") w",
			func(r sqltx.Rows) error { return r.Scan(&p.Looked, &p.Ahead, &p.Behind) })
		if err != nil || !q.pg {
			return err
		}
		p.Writers, err = d.writers(ctx, tx, t)
		return err
	})
}

// writers are the open transactions of others that have written to a table. Whoever may still fill a gap is among them.
func (d *DeadLetters) writers(ctx context.Context, tx sqltx.Tx, t outbox.Table) (list []explain.Writer, err error) {
	q := d.sql()
	var waits []int32
	err = q.each(ctx, tx, "SELECT l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), "+
		"coalesce((extract(epoch FROM clock_timestamp() - a.xact_start)::numeric * 1000000.0)::bigint, 0), coalesce(a.wait_event_type = 'Lock', FALSE) "+
		"FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock' "+
		"AND l.relation = {{literal "+t.String()+"}}::regclass AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND l.pid <> pg_backend_pid() "+
		"ORDER BY a.xact_start NULLS LAST, l.pid LIMIT 10", func(r sqltx.Rows) error {
		var w explain.Writer
		var pid int32
		var open int64
		err := r.Scan(&pid, &w.User, &w.Application, &w.State, &open, &w.Waits)
		w.PID, w.Open = int(pid), time.Duration(open)*time.Microsecond
		if w.Waits {
			waits = append(waits, pid)
		}
		list = append(list, w)
		return err
	})
	for _, pid := range waits {
		if err == nil {
			q := d.sql()
			i := slices.IndexFunc(list, func(w explain.Writer) bool { return w.PID == int(pid) })
			err = q.each(ctx, tx, "SELECT b::bigint FROM unnest(pg_catalog.pg_blocking_pids("+q.arg(pid)+"::integer)) b ORDER BY b", scanInts(&list[i].BlockedBy))
		}
	}
	return list, err
}

// Delivered implements explain.Store.
func (x *Explain) Delivered(ctx context.Context, id string, exact bool) (list []explain.Delivered, err error) {
	u, err := sixfold.ParseID(id)
	if err != nil {
		return nil, nil
	}
	if u[6]>>4 != 7 && !exact {
		return nil, nil
	}
	d := &DeadLetters{x.s}
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		from := "{{delivered}}"
		if !exact { // a minute for clocks that disagree
			since := int64(binary.BigEndian.Uint64(u[:8])>>16)*1000 - time.Minute.Microseconds()
			at := q.arg(since)
			if q.pg {
				at = "to_timestamp(" + at + "::bigint::double precision / 1000000)"
			}
			from = "(SELECT * FROM {{delivered}} WHERE delivered_at >= " + at + " ORDER BY delivered_at LIMIT " + q.arg(explainDelivered) + ")"
		}
		return q.each(ctx, tx, "SELECT w.local, w.seq, w.class, w.topic, w.attrs, "+q.micros("w.delivered_at")+", "+q.now(0)+" FROM "+from+" w WHERE w.id = "+q.arg(strings.ToLower(id))+"{{uuid}} ORDER BY w.delivered_at LIMIT 100",
			func(r sqltx.Rows) error {
				var e explain.Delivered
				var attrs []byte
				var at, now int64
				if err := r.Scan(&e.Local, &e.Seq, &e.Class, &e.Topic, &attrs, &at, &now); err != nil {
					return err
				}
				var env sixfold.Envelope
				_, _ = outbox.DecodeAttrs(attrs, &env)
				e.Source, e.At, e.Age = env.Source, time.UnixMicro(at).UTC(), max(0, time.Duration(now-at)*time.Microsecond)
				list = append(list, e)
				return nil
			})
	})
	return list, failed("explain delivered rows", err)
}

// Parked implements explain.Store.
func (x *Explain) Parked(ctx context.Context, id string) (all []deadletter.Detail, err error) {
	d := &DeadLetters{x.s}
	list, err := d.List(ctx, deadletter.Filter{State: deadletter.All, ID: id}, deadletter.Page{Limit: 100})
	for i := range list {
		all = append(all, deadletter.Detail{Letter: list[i]})
	}
	return all, err
}

// Audit implements explain.Store.
func (x *Explain) Audit(ctx context.Context, id string) ([]deadletter.Change, error) {
	return (&DeadLetters{x.s}).Audit(ctx, deadletter.Trail{Message: id, Limit: 100})
}

// Handled implements explain.Store. The names of consumers are found by skipping through the primary key.
func (x *Explain) Handled(ctx context.Context, id string, sources []string) (list []explain.Record, tried []string, err error) {
	d := &DeadLetters{x.s}
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		var consumers []string
		if q.my {
			if consumers, err = d.myConsumers(ctx, tx); err != nil {
				return err
			}
		} else if err := q.each(ctx, tx, "WITH RECURSIVE c(consumer) AS (SELECT min(consumer) FROM {{inbox}} UNION ALL SELECT (SELECT min(i.consumer) FROM {{inbox}} i WHERE i.consumer > c.consumer) FROM c WHERE c.consumer IS NOT NULL) "+
			"SELECT consumer FROM c WHERE consumer IS NOT NULL LIMIT 1000", func(r sqltx.Rows) error {
			var name string
			err := r.Scan(&name)
			consumers = append(consumers, name)
			return err
		}); err != nil {
			return err
		}
		if tried, err = d.sources(ctx, tx, sources); err != nil {
			return err
		}
		for _, source := range tried {
			for _, at := range places(consumers, source, id) {
				consumer := at.consumer
				q := d.sql()
				err := q.each(ctx, tx, "SELECT state, attempts, "+q.micros("at")+", "+q.now(0)+" FROM {{inbox}} WHERE consumer = "+q.arg(consumer)+" AND message = "+q.arg(at.message[:]), func(r sqltx.Rows) error {
					var state int
					var at, now int64
					rec := explain.Record{Consumer: consumer, Source: source}
					err := r.Scan(&state, &rec.Attempts, &at, &now)
					rec.State = [...]string{"suspect", "handled", "parked", "dead"}[state&3]
					rec.At, rec.Age = time.UnixMicro(at).UTC(), max(0, time.Duration(now-at)*time.Microsecond)
					list = append(list, rec)
					return err
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return list, tried, failed("look into the inbox", err)
}

// place is where an inbox may have a record.
type place struct {
	consumer string
	message  [16]byte
}

// places are those of a message of that source, or signed by a key of an owner of that name.
func places(consumers []string, source, id string) (all []place) {
	claimed, verified := sixfold.Envelope{Source: source, ID: id}, sixfold.Envelope{ID: id}
	verified.SetIssuer(source)
	for _, consumer := range consumers {
		all = append(all, place{consumer, inbox.RecordOf(&claimed).Message})
		if source != "" {
			all = append(all, place{consumer, inbox.RecordOf(&verified).Message})
		}
	}
	return all
}

// sources adds those of the newest rows, and none, to sources.
func (d *DeadLetters) sources(ctx context.Context, tx sqltx.Tx, sources []string) ([]string, error) {
	all := append(slices.Clone(sources), "")
	for _, table := range []string{"outbox", "local", "delivered"} {
		q := d.sql()
		order := "seq"
		if table == "delivered" {
			order = "delivered_at"
		}
		err := q.each(ctx, tx, "SELECT attrs FROM {{"+table+"}} ORDER BY "+order+" DESC LIMIT "+q.arg(explainSources), func(r sqltx.Rows) error {
			var attrs []byte
			err := r.Scan(&attrs)
			var env sixfold.Envelope
			_, _ = outbox.DecodeAttrs(attrs, &env)
			all = append(all, env.Source)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	q := d.sql()
	err := q.each(ctx, tx, "SELECT DISTINCT w.source FROM (SELECT source FROM {{parked}} ORDER BY n DESC LIMIT "+q.arg(explainSources)+") w", func(r sqltx.Rows) error {
		var s string
		err := r.Scan(&s)
		all = append(all, s)
		return err
	})
	slices.Sort(all)
	return slices.Compact(all), err
}
