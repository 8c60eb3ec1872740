// Package virtualtime runs long times in no time: schedules on SQLite, in the bubbles of testing/synctest.
package virtualtime

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) { servers.Main(m) }

// daysEnv says how many days to run; 365 is the whole: 525,600 occurrences.
const daysEnv = "SIXFOLD_VIRTUAL_DAYS"

type tick struct{}

func (tick) MessageName() string { return "virtual.tick" }

// A minutely cron on SQLite: each minute has its occurrence, at its time and once, and its message. guarantees: C1, C2, C3
func TestEveryMinuteOfManyDays(t *testing.T) {
	days := 3
	if testing.Short() {
		days = 1
	}
	if text := os.Getenv(daysEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s=%q: give a number of days, such as 365", daysEnv, text)
		}
		days = n
	}
	real := time.Now()
	synctest.Test(t, func(t *testing.T) { everyMinute(t, days) })
	t.Logf("%d occurrences in %v", days*24*60, time.Since(real))
}

func everyMinute(t *testing.T, days int) {
	file, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "a.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	must(t, err)
	defer file.Close()
	db := sqltx.StdDB(file)
	st, err := store.SQLite(db, &store.Options{Clock: time.Now}) // the bubble's
	must(t, err)
	must(t, st.Migrate(t.Context()))
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("ticks", tick{}))
	must(t, err)
	s, err := schedule.New(st.Schedule(), box, &schedule.Options{History: 400 * 24 * time.Hour, Poll: time.Hour}) // a poll finds what other processes schedule, and there are none
	must(t, err)
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(90 * time.Second))) // into the middle of a minute
	begin := time.Now().UTC().Truncate(time.Minute)
	must(t, db.InTx(t.Context(), func(tx sqltx.Tx) error {
		_, err := s.Upsert(t.Context(), tx, schedule.Recurring{Name: "m", Spec: "* * * * *", Message: tick{}})
		return err
	}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	time.Sleep(time.Duration(days) * 24 * time.Hour)
	stop()
	must(t, <-done)
	checkMinutes(t, file, begin, days*24*60)
}

// checkMinutes wants one occurrence with one message in each of n minutes behind begin. It reads the tables, since what became
// of each message is of no interest here.
func checkMinutes(t *testing.T, file *sql.DB, begin time.Time, n int) {
	t.Helper()
	rows, err := file.QueryContext(t.Context(), "SELECT planned, promoted_at, id, outcome, missed FROM sixfold_tick WHERE schedule = 'm' ORDER BY planned")
	must(t, err)
	defer rows.Close()
	want, worst := begin, time.Duration(0)
	for rows.Next() {
		var planned, promoted, missed int64
		var outcome schedule.Outcome
		var id string
		must(t, rows.Scan(&planned, &promoted, &id, &outcome, &missed))
		want = want.Add(time.Minute)
		late := time.Duration(promoted-planned) * time.Microsecond
		switch {
		case planned != want.UnixMicro():
			t.Fatalf("the occurrence of %v is missing, or was there before: %v comes", want, time.UnixMicro(planned).UTC())
		case outcome != schedule.Begins || missed != 0 || id != schedule.OccurrenceID("m", want):
			t.Fatalf("that of %v is %v, with id %s, and %d missed", want, outcome, id, missed)
		case late < 0:
			t.Fatalf("that of %v was early by %v", want, -late)
		}
		worst = max(worst, late)
	}
	must(t, rows.Err())
	if last := begin.Add(time.Duration(n) * time.Minute); !want.Equal(last) {
		t.Errorf("the last occurrence is of %v, want %v", want, last)
	}
	if worst > 100*time.Millisecond {
		t.Errorf("one was late by %v", worst)
	}
	var messages, ids int
	must(t, file.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT id) FROM sixfold_local").Scan(&messages, &ids))
	if messages != n || ids != n {
		t.Errorf("%d messages of %d ids were written, want %d", messages, ids, n)
	}
	t.Logf("late by %v at most", worst)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
