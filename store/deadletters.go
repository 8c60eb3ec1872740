package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/sqltx"
)

// DeadLetters is what people do with parked messages; it implements deadletter.Store.
type DeadLetters struct{ s *Store }

var _ deadletter.Store = (*DeadLetters)(nil)

// DeadLetters of the store. deadletter.New takes it.
func (s *Store) DeadLetters() *DeadLetters { return &DeadLetters{s} }

// List implements deadletter.Reader. It reads no more rows than it answers where f is empty; else it looks at the dead ones,
// or at all that wait, until the page is full.
func (d *DeadLetters) List(ctx context.Context, f deadletter.Filter, p deadletter.Page) (list []deadletter.Letter, err error) {
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		where := q.where(f, 0)
		sql := letterColumns(q, false) + " FROM (SELECT * FROM {{parked}} p WHERE " + where + " AND p.n > " + q.arg(p.After) + " ORDER BY p.n LIMIT " + q.arg(p.Limit) +
			") p LEFT JOIN {{line}} l ON l.id = p.line ORDER BY p.n"
		return q.each(ctx, tx, sql, letterRow(&list, nil))
	})
	if err != nil {
		return nil, failed("list parked messages", err)
	}
	return list, nil
}

// Show implements deadletter.Reader.
func (d *DeadLetters) Show(ctx context.Context, n int64) (*deadletter.Detail, error) {
	var list []deadletter.Letter
	var all deadletter.Detail
	err := d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		err := q.each(ctx, tx, letterColumns(q, true)+" FROM {{parked}} p LEFT JOIN {{line}} l ON l.id = p.line WHERE p.n = "+q.arg(n), letterRow(&list, &all))
		if err != nil || len(list) == 0 {
			return err
		}
		q = d.sql()
		err = q.each(ctx, tx, "SELECT attempt, "+q.micros("at")+", node, error FROM {{attempt}} WHERE n = "+q.arg(n)+" ORDER BY at, attempt", func(r sqltx.Rows) error {
			var a deadletter.Attempt
			var at int64
			err := r.Scan(&a.Attempt, &at, &a.Node, &a.Error)
			a.At = time.UnixMicro(at).UTC()
			all.Tries = append(all.Tries, a)
			return err
		})
		if err != nil {
			return err
		}
		q = d.sql()
		return q.changes(ctx, tx, "a.message = "+q.arg(list[0].ID)+" AND (a.n = "+q.arg(n)+" OR a.consumer = "+q.arg(list[0].Consumer)+")", 1000, &all.Changes)
	})
	if err != nil {
		return nil, failed("show a parked message", err)
	}
	if len(list) == 0 {
		return nil, failed("show a parked message", deadletter.ErrNotFound)
	}
	all.Letter = list[0]
	return &all, nil
}

// Summary implements deadletter.Reader. It looks at every message of the state that f asks for.
func (d *DeadLetters) Summary(ctx context.Context, f deadletter.Filter) (s deadletter.Summary, err error) {
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		where := q.where(f, 0)
		err := q.each(ctx, tx, "SELECT p.consumer, p.type, p.reason, p.relay, count(*), "+q.now(0)+" - "+q.micros("min(p.last_at)")+" FROM {{parked}} p WHERE "+where+
			" GROUP BY p.consumer, p.type, p.reason, p.relay ORDER BY count(*) DESC, p.consumer, p.type, p.reason", func(r sqltx.Rows) error {
			var g deadletter.Group
			var age int64
			err := r.Scan(&g.Consumer, &g.Type, &g.Reason, &g.Relay, &g.Count, &age)
			g.Oldest = max(0, time.Duration(age)*time.Microsecond)
			s.Total += g.Count
			s.Groups = append(s.Groups, g)
			return err
		})
		if err != nil {
			return err
		}
		q = d.sql()
		err = q.each(ctx, tx, "SELECT p.consumer, p.key, count(*) FROM {{parked}} p WHERE p.key IS NOT NULL AND "+q.where(f, 0)+
			" GROUP BY p.consumer, p.key ORDER BY count(*) DESC, p.consumer, p.key LIMIT 20", func(r sqltx.Rows) error {
			var k deadletter.KeyCount
			err := r.Scan(&k.Consumer, &k.Key, &k.Count)
			s.Keys = append(s.Keys, k)
			return err
		})
		if err != nil {
			return err
		}
		// Of lines with a key that has one of the messages: all that they have but the messages themselves.
		q = d.sql()
		where = q.where(f, 0)
		return q.each(ctx, tx, "WITH m AS (SELECT p.n, p.consumer, p.key FROM {{parked}} p WHERE p.key IS NOT NULL AND NOT p.relay AND "+where+") "+
			"SELECT count(*) FROM {{parked}} w WHERE w.line "+q.among("SELECT l.id FROM {{line}} l JOIN (SELECT DISTINCT consumer, key FROM m) k ON k.consumer = l.consumer AND k.key = l.key")+
			" AND NOT EXISTS (SELECT 1 FROM m WHERE m.n = w.n)", func(r sqltx.Rows) error { return r.Scan(&s.Behind) })
	})
	if err != nil {
		return deadletter.Summary{}, failed("count parked messages", err)
	}
	return s, nil
}

// Audit implements deadletter.Reader.
func (d *DeadLetters) Audit(ctx context.Context, t deadletter.Trail) (list []deadletter.Change, err error) {
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		where := "1 = 1"
		if t.Run != "" {
			where += " AND a.run <> '' AND a.run = " + q.arg(t.Run)
		}
		if t.Message != "" {
			where += " AND a.message = " + q.arg(t.Message)
		}
		return q.changes(ctx, tx, where, t.Limit, &list)
	})
	if err != nil {
		return nil, failed("read the audit", err)
	}
	return list, nil
}

// Fate implements deadletter.Reader.
func (d *DeadLetters) Fate(ctx context.Context, m deadletter.Moved) (fate deadletter.Fate, err error) {
	err = d.read(ctx, func(tx sqltx.Tx, q *letterSQL) error {
		where := "p.n = "
		if m.Relay {
			where = "p.relay AND p.id = " + q.arg(m.ID) + " AND p.n > "
		}
		where += q.arg(m.N)
		fate = deadletter.Handled
		err := q.each(ctx, tx, "SELECT p.state FROM {{parked}} p WHERE "+where, func(r sqltx.Rows) error {
			var state int
			err := r.Scan(&state)
			fate = deadletter.DeadAgain
			if state == 1 {
				fate = deadletter.StillWaiting
			}
			return err
		})
		if err != nil || fate != deadletter.Handled {
			return err
		}
		q = d.sql()
		if m.Relay {
			return q.each(ctx, tx, "SELECT 1 FROM {{outbox}} WHERE seq = "+q.arg(m.Seq), func(sqltx.Rows) error { fate = deadletter.StillWaiting; return nil })
		}
		return q.each(ctx, tx, "SELECT 1 FROM {{audit}} a WHERE a.message = "+q.arg(m.ID)+" AND a.n = "+q.arg(m.N)+" AND a.action = 'discard' LIMIT 1",
			func(sqltx.Rows) error { fate = deadletter.Discarded; return nil })
	})
	return fate, failed("look what became of a message", err)
}

// read runs fn in a transaction that only reads, and keeps to the indexes.
func (d *DeadLetters) read(ctx context.Context, fn func(sqltx.Tx, *letterSQL) error) error {
	return (&Operator{d.s}).look(ctx, func(tx sqltx.Tx, _ questions) error { return fn(tx, d.sql()) })
}
