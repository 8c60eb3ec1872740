package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/sqltx"
)

// changeTries is how often a step is tried that deadlocked, or found the database busy.
const changeTries = 8

// change runs fn in a transaction, again where the database says that this one changed nothing and another may succeed.
func (d *DeadLetters) change(ctx context.Context, fn func(sqltx.Tx) error) (err error) {
	for range changeTries {
		err = d.s.db.InTx(ctx, func(tx sqltx.Tx) error {
			if err := d.sql().begin(ctx, tx); err != nil {
				return err
			}
			return fn(tx)
		})
		code := sqliteCode(err) & 0xff
		if state := sqlState(err); state != "40001" && state != "40P01" && state != "55P03" && code != 5 && code != 6 && !myBusyOrDeadlocked(err) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// Begin implements deadletter.Writer.
func (d *DeadLetters) Begin(ctx context.Context, r deadletter.Run) (run deadletter.Run, err error) {
	err = d.change(ctx, func(tx sqltx.Tx) error {
		run = r
		var known []byte
		q := d.sql()
		err := q.each(ctx, tx, "SELECT before FROM {{audit}} WHERE run <> '' AND run = "+q.arg(r.ID)+" AND n = 0 ORDER BY id LIMIT 1", func(rows sqltx.Rows) error { return rows.Scan(&known) })
		if err != nil {
			return err
		}
		if known != nil {
			run.Resumed = true
			return json.Unmarshal(known, &run)
		}
		q = d.sql()
		if err := q.each(ctx, tx, "SELECT coalesce(max(n), 0), "+q.now(0)+" FROM {{parked}}", func(rows sqltx.Rows) error { return rows.Scan(&run.Top, &run.AsOf) }); err != nil {
			return err
		}
		text, err := json.Marshal(run)
		if err != nil {
			return err
		}
		return d.audit(ctx, tx, r.Who, r.Action+" begins", r.ID, r.Reason, []auditEntry{{Before: string(text)}})
	})
	return run, failed("begin a run", err)
}

// parkedRow is a row that is locked to be changed.
type parkedRow struct {
	n, line         int64
	relay, dead     bool
	handled         bool // by another copy
	claimed         bool
	blocked         bool
	consumer, id    string
	key             string
	attempts, epoch int
	topic           string
	reason, error   string
	attrs, body     []byte
	damaged         bool
}

// pick answers the numbers that r chooses above after, and after which one to go on; 0: there is nothing behind them. With
// families it adds the later dead letters of their keys.
func (d *DeadLetters) pick(ctx context.Context, tx sqltx.Tx, r *deadletter.Run, after int64, limit int, families bool) (ns []int64, next int64, err error) {
	q := d.sql()
	where := q.where(r.Filter, r.AsOf) + " AND p.n <= " + q.arg(r.Top) + " AND NOT EXISTS (SELECT 1 FROM {{audit}} a WHERE a.run <> '' AND a.run = " + q.arg(r.ID) + " AND a.n = p.n)"
	sql := "WITH c AS (SELECT p.n, p.consumer, p.key FROM {{parked}} p WHERE " + where + " AND p.n > " + q.arg(after) + " ORDER BY p.n LIMIT " + q.arg(limit) + ") SELECT c.n, 0 AS more FROM c"
	if families {
		sql += " UNION ALL SELECT p.n, 1 FROM {{parked}} p JOIN (SELECT DISTINCT consumer, key FROM c WHERE key IS NOT NULL) k ON k.consumer = p.consumer AND k.key = p.key WHERE " + where +
			" AND p.n > (SELECT max(n) FROM c) "
	}
	first := 0
	err = q.each(ctx, tx, sql+" ORDER BY 1 LIMIT "+q.arg(20*limit), func(rows sqltx.Rows) error {
		var n int64
		var more int
		err := rows.Scan(&n, &more)
		if more == 0 {
			first, next = first+1, n
		}
		ns = append(ns, n)
		return err
	})
	if first < limit {
		next = 0
		if len(ns) == 20*limit {
			next = ns[len(ns)-1]
		}
	}
	return ns, next, err
}

// lock locks the lines of ns, in the order in which everybody locks them, then their rows, and answers those rows that are still
// there, by number. Rows that a handler's transaction holds are left out.
func (d *DeadLetters) lock(ctx context.Context, tx sqltx.Tx, ns []int64, whole bool) (rows []parkedRow, err error) {
	q := d.sql()
	forUpdate, ofRows := "", ""
	if q.pg {
		// From here on each row is looked up by its key: other joins would read all lines, or the whole inbox.
		if err := q.plan(ctx, tx, "enable_hashjoin", "enable_mergejoin"); err != nil {
			return nil, err
		}
		forUpdate, ofRows = " FOR UPDATE", " FOR UPDATE OF p SKIP LOCKED"
		mine := "SELECT p.line, p.consumer, p.key FROM {{parked}} p WHERE p.n " + q.list(ns)
		err := q.each(ctx, tx, "SELECT l.id FROM {{line}} l WHERE l.id = ANY(ARRAY(WITH m AS MATERIALIZED ("+mine+") SELECT m.line FROM m WHERE m.line IS NOT NULL "+
			"UNION SELECT k.id FROM {{line}} k JOIN m ON m.consumer = k.consumer AND m.key = k.key)) ORDER BY l.consumer, "+q.binary("l.key")+", l.id"+forUpdate, func(sqltx.Rows) error { return nil })
		if err != nil {
			return nil, err
		}
		q = d.sql()
	}
	if q.my {
		if err := d.myLockLines(ctx, tx, ns); err != nil {
			return nil, err
		}
		ofRows = " FOR UPDATE SKIP LOCKED"
	}
	attrs, body := "NULL", "NULL"
	if q.pg {
		attrs, body = "NULL::bytea", "NULL::bytea"
	}
	if whole {
		attrs, body = "p.attrs", "p.body"
	}
	line := func(what string) string {
		return "coalesce((SELECT " + what + " FROM {{line}} l WHERE l.id = p.line), FALSE)"
	}
	sql := "SELECT p.n, p.state = 2, p.relay, p.consumer, p.id, coalesce(p.key, ''), coalesce(p.line, 0), p.attempts, p.epoch, p.topic, p.reason, p.error, p.damaged IS NOT NULL, " + q.size("p.body") + ", " +
		"EXISTS (SELECT 1 FROM {{inbox}} b WHERE b.consumer = p.consumer AND b.message = p.message AND b.digest = p.digest AND b.state = 1 AND NOT p.relay), " +
		line("l.token IS NOT NULL AND l.due > "+q.instant()+" AND l.due < "+q.never()) + ", " + line("l.due = "+q.never()) + ", " + attrs + ", " + body +
		" FROM {{parked}} p WHERE p.n " + q.list(ns) + " ORDER BY p.n" + ofRows
	err = q.each(ctx, tx, sql, func(r sqltx.Rows) error {
		var p parkedRow
		var size int
		err := r.Scan(&p.n, &p.dead, &p.relay, &p.consumer, &p.id, &p.key, &p.line, &p.attempts, &p.epoch, &p.topic, &p.reason, &p.error, &p.damaged, &size, &p.handled, &p.claimed, &p.blocked, &p.attrs, &p.body)
		if whole && size == 0 { // which some libraries read as no body
			p.body = []byte{}
		}
		rows = append(rows, p)
		return err
	})
	return rows, err
}

func numbers(rows []parkedRow) []int64 {
	ns := make([]int64, len(rows))
	for i := range rows {
		ns[i] = rows[i].n
	}
	return ns
}

// leave removes rows and lets go on what they held back.
func (d *DeadLetters) leave(ctx context.Context, tx sqltx.Tx, rows []parkedRow) error {
	if len(rows) == 0 {
		return nil
	}
	ns := numbers(rows)
	of := map[int64]bool{}
	for i := range rows {
		if rows[i].line != 0 {
			of[rows[i].line] = true
		}
	}
	var lines, opened []int64
	for id := range of {
		lines = append(lines, id)
	}
	slices.Sort(lines)
	q := d.sql()
	err := q.each(ctx, tx, "SELECT l.id FROM {{line}} l WHERE l.id "+q.list(lines)+" AND (SELECT min(h.n) FROM {{parked}} h WHERE h.line = l.id) "+q.list(ns), scanInts(&opened))
	for _, sql := range []string{"DELETE FROM {{parked}} WHERE n ", "DELETE FROM {{attempt}} WHERE n "} {
		if err == nil {
			q := d.sql()
			_, err = q.exec(ctx, tx, sql+q.list(ns))
		}
	}
	if err == nil {
		q := d.sql()
		_, err = q.exec(ctx, tx, "DELETE FROM {{line}} WHERE id "+q.list(lines)+" AND NOT EXISTS (SELECT 1 FROM {{parked}} p WHERE p.line = {{line}}.id)")
	}
	if err == nil {
		err = d.settleLines(ctx, tx, lines, opened, ns)
	}
	return err
}

// settleLines brings lines up to date in which messages were changed: one is blocked while a message of it is dead, and due when it
// is not blocked any more or is in opened, those that begin otherwise than before. What was counted for one of ns
// begins anew. A line that a consumer has in hand is left alone.
func (d *DeadLetters) settleLines(ctx context.Context, tx sqltx.Tx, lines, opened, ns []int64) error {
	if len(lines) == 0 {
		return nil
	}
	q := d.sql()
	changed := "coalesce(l.head " + q.list(ns) + ", FALSE)"
	_, err := q.exec(ctx, tx, "UPDATE {{line}} AS l SET token = NULL, size = (SELECT count(*) FROM {{parked}} p WHERE p.line = l.id), "+
		"attempts = CASE WHEN "+changed+" THEN 0 ELSE l.attempts END, head = CASE WHEN "+changed+" THEN NULL ELSE l.head END, "+
		"due = CASE WHEN EXISTS (SELECT 1 FROM {{parked}} p WHERE p.line = l.id AND p.state = 2) THEN "+q.never()+" WHEN l.due = "+q.never()+" OR l.id "+q.list(opened)+" THEN "+q.instant()+" ELSE l.due END "+
		"WHERE l.id "+q.list(lines)+" AND (l.token IS NULL OR l.due = "+q.never()+")")
	return err
}

// Discard implements deadletter.Writer.
func (d *DeadLetters) Discard(ctx context.Context, r deadletter.Run, after int64, limit int) (step deadletter.Step, err error) {
	err = d.change(ctx, func(tx sqltx.Tx) error {
		step = deadletter.Step{}
		ns, next, err := d.pick(ctx, tx, &r, after, limit, false)
		step.Next = next
		if err != nil || len(ns) == 0 {
			return err
		}
		rows, err := d.lock(ctx, tx, ns, true)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(p parkedRow) bool {
			switch {
			case p.claimed:
				step.Skipped = append(step.Skipped, deadletter.Skip{N: p.n, Why: deadletter.ErrClaimed.Error()})
			case p.dead != (r.Filter.State == deadletter.Dead) && r.Filter.State != deadletter.All:
			default:
				return false
			}
			return true
		})
		if len(rows) == 0 {
			return nil
		}
		entries := make([]auditEntry, len(rows))
		for i := range rows {
			p := &rows[i]
			before := p.before()
			before["attrs"] = texts(p.attrs)
			if len(p.body) <= 64<<10 {
				before["body"] = texts(p.body)
			} else {
				sum := sha256.Sum256(p.body)
				before["body_bytes"], before["body_sha256"] = len(p.body), hex.EncodeToString(sum[:])
			}
			entries[i] = p.entry(before, nil)
			step.Done = append(step.Done, deadletter.Moved{N: p.n, Relay: p.relay, Consumer: p.consumer, ID: p.id, Key: p.key})
		}
		q := d.sql()
		_, err = q.exec(ctx, tx, q.enteredAs(3, 2, "NOT relay AND n "+q.list(numbers(rows))))
		if err == nil {
			err = d.leave(ctx, tx, rows)
		}
		if err != nil {
			return err
		}
		return d.audit(ctx, tx, r.Who, "discard", r.ID, r.Reason, entries)
	})
	if err != nil {
		return deadletter.Step{}, failed("discard parked messages", err)
	}
	return step, nil
}

// Release implements deadletter.Writer.
func (d *DeadLetters) Release(ctx context.Context, r deadletter.Run, after int64, limit int) (step deadletter.Step, err error) {
	err = d.change(ctx, func(tx sqltx.Tx) error {
		step = deadletter.Step{}
		ns, next, err := d.pick(ctx, tx, &r, after, limit, false)
		step.Next = next
		if err != nil || len(ns) == 0 {
			return err
		}
		rows, err := d.lock(ctx, tx, ns, false)
		if err != nil {
			return err
		}
		var entries []auditEntry
		var lines []int64
		for i := range rows {
			switch p := &rows[i]; {
			case p.claimed:
				step.Skipped = append(step.Skipped, deadletter.Skip{N: p.n, Why: deadletter.ErrClaimed.Error()})
			case p.blocked:
				step.Skipped = append(step.Skipped, deadletter.Skip{N: p.n, Why: "the first message of its line is dead: send that one again, or discard it"})
			case p.dead:
			default:
				step.Done = append(step.Done, deadletter.Moved{N: p.n, Relay: p.relay, Consumer: p.consumer, ID: p.id, Key: p.key})
				lines = append(lines, p.line)
				entries = append(entries, p.entry(p.before(), map[string]any{"due": "now", "line": p.line}))
			}
		}
		q := d.sql()
		if _, err := q.exec(ctx, tx, "UPDATE {{line}} SET due = "+q.instant()+" WHERE id "+q.list(lines)+" AND due > "+q.instant()); err != nil {
			return err
		}
		return d.audit(ctx, tx, r.Who, "release", r.ID, r.Reason, entries)
	})
	if err != nil {
		return deadletter.Step{}, failed("release parked messages", err)
	}
	return step, nil
}

// before is what the audit keeps of a message without its body.
func (p *parkedRow) before() map[string]any {
	state := "waiting"
	if p.dead {
		state = "dead"
	}
	return map[string]any{"state": state, "relay": p.relay, "key": p.key, "line": p.line, "attempts": p.attempts, "epoch": p.epoch, "reason": p.reason, "error": p.error}
}

func (p *parkedRow) entry(before, after map[string]any) auditEntry {
	e := auditEntry{N: p.n, Consumer: p.consumer, Message: p.id}
	for _, v := range []struct {
		from map[string]any
		to   *string
	}{{before, &e.Before}, {after, &e.After}} {
		if v.from != nil {
			b, err := json.Marshal(v.from)
			if err != nil { // strings, numbers and maps of these
				b = fmt.Appendf(nil, "%q", err.Error())
			}
			*v.to = string(b)
		}
	}
	return e
}

// texts shows bytes as text where they are text, else in base64; nil is null.
func texts(b []byte) any {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return map[string]string{"text": string(b)}
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
}
