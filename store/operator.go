package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// An Operator looks at single rows of the outbox, and removes them: what people do, by way of the CLI. Nothing that it
// reads costs more where the table has a million rows, except Find.
type Operator struct{ s *Store }

// Operator of the store.
func (s *Store) Operator() *Operator { return &Operator{s} }

// Entry is a row as people look at it.
type Entry struct {
	outbox.Row
	CreatedAt time.Time     // by the database's clock, in UTC
	Age       time.Duration // since then
	BodySize  int           // bytes; -1: there is no body
}

// Overview is what a table holds, as far as that can be said at once.
type Overview struct {
	// Estimate of the rows, by the database's statistics; exact where Whole. -1: not known.
	Estimate int64
	// Looked is how many rows were looked at, the oldest ones. Whole says that these were all.
	Looked int
	Whole  bool
	Oldest time.Duration // age of the row with the lowest seq; 0 without rows
	// Classes of the rows that were looked at, and of every reader that is alive, by name.
	Classes []ClassOverview
}

// ClassOverview is one class of destination in an Overview.
type ClassOverview struct {
	Class    string
	Rows     int           // among those looked at
	Oldest   time.Duration // of these
	Consumed bool          // a living node owns at least one partition
	Nodes    int           // living nodes
}

// overviewRows is how many rows an Overview looks at.
const overviewRows = 10_000

// Overview answers what t holds without reading more than its 10,000 oldest rows.
func (o *Operator) Overview(ctx context.Context, t outbox.Table) (v Overview, err error) {
	err = o.look(ctx, func(tx sqltx.Tx, q questions) error {
		var c statsCollector
		err := q.each(ctx, tx, q.overview(t), q.args(overviewRows), func(r sqltx.Rows) error {
			var class string
			var rows, age int64
			if err := r.Scan(&class, &rows, &age); err != nil {
				return err
			}
			cl := c.class(class)
			cl.Pending, cl.Oldest = rows, max(0, time.Duration(age)*time.Microsecond)
			return nil
		})
		if err != nil {
			return err
		}
		owners, nodes, args := q.readers(t)
		if err := tx.Each(ctx, owners, args, c.owners); err != nil {
			return err
		}
		if err := tx.Each(ctx, nodes, args, c.nodes); err != nil {
			return err
		}
		for _, cl := range c.stats().Classes {
			v.Looked += int(cl.Pending)
			v.Oldest = max(v.Oldest, cl.Oldest)
			v.Classes = append(v.Classes, ClassOverview{cl.Class, int(cl.Pending), cl.Oldest, cl.Consumed, cl.Nodes})
		}
		v.Whole = v.Looked < overviewRows
		v.Estimate = int64(v.Looked)
		if v.Whole {
			return nil
		}
		var place []any
		if q.my {
			place = []any{o.s.names.schema, o.s.names.prefix + t.String()}
		}
		return q.each(ctx, tx, q.estimate(t), place, func(r sqltx.Rows) error { return r.Scan(&v.Estimate) })
	})
	if err != nil {
		return Overview{}, failed("look at "+t.String(), err)
	}
	if !v.Whole && v.Estimate >= 0 {
		v.Estimate = max(v.Estimate, int64(v.Looked))
	}
	return v, nil
}

// List answers at most limit rows of t with a seq above after, in order of seq. Bodies are left out.
func (o *Operator) List(ctx context.Context, t outbox.Table, after int64, limit int) (list []Entry, err error) {
	err = o.look(ctx, func(tx sqltx.Tx, q questions) error {
		return q.each(ctx, tx, q.rows(t, false)+" WHERE seq > ?2 ORDER BY seq LIMIT ?3", q.args(after, limit), q.entry(&list))
	})
	if err != nil {
		return nil, failed("list "+t.String(), err)
	}
	return list, nil
}

// Find answers the rows of t with an id, whole; several when an id was used for several destinations. The database reads the
// whole table for it, since it has no index on ids; PostgreSQL does so with several processes. Near finds most rows at once.
func (o *Operator) Find(ctx context.Context, t outbox.Table, id string) (list []Entry, err error) {
	err = o.read(ctx, func(tx sqltx.Tx, q questions) error {
		if err := q.whole(ctx, tx); err != nil {
			return err
		}
		return q.each(ctx, tx, q.rows(t, true)+" WHERE id = ?2{{uuid}} ORDER BY seq LIMIT 100", q.args(strings.ToLower(id)), q.entry(&list))
	})
	if err != nil {
		return nil, failed("find a row of "+t.String(), err)
	}
	return list, nil
}

// Seq answers the row of t with a number, whole; none when it is not there.
func (o *Operator) Seq(ctx context.Context, t outbox.Table, seq int64) (list []Entry, err error) {
	err = o.look(ctx, func(tx sqltx.Tx, q questions) error {
		return q.each(ctx, tx, q.rows(t, true)+" WHERE seq = ?2", q.args(seq), q.entry(&list))
	})
	if err != nil {
		return nil, failed("find a row of "+t.String(), err)
	}
	return list, nil
}

// Victims says which rows Remove removes: those that match every field that is set. The zero value matches every row.
type Victims struct {
	Class *string // nil: every class
	Topic string  // empty: every topic
	ID    string  // empty: every id
	Seq   int64   // 0: every number
	Older time.Duration
}

// Remove deletes one step of at most limit rows of t that match v, and begins after a seq; it answers how many it removed,
// and the seq after which to go on, 0 when there is nothing left. Each step is a transaction of its own and looks at no
// more than ten times limit rows. Rows that somebody holds a lock on are left out. A relay that has read a row may still
// send it.
func (o *Operator) Remove(ctx context.Context, t outbox.Table, v Victims, after int64, limit int) (n int, next int64, err error) {
	if limit < 1 {
		return 0, 0, fmt.Errorf("store: remove from %s: a limit of %d; give at least 1", t, limit)
	}
	if v.Seq != 0 {
		after = max(after, v.Seq-1)
	}
	err = o.s.db.InTx(ctx, func(tx sqltx.Tx) error {
		q := o.questions()
		if err := q.begin(ctx, tx); err != nil {
			return err
		}
		last, seen := int64(0), 0
		window := "SELECT coalesce(max(seq), 0), count(*) FROM (SELECT seq FROM {{" + t.String() + "}} WHERE seq > ?1 ORDER BY seq LIMIT ?2) w"
		if err := q.each(ctx, tx, window, []any{after, 10 * limit}, func(r sqltx.Rows) error { return r.Scan(&last, &seen) }); err != nil {
			return err
		}
		if seen == 0 {
			return nil
		}
		where, args := q.victims(v, after, last)
		args = append(args, limit)
		doomed := "SELECT seq FROM {{" + t.String() + "}} WHERE " + where + fmt.Sprintf(" ORDER BY seq LIMIT ?%d", len(args)) + q.lockRows()
		var gone []int64
		if q.my { // it has no RETURNING, and does not delete from a table that a subquery reads
			err := q.each(ctx, tx, doomed, args, scanInts(&gone))
			if err == nil {
				_, err = q.exec(ctx, tx, "DELETE FROM {{"+t.String()+"}} WHERE seq "+myList(gone), nil)
			}
			if err != nil {
				return err
			}
		} else if err := q.each(ctx, tx, "DELETE FROM {{"+t.String()+"}} WHERE seq "+q.among(doomed)+" RETURNING seq", args, scanInts(&gone)); err != nil {
			return err
		}
		n = len(gone)
		next = last
		if n == limit {
			next = slices.Max(gone)
		} else if seen < 10*limit || v.Seq != 0 {
			next = 0
		}
		return nil
	})
	if err != nil {
		return 0, 0, failed("remove from "+t.String(), err)
	}
	return n, next, nil
}

// look runs fn in a transaction that only reads, and keeps to the primary key.
func (o *Operator) look(ctx context.Context, fn func(sqltx.Tx, questions) error) error {
	return o.read(ctx, func(tx sqltx.Tx, q questions) error {
		if err := q.begin(ctx, tx); err != nil {
			return err
		}
		return fn(tx, q)
	})
}

// read runs fn in a transaction that only reads.
func (o *Operator) read(ctx context.Context, fn func(sqltx.Tx, questions) error) error {
	return o.s.db.InTx(ctx, func(tx sqltx.Tx) error {
		q := o.questions()
		if q.pg {
			if _, err := tx.Exec(ctx, "SET TRANSACTION READ ONLY"); err != nil {
				return err
			}
		}
		return fn(tx, q)
	})
}
