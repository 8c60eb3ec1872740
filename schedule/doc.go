// Package schedule sends messages when they are due: single ones that wait for their time, and recurring ones by cron
// expressions and intervals in the zones of their users, on both sides of every change of the clock.
//
//	scheduler, err := schedule.New(st.Schedule(), box, nil)
//	…
//	id, err := scheduler.After(ctx, sqltx.Std(tx), ReminderDue{Patient: patient}, 24*time.Hour)
//	…
//	err = sixfold.Run(ctx, scheduler)
//
// A Scheduler schedules in the caller's transaction, and its Run, in as many processes as you like, moves what is due into the
// outbox, each occurrence once, by the database's clock. Spec and Calendar say when something is due, and need no database.
package schedule
