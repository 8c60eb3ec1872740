package saga

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// No statement of a step, of a page of a list, of a journal or of the purge walks over a whole table of instances, journals or messages
// that wait. On PostgreSQL load and save are functions that bring their settings along, and are looked at from outside only. Counting
// does walk, and is for people.
func TestPlans(t *testing.T) {
	databases(t, func(w *world) {
		w.fill(2000)
		x := &explained{w: w}
		db := sqltx.StdDB(w.raw)
		db.Exec, db.Query = nil, nil // so that everything is a transaction
		db.Tx = func(tx *sql.Tx) sqltx.Tx { return sqltx.Like(&explainedTx{tx, x}) }
		g, handlers := w.bar(db)
		for _, m := range []sixfold.Message{opened{"t-1"}, drink{"t-1"}, closed{"t-1"}, opened{"t-1"}, drink{"nobody"}} {
			must(w.T, handle(w.Context(), handlers, w.envelope(m)))
		}
		if s := g.Stats(); s.Steps != 4 || s.NoInstance != 1 {
			w.Errorf("%+v", s)
		}
		st, err := openStore(w.driver, db)
		must(w.T, err)
		records := st.Sagas().Records()
		ask := func(f saga.Filter, p saga.Page) {
			w.Helper()
			p.Limit = 10
			_, err := records.List(w.Context(), f, p)
			must(w.T, err)
		}
		ask(saga.Filter{Saga: "tab"}, saga.Page{})
		ask(saga.Filter{Saga: "tab", Full: true}, saga.Page{AfterSaga: "tab", AfterKey: "open-1000", AfterGeneration: 1})
		ask(saga.Filter{Saga: "tab", Key: "open-1000"}, saga.Page{})
		ask(saga.Filter{Saga: "tab", Live: true}, saga.Page{})
		_, err = records.History(w.Context(), sixfold.NewID(), 0, 10)
		must(w.T, err)
		if n, err := records.Purge(w.Context(), time.Microsecond, 10); err != nil || n != 10 {
			w.Errorf("%d of 10 were purged, %v", n, err)
		}
		if x.n < 15 {
			w.Errorf("%d statements were looked at", x.n)
		}
		w.Logf("%d statements", x.n)
		// The test itself has to be able to fail.
		x.quiet = true
		must(w.T, db.Run(w.Context(), func(tx *sql.Tx) error {
			x.look(w.Context(), tx, "SELECT count(*) FROM "+strings.Replace("sixfold_saga", "_", map[bool]string{true: ".", false: "_"}[w.driver == "pgx"], 1)+" WHERE reason = 'none'", nil)
			return nil
		}))
		if x.walks == 0 {
			w.Error("a walk over the instances was not seen")
		}
	})
}

// fill makes n instances with a line in the journal each, half of them ended, and lets the database learn about them.
func (w *world) fill(n int) {
	w.Helper()
	_, handlers := w.bar(sqltx.StdDB(w.raw))
	must(w.T, handle(w.Context(), handlers, w.envelope(opened{"model"})))
	names, cast, analyze := "sixfold_", "", "ANALYZE"
	switch w.driver {
	case "pgx":
		names, cast = "sixfold.", "::uuid"
	case "mysql":
		analyze = "ANALYZE TABLE sixfold_saga, sixfold_saga_step, sixfold_delayed"
	}
	copied := "INSERT INTO " + names + "saga (saga, correlation, generation, id, version, status, schema_version, step, state, timers, reason, started_at, changed_at, ended_at) " +
		"SELECT saga, 'open-%d', 1, '01980000-0000-7000-8000-%012d'" + cast + ", version, status, schema_version, step, state, timers, reason, started_at, changed_at, %s FROM " + names + "saga WHERE saga = 'tab' AND correlation = 'model'"
	noted := "INSERT INTO " + names + "saga_step (instance, at, version, kind, step, message, took, detail) " +
		"SELECT '01980000-0000-7000-8000-%012d'" + cast + ", at, version, kind, step, message, took, detail FROM " + names + "saga_step LIMIT 1"
	must(w.T, sqltx.StdDB(w.raw).Run(w.Context(), func(tx *sql.Tx) error {
		for i := range n {
			ended := "NULL"
			if i%2 == 1 {
				ended = "started_at"
			}
			if _, err := tx.ExecContext(w.Context(), fmt.Sprintf(copied, i, i, ended)); err != nil {
				return err
			}
			if _, err := tx.ExecContext(w.Context(), fmt.Sprintf(noted, i)); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := w.raw.ExecContext(w.Context(), analyze)
	must(w.T, err)
}

// explained looks at the plan of each statement before it runs.
type explained struct {
	w        *world
	n, walks int
	quiet    bool // walks are counted only
}

type explainedTx struct {
	*sql.Tx
	x *explained
}

func (e *explainedTx) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	e.x.look(ctx, e.Tx, q, args)
	return e.Tx.ExecContext(ctx, q, args...)
}

func (e *explainedTx) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	e.x.look(ctx, e.Tx, q, args)
	return e.Tx.QueryContext(ctx, q, args...)
}

func (x *explained) look(ctx context.Context, tx *sql.Tx, q string, args []any) {
	x.w.Helper()
	q = strings.TrimSpace(q)
	verb, _, _ := strings.Cut(strings.ToUpper(q), " ")
	if verb != "SELECT" && verb != "UPDATE" && verb != "DELETE" {
		return // what enters rows finds them by their keys
	}
	explain := map[string]string{"pgx": "EXPLAIN ", "mysql": "EXPLAIN ", "sqlite": "EXPLAIN QUERY PLAN "}[x.w.driver]
	rows, err := tx.QueryContext(ctx, explain+q, args...)
	if err != nil {
		x.w.Errorf("explain %s: %v", q, err)
		return
	}
	defer rows.Close()
	columns, err := rows.Columns()
	must(x.w.T, err)
	x.n++
	for rows.Next() {
		values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		must(x.w.T, rows.Scan(places...))
		line := ""
		for i, v := range values {
			line += columns[i] + "=" + v.String + " "
		}
		if walks(line) {
			if x.walks++; !x.quiet {
				x.w.Errorf("%s\nwalks over a table: %s", q, line)
			}
		}
	}
	must(x.w.T, rows.Err())
}

// walks reports whether a line of a plan reads a whole table of sagas, or of what waits.
func walks(line string) bool {
	ours := false
	for _, table := range []string{"saga", "saga_step", "delayed"} {
		ours = ours || strings.Contains(line, "sixfold_"+table+" ") || strings.HasSuffix(line, " on "+table+" ") || strings.Contains(line, " on "+table+" ")
	}
	return ours && (strings.Contains(line, "Seq Scan") || strings.Contains(line, "type=ALL") || strings.Contains(line, "detail=SCAN") && !strings.Contains(line, "INDEX"))
}
