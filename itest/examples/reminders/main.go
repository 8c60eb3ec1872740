// Program reminders is a surgery's diary: booking an appointment schedules its reminder in the same transaction, moving it moves
// the reminder, and calling it off takes the reminder back. An SQLite file is all it needs.
//
//	go run ./examples/reminders
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// ReminderDue says that somebody has an appointment soon.
type ReminderDue struct {
	Patient string `json:"patient"`
}

func (ReminderDue) MessageName() string  { return "diary.reminder-due" }
func (m ReminderDue) MessageKey() string { return m.Patient }

// diary is what the surgery does with appointments. A patient is reminded some time before.
type diary struct {
	db        sqltx.DB[*sql.Tx]
	scheduler *schedule.Scheduler
	before    time.Duration
}

// book enters an appointment with its reminder: both, or neither.
func (d *diary) book(ctx context.Context, patient string, at time.Time) error {
	return d.db.Run(ctx, func(tx *sql.Tx) error {
		id, err := d.scheduler.At(ctx, sqltx.Std(tx), ReminderDue{Patient: patient}, at.Add(-d.before))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO appointments (patient, at, reminder) VALUES (?, ?, ?)", patient, at.Unix(), id)
		return err
	})
}

// move changes an appointment, and its reminder if that was not sent yet.
func (d *diary) move(ctx context.Context, patient string, at time.Time) error {
	return d.db.Run(ctx, func(tx *sql.Tx) error {
		var id string
		err := tx.QueryRowContext(ctx, "UPDATE appointments SET at = ? WHERE patient = ? RETURNING reminder", at.Unix(), patient).Scan(&id)
		if err != nil {
			return err
		}
		return d.scheduler.Reschedule(ctx, sqltx.Std(tx), id, at.Add(-d.before))
	})
}

// callOff removes an appointment with its reminder.
func (d *diary) callOff(ctx context.Context, patient string) error {
	return d.db.Run(ctx, func(tx *sql.Tx) error {
		var id string
		err := tx.QueryRowContext(ctx, "DELETE FROM appointments WHERE patient = ? RETURNING reminder", patient).Scan(&id)
		if err != nil {
			return err
		}
		return d.scheduler.Cancel(ctx, sqltx.Std(tx), id)
	})
}

// day is a day of the surgery, in which the time between two patients is step: three book, one calls off, one comes later. It
// returns when both who are left were reminded.
func day(ctx context.Context, db sqltx.DB[*sql.Tx], st *store.Store, step time.Duration, out io.Writer) error {
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("reminders", ReminderDue{}))
	if err != nil {
		return err
	}
	scheduler, err := schedule.New(st.Schedule(), box, nil)
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
	sent := make(chan string, 10)
	reminders, err := bus.NewConsumer(local, bus.Subscription{Group: "reminders", Ordered: true}, nil,
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m ReminderDue) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO reminded (patient, at) VALUES (?, ?)", m.Patient, time.Now().UnixMicro())
			if err == nil {
				sent <- m.Patient
			}
			return err
		}))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, scheduler, reminders) }()

	d := &diary{db: db, scheduler: scheduler, before: step}
	now := time.Now()
	for i, patient := range []string{"Ada", "Ben", "Cleo"} {
		if err := d.book(ctx, patient, now.Add(time.Duration(i+2)*step)); err != nil {
			return err
		}
	}
	if err := d.callOff(ctx, "Ben"); err != nil {
		return err
	}
	if err := d.move(ctx, "Ada", now.Add(5*step)); err != nil { // behind Cleo
		return err
	}
	for range 2 {
		select {
		case patient := <-sent:
			fmt.Fprintln(out, "reminded", patient)
		case err := <-ran:
			return err
		}
	}
	stop()
	return <-ran
}

// run opens the database file, makes the tables, and has a day of the surgery.
func run(ctx context.Context, file string, step time.Duration, clock func() time.Time, out io.Writer) error {
	sqlDB, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	_, err = sqlDB.ExecContext(ctx, "CREATE TABLE appointments (patient TEXT PRIMARY KEY, at INTEGER NOT NULL, reminder TEXT NOT NULL); CREATE TABLE reminded (patient TEXT NOT NULL, at INTEGER NOT NULL)")
	if err != nil {
		return err
	}
	db := sqltx.StdDB(sqlDB)
	st, err := store.SQLite(db, &store.Options{Clock: clock}) // nil: the database's own, as it should be but in tests
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	return day(ctx, db, st, step, out)
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	dir, err := os.MkdirTemp("", "reminders-")
	if err == nil {
		err = run(ctx, filepath.Join(dir, "diary.db"), time.Second, nil, os.Stdout)
		_ = os.RemoveAll(dir)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
