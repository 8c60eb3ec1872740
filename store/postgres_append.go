package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// valuesAtMost is the number of rows up to which each is a list of VALUES; more travel as arrays. The set of texts is
// small and stays the same, so that every library's statement cache holds it.
const valuesAtMost = 8

const (
	appendColumns = "partition, id, class, topic, key, attrs, body"
	appendArgs    = 7
)

// pgWriter implements outbox.Writer.
type pgWriter struct {
	db      sqltx.Runner
	tables  [2]pgAppends
	outcome string
	args    *sync.Pool // of *[appendArgs]any: no library keeps the arguments of a statement that has ended
	later   *delayedTable
}

// pgAppends are the statements that insert into one table.
type pgAppends struct {
	values     [valuesAtMost + 1]string // by number of rows
	valuesXact [valuesAtMost + 1]string
	arrays     string
	arraysXact string
	claims     string
	claimsXact string
}

func newPgWriter(s *Store) *pgWriter {
	w := &pgWriter{db: s.db, later: &s.schedule.delayed, args: &sync.Pool{New: func() any { return new([appendArgs]any) }}, outcome: "SELECT coalesce(pg_catalog.pg_xact_status($1::text::xid8), ''), " +
		pgRun + " = $2::text AND NOT pg_catalog.pg_is_in_recovery()"}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		w.tables[t] = pgAppendsFor(s.names, t)
	}
	return w
}

func pgAppendsFor(n names, t outbox.Table) (a pgAppends) {
	insert := n.fill("INSERT INTO {{" + t.String() + "}} (" + appendColumns + ") ")
	for rows := 1; rows <= valuesAtMost; rows++ {
		a.values[rows] = insert + pgValues(rows)
		a.valuesXact[rows] = withXact(a.values[rows])
	}
	a.arrays = insert + `SELECT u.partition, u.id, u.class, u.topic, u.key, substr($9::bytea, u.at, u.attrs), substr($9::bytea, u.at + u.attrs, u.body)
FROM unnest($1::text::smallint[], $2::text::uuid[], $3::text::text[], $4::text::text[], $5::text::text[], $6::text::integer[], $7::text::integer[], $8::text::integer[])
  WITH ORDINALITY u(partition, id, class, topic, key, at, attrs, body, n) ORDER BY u.n`
	a.arraysXact = withXact(a.arrays)
	// Claims are entered in their own order, so that two transactions with the same ones do not deadlock in one statement.
	// The clock, not the transaction's beginning, says when a claim ends.
	claims := n.fill(`WITH u AS MATERIALIZED (SELECT * FROM unnest($1::text::smallint[], $2::text::uuid[], $3::text::text[], $4::text::text[], $5::text::text[], $6::text::integer[], $7::text::integer[], $8::text::integer[],
    $10::text::text[], $11::text::bigint[], $12::text::integer[]) u(partition, id, class, topic, key, at, attrs, body, claim, within, n)),
c AS (INSERT INTO {{published}} AS p (claim, id, until)
    SELECT u.claim, u.id, CASE WHEN u.within = 0 THEN 'infinity' ELSE clock_timestamp() + u.within::double precision * interval '1 microsecond' END FROM u WHERE u.claim IS NOT NULL ORDER BY u.claim
    ON CONFLICT (claim) DO UPDATE SET id = excluded.id, until = excluded.until WHERE p.until < clock_timestamp() RETURNING claim),
i AS (` + insert + `SELECT u.partition, u.id, u.class, u.topic, u.key, substr($9::bytea, u.at, u.attrs), substr($9::bytea, u.at + u.attrs, u.body)
    FROM u WHERE u.claim IS NULL OR u.claim IN (SELECT c.claim FROM c) ORDER BY u.n)
SELECT u.n, '' FROM u WHERE u.claim IS NOT NULL AND u.claim NOT IN (SELECT c.claim FROM c)`)
	a.claims = claims
	a.claimsXact = claims + " UNION ALL SELECT -1, " + pgXact
	return a
}

func withXact(insert string) string {
	return "WITH i AS (" + insert + ") SELECT " + pgXact
}

func pgValues(rows int) string {
	var b strings.Builder
	b.WriteString("VALUES ")
	n := 0
	arg := func(cast string) {
		n++
		b.WriteString("$" + strconv.Itoa(n) + cast)
	}
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		for i, cast := range [appendArgs]string{"::smallint", "::text::uuid", "::text", "::text", "::text", "::bytea", "::bytea"} {
			b.WriteString([]string{"(", ", "}[min(i, 1)])
			arg(cast)
		}
		b.WriteString(")")
	}
	return b.String()
}

// Append implements outbox.Writer.
func (w *pgWriter) Append(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, wantXact bool) (refused []int, xact string, err error) {
	if len(rows) == 0 {
		return nil, "", nil
	}
	if len(rows) == 1 && rows[0].Claim == "" && sizeOf(&rows[0]) <= roundTrip {
		xact, err = w.insert(ctx, tx, t, rows, wantXact)
		return nil, xact, err
	}
	parts, err := chunks(rows)
	if err != nil {
		return nil, "", err
	}
	for _, p := range parts {
		part := rows[p[0]:p[1]]
		var x string
		if anyClaims(part) {
			var dup []int
			dup, x, err = w.claim(ctx, tx, t, part, wantXact && xact == "")
			for _, i := range dup {
				refused = append(refused, p[0]+i)
			}
		} else {
			x, err = w.insert(ctx, tx, t, part, wantXact && xact == "")
		}
		if err != nil {
			return nil, "", err
		}
		if x != "" {
			xact = x
		}
	}
	slices.Sort(refused)
	return refused, xact, nil
}

// insert writes rows without claims.
func (w *pgWriter) insert(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, wantXact bool) (xact string, err error) {
	var s sqltx.Statement
	if len(rows) == 1 && !wantXact { // the usual publish
		room := w.args.Get().(*[appendArgs]any)
		defer func() {
			clear(room[:])
			w.args.Put(room)
		}()
		s = sqltx.Statement{SQL: w.tables[t].values[1], Args: valuesOf(room[:0], &rows[0])}
	} else {
		s = w.statement(t, rows, wantXact)
	}
	if !wantXact {
		_, err = tx.Exec(ctx, s.SQL, s.Args...)
	} else {
		err = tx.Each(ctx, s.SQL, s.Args, func(r sqltx.Rows) error { return r.Scan(&xact) })
	}
	if err != nil {
		return "", failed("append to "+t.String(), err)
	}
	return xact, nil
}

func (w *pgWriter) statement(t outbox.Table, rows []outbox.Row, wantXact bool) sqltx.Statement {
	a := &w.tables[t]
	if n := len(rows); n <= valuesAtMost {
		sql := a.values[n]
		if wantXact {
			sql = a.valuesXact[n]
		}
		args := make([]any, 0, appendArgs*n)
		for i := range rows {
			args = valuesOf(args, &rows[i])
		}
		return sqltx.Statement{SQL: sql, Args: args}
	}
	if wantXact {
		return sqltx.Statement{SQL: a.arraysXact, Args: arraysOf(rows, nil)}
	}
	return sqltx.Statement{SQL: a.arrays, Args: arraysOf(rows, nil)}
}

// valuesOf adds the arguments of one row. No key is NULL, and so is a nil body.
func valuesOf(args []any, r *outbox.Row) []any {
	args = append(args, r.Partition, r.ID, r.Class, r.Topic)
	if r.Key == "" {
		args = append(args, nil)
	} else {
		args = append(args, r.Key)
	}
	if r.Attrs == nil {
		args = append(args, []byte{})
	} else {
		args = append(args, r.Attrs)
	}
	if r.Body == nil {
		return append(args, nil)
	}
	return append(args, r.Body)
}

// arraysOf are the arguments of the array form: one array per column, and the bytes of all rows as one parameter, with
// where each row's begin and how long they are. So bytes are sent as they are, not as hexadecimal text. Rows in skip
// are left out.
func arraysOf(rows []outbox.Row, skip map[int]bool) []any {
	n, size := len(rows), 0
	for i := range rows {
		size += len(rows[i].Attrs) + len(rows[i].Body)
	}
	partitions, ids, classes, topics, keys := newArray(3*n), newArray(39*n), newArray(8*n), newArray(24*n), newArray(24*n)
	ats, attrs, bodies := newArray(8*n), newArray(5*n), newArray(6*n)
	all := make([]byte, 0, size)
	for i := range rows {
		if skip[i] {
			continue
		}
		r := &rows[i]
		partitions.int(int64(r.Partition))
		ids.text(r.ID)
		classes.text(r.Class)
		topics.text(r.Topic)
		keys.textOrNull(r.Key)
		ats.int(int64(len(all)) + 1)
		attrs.int(int64(len(r.Attrs)))
		if r.Body == nil {
			bodies.null()
		} else {
			bodies.int(int64(len(r.Body)))
		}
		all = append(append(all, r.Attrs...), r.Body...)
	}
	return []any{partitions.String(), ids.String(), classes.String(), topics.String(), keys.String(), ats.String(), attrs.String(), bodies.String(), all}
}

// claim writes rows of which some have claims, and answers the indexes of those whose claim is taken.
func (w *pgWriter) claim(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, wantXact bool) (refused []int, xact string, err error) {
	again := repeats(rows)
	for i := range again {
		refused = append(refused, i)
	}
	claims, withins, numbers := newArray(48*len(rows)), newArray(8*len(rows)), newArray(4*len(rows))
	for i := range rows {
		if again[i] {
			continue
		}
		claims.textOrNull(claimKey(rows[i].Claim))
		withins.int(rows[i].ClaimFor.Microseconds())
		numbers.int(int64(i))
	}
	args := append(arraysOf(rows, again), claims.String(), withins.String(), numbers.String())
	sql := w.tables[t].claims
	if wantXact {
		sql = w.tables[t].claimsXact
	}
	err = tx.Each(ctx, sql, args, func(r sqltx.Rows) error {
		var n int
		var x string
		if err := r.Scan(&n, &x); err != nil {
			return err
		}
		if n < 0 {
			xact = x
		} else {
			refused = append(refused, n)
		}
		return nil
	})
	if err != nil {
		return nil, "", failed("append to "+t.String(), err)
	}
	return refused, xact, nil
}

// Prepare implements outbox.Writer.
func (w *pgWriter) Prepare(t outbox.Table, rows []outbox.Row) (sqltx.Statement, error) {
	if err := preparable(rows); err != nil {
		return sqltx.Statement{}, err
	}
	return w.statement(t, rows, false), nil
}

func preparable(rows []outbox.Row) error {
	switch {
	case len(rows) == 0:
		return fmt.Errorf("store: prepare: there are no rows; prepare at least one")
	case anyClaims(rows):
		return fmt.Errorf("store: prepare: a row has an id or a unique key of the caller's, whose answer must be read; append it instead")
	case len(rows) > 1 && totalSize(rows) > roundTrip:
		return fmt.Errorf("store: prepare: the rows have %d bytes, one statement takes %d; prepare fewer, or append them", totalSize(rows), roundTrip)
	}
	return nil
}
