package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// Whoever has an appointment is reminded once and not too early; who called it off is not. guarantees: C1, C2, C5
func TestReminders(t *testing.T) {
	check(t, t.Context(), 8*time.Second, nil) // which booking, calling off and moving take less than on any machine
}

// The same with two minutes between two patients, in the time of a bubble, where nothing is late but by what goes on in the process.
func TestRemindersInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check(t, t.Context(), 2*time.Minute, time.Now)
	})
}

func check(t *testing.T, ctx context.Context, step time.Duration, clock func() time.Time) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "diary.db")
	begin := time.Now()
	var out strings.Builder
	if err := run(ctx, file, step, clock, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "reminded Cleo\nreminded Ada\n" {
		t.Errorf("it printed %q", got)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT patient, r.at, a.at FROM reminded r LEFT JOIN appointments a USING (patient) ORDER BY r.at")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	due := map[string]time.Duration{"Cleo": 3 * step, "Ada": 4 * step}
	n := 0
	for rows.Next() {
		var patient string
		var at int64
		var appointment sql.NullInt64
		if err := rows.Scan(&patient, &at, &appointment); err != nil {
			t.Fatal(err)
		}
		n++
		if !appointment.Valid {
			t.Errorf("%s was reminded of no appointment", patient)
		}
		after := time.UnixMicro(at).Sub(begin)
		if after < due[patient]-time.Microsecond {
			t.Errorf("%s was reminded after %v, before %v had passed", patient, after, due[patient])
		}
		if late := after - due[patient]; clock != nil && late > 250*time.Millisecond {
			t.Errorf("%s was reminded %v late", patient, late)
		}
	}
	if err := rows.Err(); err != nil || n != 2 {
		t.Errorf("%d reminders, want 2: %v", n, err)
	}
}
