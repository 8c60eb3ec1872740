package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// [PlanGuard]: the tables of the scheduler are empty when a program begins, new or vacuumed, and plans are made then. With 100,000
// messages that wait and 20,000 schedules the statements touch the pages of what they work on, before anything is analyzed.
func TestSchedulePlansOfEmptyTables(t *testing.T) {
	t.Run("new", func(t *testing.T) { schedulePlans(t, false) })
	t.Run("vacuumed", func(t *testing.T) { schedulePlans(t, true) })
}

func schedulePlans(t *testing.T, vacuumed bool) {
	config, err := pgxpool.ParseConfig(servers.Postgres(t).Database(t))
	must(t, err)
	config.MaxConns = 1 // plans are kept per session
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	exec := func(q string) {
		t.Helper()
		_, err := p.Exec(t.Context(), q)
		must(t, err)
	}
	for _, table := range []string{"delayed", "schedule", "tick", "promoted"} {
		exec("ALTER TABLE sixfold." + table + " SET (autovacuum_enabled = off)")
		if vacuumed {
			exec("VACUUM ANALYZE sixfold." + table)
		}
	}
	exec("SET plan_cache_mode = force_generic_plan")
	s := st.Schedule()
	work := func(id, name string, at time.Time) {
		t.Helper()
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
			on := sqltx.Pgx(tx)
			if _, err := s.Delayed().Reschedule(t.Context(), on, id, at, 0); err != nil {
				return err
			}
			if _, err := s.Delayed().Cancel(t.Context(), on, id); err != nil {
				return err
			}
			_, _, err := s.Recurring().Find(t.Context(), on, name)
			return err
		}))
		_, err := s.Recurring().Advance(t.Context(), 100, func(_ time.Time, due []schedule.Entry) (steps []schedule.Step) {
			for _, e := range due {
				e.Wake = at
				steps = append(steps, schedule.Step{Entry: e})
			}
			return steps
		})
		must(t, err)
		_, err = s.Next(t.Context(), time.Time{})
		must(t, err)
		_, err = s.Delayed().Promote(t.Context(), 100, time.Time{})
		must(t, err)
		_, err = s.History().Occurrences(t.Context(), name, time.Time{}, 10)
		must(t, err)
	}
	later := time.Now().Add(time.Hour)
	purge := func() { // what was removed is looked for in all schedules, once an hour
		t.Helper()
		_, err := s.History().Purge(t.Context(), 24*time.Hour, 10)
		must(t, err)
	}
	for range 3 {
		work(sixfold.NewID(), "nobody", later)
		purge()
	}
	exec(`INSERT INTO sixfold.delayed (due_at, local, partition, id, class, topic, attrs) SELECT now() + g * interval '1 second', false, 0, gen_random_uuid(), '', 't', '' FROM generate_series(10000, 110000) g`)
	exec(`INSERT INTO sixfold.schedule (name, spec, zone, definition, owner, state, runs, next_due, wake_at, last_id, last_from, last_to, no_overlap, problem, changed_at)
		SELECT 's' || g, '', '', '', 'o', 1, 0, now(), now() + (g - 3) * interval '1 hour', '', 0, 0, false, '', now() FROM generate_series(1, 20000) g`)
	exec(`INSERT INTO sixfold.tick (schedule, planned, promoted_at, outcome, id, missed, local, relayed, note) SELECT 's' || g % 100, now() - g * interval '1 second', now() - g * interval '2 seconds', 1, '', 0, false, true, '' FROM generate_series(1, 50000) g`)
	var id string
	must(t, p.QueryRow(t.Context(), "SELECT id::text FROM sixfold.delayed ORDER BY due_at OFFSET 50000 LIMIT 1").Scan(&id))

	const read = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_all_tables WHERE schemaname = 'sixfold' AND relname = $1"
	pages := func(table string) (n int64) {
		t.Helper()
		exec("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
		must(t, p.QueryRow(t.Context(), read, table).Scan(&n))
		return n
	}
	before := map[string]int64{}
	for _, table := range []string{"delayed", "schedule", "tick"} {
		before[table] = pages(table)
	}
	work(id, "s7", later)
	for table, was := range before {
		n := pages(table) - was
		t.Logf("%s: %d pages", table, n)
		if n > 200 {
			t.Errorf("the statements read %d pages of %s, which were planned when it was empty", n, table)
		}
	}
	was := pages("tick")
	purge()
	if n := pages("tick") - was; n > 200 {
		t.Errorf("purging ten of its rows reads %d pages of tick", n)
	}
	if n := buffers(t, p, fmt.Sprintf("SELECT count(*) FROM sixfold.delayed WHERE topic = '%s'", id)); n < 500 {
		t.Errorf("a scan of what is delayed touches %d pages: this test shows nothing any more", n)
	}
}
