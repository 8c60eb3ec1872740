package saga

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/plans"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// No statement of a step, of a page of a list, of a journal or of the purge walks over a whole table of instances, journals or messages
// that wait. On PostgreSQL load and save are functions that bring their settings along, and are looked at from outside only. Counting
// does walk, and is for people.
func TestPlans(t *testing.T) {
	databases(t, func(w *world) {
		w.fill(2000)
		watch := plans.New(w.T, w.driver, nil, "saga", "saga_step", "delayed")
		db := watch.DB(w.raw)
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
		if watch.Seen < 15 {
			w.Errorf("%d statements were looked at", watch.Seen)
		}
		w.Logf("%d statements", watch.Seen)
		// The test itself has to be able to fail.
		watch.Quiet = true
		must(w.T, db.Run(w.Context(), func(tx *sql.Tx) error {
			watch.Look(w.Context(), tx, "SELECT count(*) FROM "+strings.Replace("sixfold_saga", "_", map[bool]string{true: ".", false: "_"}[w.driver == "pgx"], 1)+" WHERE reason = 'none'")
			return nil
		}))
		if watch.Walks == 0 {
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
