package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/sqltx"
)

// letterSQL builds one statement about parked messages: parameters as ?1, and the little in which the dialects differ
// through methods.
type letterSQL struct {
	questions
	args []any
}

func (d *DeadLetters) sql() *letterSQL {
	return &letterSQL{questions: (&Operator{d.s}).questions()}
}

// arg adds a parameter and answers its name.
func (q *letterSQL) arg(v any) string {
	q.args = append(q.args, v)
	return "?" + strconv.Itoa(len(q.args))
}

// list is the condition that a column is one of ns.
func (q *letterSQL) list(ns []int64) string {
	if q.pg {
		return "= ANY(" + q.arg(intArray(ns)) + "::text::bigint[])"
	}
	if q.my {
		return myList(ns)
	}
	return "IN (SELECT value FROM json_each(" + q.arg(jsonInts(ns)) + "))"
}

// pairs is a table u(a, b) of two lists of the same length.
func (q *letterSQL) pairs(a, b []int64) string {
	if q.pg {
		return "unnest(" + q.arg(intArray(a)) + "::text::bigint[], " + q.arg(intArray(b)) + "::text::bigint[]) u(a, b)"
	}
	return "(SELECT x.value AS a, y.value AS b FROM json_each(" + q.arg(jsonInts(a)) + ") x JOIN json_each(" + q.arg(jsonInts(b)) + ") y ON y.key = x.key) u"
}

// each runs a query, exec another statement.
func (q *letterSQL) each(ctx context.Context, tx sqltx.Tx, sql string, scan func(sqltx.Rows) error) error {
	return q.questions.each(ctx, tx, sql, q.args, scan)
}

func (q *letterSQL) exec(ctx context.Context, tx sqltx.Tx, sql string) (int64, error) {
	return q.questions.exec(ctx, tx, sql, q.args)
}

// micros is an instant in microseconds since 1970; never is beyond all of them.
func (q *letterSQL) micros(instant string) string {
	if q.pg {
		return "(extract(epoch FROM " + instant + ")::numeric * 1000000.0)::bigint"
	}
	return instant
}

// now is the clock in microseconds since 1970, or an instant of it that was remembered.
func (q *letterSQL) now(asOf int64) string {
	switch {
	case asOf != 0:
		return strconv.FormatInt(asOf, 10)
	case q.pg:
		return "(extract(epoch FROM clock_timestamp())::numeric * 1000000.0)::bigint"
	case q.my:
		return myNow
	}
	return strconv.FormatInt(q.questions.now, 10)
}

// instant is the clock as columns hold it, never the time at which what is blocked is due.
func (q *letterSQL) instant() string {
	if q.pg {
		return "clock_timestamp()"
	}
	if q.my {
		return myNow
	}
	return strconv.FormatInt(q.questions.now, 10)
}

// binary orders by bytes, as lines are locked.
func (q *letterSQL) binary(column string) string {
	if q.pg {
		return column + ` COLLATE "C"`
	}
	return column
}

func (q *letterSQL) never() string {
	if q.pg {
		return "'infinity'::timestamptz"
	}
	return "9223372036854775807"
}

// size is the length of a body in bytes, -1 without one.
func (q *letterSQL) size(body string) string {
	if q.pg {
		return "coalesce(octet_length(" + body + "), -1)"
	}
	if q.my {
		return "coalesce(length(" + body + "), -1)"
	}
	return "coalesce(length(CAST(" + body + " AS BLOB)), -1)"
}

// where is the condition for f on {{parked}} p.
func (q *letterSQL) where(f deadletter.Filter, asOf int64) string {
	w := "1 = 1"
	switch f.State {
	case deadletter.Dead:
		w = "p.state = 2"
	case deadletter.Waiting:
		w = "p.state = 1"
	case deadletter.All:
	}
	switch f.Origin {
	case deadletter.FromRelay:
		w += " AND p.relay"
	case deadletter.FromConsumers:
		w += " AND NOT p.relay"
	case deadletter.Anywhere:
	}
	for _, c := range []struct{ column, value string }{{"consumer", f.Consumer}, {"type", f.Type}, {"reason", f.Reason}, {"topic", f.Topic}, {"key", f.Key}, {"id", f.ID}} {
		if c.value != "" {
			w += " AND p." + c.column + " = " + q.arg(c.value)
		}
	}
	if f.Error != "" {
		if q.pg {
			w += " AND position(" + q.arg(f.Error) + "::text IN p.error) > 0"
		} else {
			w += " AND instr(p.error, " + q.arg(f.Error) + ") > 0"
		}
	}
	if f.Older > 0 {
		w += " AND " + q.micros("p.last_at") + " <= " + q.now(asOf) + " - " + strconv.FormatInt(f.Older.Microseconds(), 10)
	}
	if f.Younger > 0 {
		w += " AND " + q.micros("p.last_at") + " > " + q.now(asOf) + " - " + strconv.FormatInt(f.Younger.Microseconds(), 10)
	}
	if f.Numbers != nil {
		w += " AND p.n " + q.list(f.Numbers)
	}
	return w
}

// letterColumns selects what letterRow scans, of {{parked}} p and {{line}} l.
func letterColumns(q *letterSQL, whole bool) string {
	attrs, body := "NULL", "NULL"
	if whole {
		attrs, body = "p.attrs", "p.body"
	}
	if !whole && q.pg {
		attrs, body = "NULL::bytea", "NULL::bytea"
	}
	blocked := "coalesce(l.due = " + q.never() + ", FALSE)"
	return "SELECT p.n, p.state, p.relay, p.consumer, p.id, p.source, p.type, p.topic, coalesce(p.key, ''), coalesce(p.damaged, ''), p.attempts, p.epoch, p.reason, p.error, p.node, " +
		q.micros("p.first_at") + ", " + q.micros("p.last_at") + ", " + q.now(0) + ", " + q.size("p.body") + ", coalesce(l.id, 0), coalesce(l.size, 0), " +
		"coalesce(CASE WHEN " + blocked + " THEN (SELECT min(h.n) FROM {{parked}} h WHERE h.line = l.id AND h.state = 2) ELSE (SELECT min(h.n) FROM {{parked}} h WHERE h.line = l.id) END, 0), " + blocked + ", coalesce(l.token IS NOT NULL AND l.due > " + q.instant() + ", FALSE), " +
		"CASE WHEN l.id IS NULL OR " + blocked + " THEN 0 ELSE " + q.micros("l.due") + " - " + q.now(0) + " END, " + attrs + ", " + body
}

func letterRow(list *[]deadletter.Letter, whole *deadletter.Detail) func(sqltx.Rows) error {
	return func(r sqltx.Rows) error {
		var l deadletter.Letter
		var state int
		var first, last, now, due int64
		var attrs, body []byte
		err := r.Scan(&l.N, &state, &l.Relay, &l.Consumer, &l.ID, &l.Source, &l.Type, &l.Topic, &l.Key, &l.Damaged, &l.Attempts, &l.Epoch, &l.Reason, &l.Error, &l.Node,
			&first, &last, &now, &l.BodySize, &l.Line.ID, &l.Line.Size, &l.Line.Head, &l.Line.Blocked, &l.Line.Claimed, &due, &attrs, &body)
		if err != nil {
			return err
		}
		l.Dead = state == 2
		l.FirstAt, l.LastAt, l.Age = time.UnixMicro(first).UTC(), time.UnixMicro(last).UTC(), max(0, time.Duration(now-last)*time.Microsecond)
		l.Line.Due = time.Duration(due) * time.Microsecond
		l.Line.Claimed = l.Line.Claimed && !l.Line.Blocked
		if whole != nil {
			if l.BodySize == 0 { // which some libraries read as no body
				body = []byte{}
			}
			whole.Attrs, whole.Body = attrs, body
		}
		*list = append(*list, l)
		return nil
	}
}

// changes reads the audit.
func (q *letterSQL) changes(ctx context.Context, tx sqltx.Tx, where string, limit int, to *[]deadletter.Change) error {
	return q.each(ctx, tx, "SELECT a.id, "+q.micros("a.at")+", a.who, a.action, a.run, a.n, a.consumer, a.message, a.reason, a.before, a.after FROM {{audit}} a WHERE "+where+
		" ORDER BY a.id LIMIT "+q.arg(limit), func(r sqltx.Rows) error {
		var c deadletter.Change
		var at int64
		var before, after []byte
		if err := r.Scan(&c.ID, &at, &c.Who, &c.Action, &c.Run, &c.N, &c.Consumer, &c.Message, &c.Reason, &before, &after); err != nil {
			return err
		}
		c.At, c.Before, c.After = time.UnixMicro(at).UTC(), before, after
		*to = append(*to, c)
		return nil
	})
}

// entry is a line for the audit.
type auditEntry struct {
	N        int64  `json:"n"`
	Consumer string `json:"consumer"`
	Message  string `json:"message"`
	Before   string `json:"before,omitempty"` // JSON
	After    string `json:"after,omitempty"`
}

// audit writes entries.
func (d *DeadLetters) audit(ctx context.Context, tx sqltx.Tx, who, action, run, reason string, entries []auditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	if d.sql().my {
		return d.myAudit(ctx, tx, who, action, run, reason, entries)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	q := d.sql()
	q.arg(who)
	q.arg(action)
	q.arg(run)
	q.arg(reason)
	at, from := ", at", "?1, ?2, ?3, ?4, json_extract(value, '$.n'), json_extract(value, '$.consumer'), json_extract(value, '$.message'), "+
		"CAST(json_extract(value, '$.before') AS BLOB), CAST(json_extract(value, '$.after') AS BLOB), "+q.instant()+" FROM json_each(?5) ORDER BY key"
	if q.pg {
		at, from = "", "?1::text, ?2::text, ?3::text, ?4::text, (j->>'n')::bigint, j->>'consumer', j->>'message', "+
			"convert_to(j->>'before', 'UTF8'), convert_to(j->>'after', 'UTF8') FROM json_array_elements(?5::text::json) WITH ORDINALITY e(j, at) ORDER BY e.at"
	}
	q.arg(string(text))
	_, err = q.exec(ctx, tx, "INSERT INTO {{audit}} (who, action, run, reason, n, consumer, message, before, after"+at+") SELECT "+from)
	return err
}
