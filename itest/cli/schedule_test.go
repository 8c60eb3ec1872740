package cli

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// report is what the schedules of these tests send.
type report struct {
	Text string `json:"text"`
}

func (report) MessageName() string { return "shop.report" }

// Each file of testdata/schedule is what a user does to schedules. a.db holds: "daily", of an hour that is left out once a year;
// "dead", whose only occurrence is a dead letter of consumer reports; "done", which has finished; and two messages that wait, whose
// ids are in FIRST_ID and SECOND_ID. DEAD_ID is the id of the dead occurrence.
func TestScheduleScripts(t *testing.T) {
	bin := command(t)
	files, err := filepath.Glob(filepath.Join("testdata", "schedule", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files { // one after the other, since the command runs in this process
		t.Run(filepath.Base(file), func(t *testing.T) {
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: func(e *testscript.Env) error {
				e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
				e.Setenv("SIXFOLD_DSN", "sqlite:a.db")
				return schedules(t.Context(), filepath.Join(e.WorkDir, "a.db"), e.Setenv)
			}, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits}})
		})
	}
}

// schedules fills a file. It lets a real scheduler and a consumer that refuses everything run until the dead letter is there.
func schedules(ctx context.Context, path string, set func(name, value string)) error {
	file, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return err
	}
	defer file.Close()
	db := sqltx.StdDB(file)
	st, err := store.SQLite(db, nil)
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("reports", report{}))
	if err != nil {
		return err
	}
	s, err := schedule.New(st.Schedule(), box, nil)
	if err != nil {
		return err
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return err
	}
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	if err != nil {
		return err
	}
	began := make(chan string, 8)
	refuse, err := bus.NewConsumer(local, bus.Subscription{Group: "reports"}, nil, inbox.On(in, func(ctx context.Context, _ *sql.Tx, m report) error {
		began <- m.Text
		return sixfold.Permanent(fmt.Errorf("no paper"))
	}))
	if err != nil {
		return err
	}
	err = db.InTx(ctx, func(tx sqltx.Tx) error {
		for _, r := range []schedule.Recurring{
			{Name: "daily", Spec: "30 2 * * *", Zone: "Europe/Berlin", Message: report{"\x1b[31mred"}},
			{Name: "dead", Spec: "every 1s", MaxRuns: 1, Message: report{"dead"}},
		} {
			if _, err := s.Upsert(ctx, tx, r); err != nil {
				return err
			}
		}
		for i, name := range []string{"FIRST_ID", "SECOND_ID"} {
			id, err := s.After(ctx, tx, report{name}, time.Duration(i+1)*time.Hour)
			if err != nil {
				return err
			}
			set(name, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- sixfold.Run(ctx, s, refuse) }()
	select {
	case <-began:
	case err := <-done:
		return err
	}
	for fate := schedule.FateNone; fate != schedule.FateDead && ctx.Err() == nil; {
		list, err := s.Occurrences(ctx, "dead", time.Time{}, 1)
		if err != nil {
			return err
		}
		if len(list) == 1 {
			fate = list[0].Fate
			set("DEAD_ID", list[0].ID)
		}
	}
	stop()
	return <-done
}
