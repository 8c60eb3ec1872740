package store

import (
	"context"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// questions are the statements of an Operator, which are written once: parameters as ?1, and the little in which the
// dialects differ through methods. The first parameter is the clock where the database's own is not used.
type questions struct {
	s   *Store
	now int64 // SQLite only
	pg  bool
	my  bool
}

func (o *Operator) questions() questions {
	q := questions{s: o.s}
	switch k := o.s.outbox.keeper.(type) {
	case *liteKeeper:
		q.now = k.now()
	case *myKeeper:
		q.my = true
	default:
		q.pg = true
	}
	return q
}

// begin keeps the transaction to the primary key: with statistics of an empty table the planner would walk every dead row.
// A statement for which the key is of no use reads the table nevertheless.
func (q questions) begin(ctx context.Context, tx sqltx.Tx) error {
	return q.plan(ctx, tx, "enable_seqscan", "enable_bitmapscan", "jit")
}

// whole keeps the transaction away from the primary key, for a statement that reads the table: for the sake of its order the
// planner would otherwise walk over the whole key and visit the table row by row, in ten times the time.
func (q questions) whole(ctx context.Context, tx sqltx.Tx) error {
	return q.plan(ctx, tx, "enable_indexscan", "jit")
}

// plan switches off, for this transaction, what the planner may do.
func (q questions) plan(ctx context.Context, tx sqltx.Tx, off ...string) error {
	if !q.pg {
		return nil
	}
	for _, name := range off {
		if _, err := tx.Exec(ctx, "SET LOCAL "+name+" = off"); err != nil {
			return err
		}
	}
	return nil
}

// among is the condition that a column is one of those that a query answers. As an array PostgreSQL never joins with the
// whole table.
func (q questions) among(query string) string {
	if q.pg {
		return "= ANY(ARRAY(" + query + "))"
	}
	return "IN (" + query + ")"
}

// each runs a query, exec another statement, with names and parameters in the dialect's form.
func (q questions) each(ctx context.Context, tx sqltx.Tx, sql string, args []any, scan func(sqltx.Rows) error) error {
	sql, args = q.form(sql, args)
	return tx.Each(ctx, sql, args, scan)
}

func (q questions) exec(ctx context.Context, tx sqltx.Tx, sql string, args []any) (int64, error) {
	sql, args = q.form(sql, args)
	return tx.Exec(ctx, sql, args...)
}

func (q questions) form(sql string, args []any) (string, []any) {
	sql = q.fill(sql)
	if q.my {
		s := myStatementOf(q.s.names, sql)
		return s.sql, s.args(args)
	}
	return q.s.names.fill(sql), args
}

// args puts the clock in front. On PostgreSQL the first parameter is there too, so that the numbers are the same.
func (q questions) args(rest ...any) []any { return append([]any{q.now}, rest...) }

// fill writes parameters and casts in the dialect's way.
func (q questions) fill(sql string) string {
	uuid := ""
	if q.pg {
		sql, uuid = dollars(sql), "::text::uuid"
	}
	return strings.ReplaceAll(sql, "{{uuid}}", uuid)
}

// age is the microseconds since an instant.
func (q questions) age(instant string) string {
	if q.pg {
		return "(extract(epoch FROM clock_timestamp() - " + instant + ")::numeric * 1000000.0)::bigint + 0::bigint * $1::bigint"
	}
	if q.my {
		return myNow + " - " + instant
	}
	return "?1 - " + instant
}

// rows selects what entry scans.
func (q questions) rows(t outbox.Table, whole bool) string {
	body, at := "CASE WHEN 1 = 0 THEN body END", "created_at"
	if whole {
		body = "body"
	}
	id, size := "id", "coalesce(length(CAST(body AS BLOB)), -1)"
	if q.pg {
		id, size, at = "id::text", "coalesce(octet_length(body), -1)", "(extract(epoch FROM created_at)::numeric * 1000000.0)::bigint"
	}
	if q.my {
		size = "coalesce(length(body), -1)"
	}
	return "SELECT seq, partition, attempts, " + id + ", class, topic, coalesce(key, ''), attrs, " + body + ", " + size + ", " + at + ", " + q.age("created_at") + " FROM {{" + t.String() + "}}"
}

func (q questions) entry(list *[]Entry) func(sqltx.Rows) error {
	return func(r sqltx.Rows) error {
		var e Entry
		var at, age int64
		if err := r.Scan(&e.Seq, &e.Partition, &e.Attempts, &e.ID, &e.Class, &e.Topic, &e.Key, &e.Attrs, &e.Body, &e.BodySize, &at, &age); err != nil {
			return err
		}
		if e.BodySize == 0 { // which some libraries read as no body
			e.Body = []byte{}
		}
		e.Partition &= outbox.Partitions - 1 // as readers take it
		e.CreatedAt, e.Age = time.UnixMicro(at).UTC(), max(0, time.Duration(age)*time.Microsecond)
		*list = append(*list, e)
		return nil
	}
}

// overview groups the oldest rows.
func (q questions) overview(t outbox.Table) string {
	return "SELECT class, count(*), " + q.age("min(created_at)") +
		" FROM (SELECT class, created_at FROM {{" + t.String() + "}} ORDER BY seq LIMIT ?2) w GROUP BY class ORDER BY class"
}

// readers are the statements about owners and nodes, which the Keeper has.
func (q questions) readers(t outbox.Table) (owners, nodes string, args []any) {
	switch k := q.s.outbox.keeper.(type) {
	case *pgKeeper:
		return k.owners, k.nodes, []any{t == outbox.ToLocal}
	case *liteKeeper:
		return k.owners, k.nodes, []any{boolInt(t == outbox.ToLocal), q.now}
	case *myKeeper:
		return k.owners.sql, k.nodes.sql, []any{boolInt(t == outbox.ToLocal)}
	}
	return "", "", nil
}

// estimate of the rows, by the statistics; SQLite keeps none, and its seqs say at most how many there are.
func (q questions) estimate(t outbox.Table) string {
	if q.pg {
		return "SELECT greatest(coalesce(pg_catalog.pg_stat_get_live_tuples(c.oid), 0), c.reltuples::bigint) FROM pg_catalog.pg_class c WHERE c.oid = {{literal " + t.String() + "}}::regclass"
	}
	if q.my {
		return "SELECT coalesce(max(TABLE_ROWS), -1) FROM information_schema.TABLES WHERE TABLE_SCHEMA = coalesce(nullif(?1, ''), DATABASE()) AND TABLE_NAME = ?2"
	}
	return "SELECT max(seq) - min(seq) + 1 FROM {{" + t.String() + "}}"
}

// victims is the condition for v between two seqs. The clock is the first parameter.
func (q questions) victims(v Victims, after, last int64) (where string, args []any) {
	args = q.args(after, last)
	where = "seq > ?2 AND seq <= ?3 AND " + q.age("created_at") + " >= "
	add := func(value any) string {
		args = append(args, value)
		return "?" + string('0'+rune(len(args)))
	}
	where += add(v.Older.Microseconds())
	if v.Class != nil {
		where += " AND class = " + add(*v.Class)
	}
	if v.Topic != "" {
		where += " AND topic = " + add(v.Topic)
	}
	if v.ID != "" {
		where += " AND id = " + add(strings.ToLower(v.ID)) + "{{uuid}}"
	}
	if v.Seq != 0 {
		where += " AND seq = " + add(v.Seq)
	}
	return where, args
}

// lockRows leaves rows out that another transaction holds.
func (q questions) lockRows() string {
	if q.pg || q.my {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}
