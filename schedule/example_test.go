package schedule_test

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/sixfold-go/sixfold/schedule"
)

// A daily job at a time that the clock leaves out on one day in spring, and shows twice on one in autumn.
func ExampleCalendar() {
	spec, err := schedule.Parse("30 2 * * *")
	if err != nil {
		fmt.Println(err)
		return
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	cal := &schedule.Calendar{Spec: spec, Zone: berlin}
	for _, day := range []time.Time{time.Date(2026, 3, 28, 12, 0, 0, 0, berlin), time.Date(2026, 10, 24, 12, 0, 0, 0, berlin)} {
		n := 0
		for tick := range cal.Ticks(day) {
			fmt.Printf("%s [%s]\n", tick.At.Format(time.RFC3339), tick.Note)
			if n++; n == 2 {
				break
			}
		}
	}
	// Output:
	// 2026-03-29T03:00:00+02:00 [gap: the clock goes forward; this stands for a time that it leaves out]
	// 2026-03-30T02:30:00+02:00 []
	// 2026-10-25T02:30:00+02:00 [overlap: the clock goes back; this is the first of two such times]
	// 2026-10-26T02:30:00+01:00 []
}

// An interval counts from the start of its calendar, whatever clocks do.
func ExampleCalendar_interval() {
	spec, err := schedule.Parse("every 90s")
	if err != nil {
		fmt.Println(err)
		return
	}
	cal := &schedule.Calendar{Spec: spec, Start: time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)}
	tick, _ := cal.Next(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	fmt.Println(tick.At.Format(time.RFC3339))
	// Output:
	// 2026-01-01T12:00:10Z
}

func ExampleParse() {
	for _, text := range []string{"0 9 * * MON-FRI", "0 0 30 2 *", "60 * * * *"} {
		if _, err := schedule.Parse(text); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// schedule: spec "0 0 30 2 *": invalid: it is never due: no month of these has such a day; correct the day or the month
	// schedule: spec "60 * * * *": invalid: minute "60": give numbers of 0 to 59
}
