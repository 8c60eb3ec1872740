package sixfoldtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/sqltx"
)

type invoice struct {
	Number int `json:"number"`
}

func (invoice) MessageName() string { return "shop.invoice" }

// A delayed message and a monthly schedule in the time of a bubble. guarantees: C1, C2
func TestMonthsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		box, err := outbox.New(kit.Outbox, nil, outbox.ToConsumer("billing", invoice{}))
		if err != nil {
			t.Fatal(err)
		}
		scheduler, err := schedule.New(kit.Store.Schedule(), box, &schedule.Options{Poll: time.Hour}) // it knows by itself what this process schedules
		if err != nil {
			t.Fatal(err)
		}
		kit.Start(t, scheduler)
		begin := time.Now() // midnight, 1 January 2000, UTC
		err = kit.DB.InTx(t.Context(), func(tx sqltx.Tx) error {
			for n, after := range []time.Duration{2 * time.Hour, time.Hour} {
				if _, err := scheduler.After(t.Context(), tx, invoice{n + 1}, after); err != nil {
					return err
				}
			}
			_, err := scheduler.Upsert(t.Context(), tx, schedule.Recurring{Name: "invoices", Spec: "0 9 L * *", Message: invoice{100}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		waiting := sixfoldtest.Scheduled[invoice](t, kit.Store.Schedule())
		if len(waiting) != 2 || waiting[0].Message.Number != 2 || waiting[0].In != time.Hour || !waiting[1].At.Equal(begin.Add(2*time.Hour)) || waiting[0].ID == waiting[1].ID {
			t.Fatalf("%+v wait", waiting)
		}
		count := func(number, want int) {
			t.Helper()
			n := 0
			for _, m := range sixfoldtest.Published[invoice](t, kit.Outbox) {
				if m.Number == number {
					n++
				}
			}
			if n != want {
				t.Errorf("after %v invoice %d was published %d times, want %d", time.Since(begin), number, n, want)
			}
		}
		sixfoldtest.Advance(time.Hour - time.Millisecond)
		count(2, 0)
		sixfoldtest.Advance(50 * time.Millisecond)
		count(2, 1)
		count(1, 0)
		if waiting := sixfoldtest.Scheduled[invoice](t, kit.Store.Schedule()); len(waiting) != 1 || waiting[0].Message.Number != 1 {
			t.Errorf("%+v wait", waiting)
		}
		sixfoldtest.Advance(366 * 24 * time.Hour)
		count(1, 1)
		spec, err := schedule.Parse("0 9 L * *")
		if err != nil {
			t.Fatal(err)
		}
		ticks := sixfoldtest.Between(&schedule.Calendar{Spec: spec}, begin, time.Now())
		if len(ticks) != 12 || ticks[1].Format(time.DateOnly) != "2000-02-29" {
			t.Fatalf("the ticks are %v", ticks)
		}
		count(100, len(ticks))
	})
}
