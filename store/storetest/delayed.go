package storetest

import (
	"bytes"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

var delayedCases = scheduledCases(
	testCase{name: "DueInTheOrderOfTheirTimes", run: func(s *suite) { // guarantees: C1
		base := s.now().Add(-time.Hour)
		var rows []outbox.DelayedRow
		for i := range 100 {
			r := later(base.Add(time.Duration(i*37%100) * time.Minute / 2))
			r.Key, r.Partition = "k", outbox.PartitionOf("k")
			rows = append(rows, r)
		}
		s.delay(rows...)
		for moved := 0; moved < 100; {
			p := s.promote(7, time.Time{})
			if p.Moved == 0 {
				s.Fatalf("%d of 100 rows that are due were moved", moved)
			}
			moved += p.Moved
		}
		slices.SortFunc(rows, func(a, b outbox.DelayedRow) int { return a.At.Compare(b.At) })
		var want []string
		for _, r := range rows {
			want = append(want, r.ID)
		}
		if got := ids(s.read(outbox.ToBroker, "")); !slices.Equal(got, want) {
			s.Error("rows of one key were moved out of the order of their times: they would arrive so")
		}
	}},
	testCase{name: "NothingIsEarly", run: func(s *suite) { // guarantees: C2
		past, in := later(s.now().Add(-time.Second)), later(time.Time{})
		in.After = time.Hour
		s.delay(later(s.now().Add(time.Hour)), past, in, later(s.now().Add(10*time.Minute)))
		if p := s.promote(10, time.Time{}); p.Moved != 1 {
			s.Errorf("%d rows were moved, 1 is due", p.Moved)
		}
		if got := s.read(outbox.ToBroker, ""); len(got) != 1 || got[0].ID != past.ID {
			s.Errorf("%d rows were moved, or the wrong one: messages would arrive before their time", len(got))
		}
		due := s.next()
		if due.Delayed < 9*time.Minute || due.Delayed > 10*time.Minute || due.Recurring != schedule.Never {
			s.Errorf("the next is due in ten minutes, and Next answers %v", due)
		}
	}},
	testCase{name: "ByTheDatabasesClock", run: func(s *suite) { // guarantees: C2
		r := later(time.Time{})
		r.After = 20 * time.Minute
		s.delay(r)
		if due := s.next(); due.Delayed < 19*time.Minute || due.Delayed > 20*time.Minute {
			s.Errorf("a delay of 20 minutes is due in %v: whose clock was asked?", due.Delayed)
		}
	}},
	testCase{name: "WaitsForTheCommit", run: func(s *suite) { // guarantees: C1
		s.rolledBack(func(tx sqltx.Tx) {
			_, _, err := s.Outbox.Writer().Delay(s.ctx(), tx, []outbox.DelayedRow{later(s.now().Add(-time.Second))}, false)
			s.must(err)
		})
		if p := s.promote(10, time.Time{}); p.Moved != 0 {
			s.Error("a message of a transaction that was rolled back was promoted")
		}
		if s.next().Delayed != schedule.Never {
			s.Error("a message of a transaction that was rolled back is due some time")
		}
	}},
	testCase{name: "EveryByteIsMoved", run: func(s *suite) { // guarantees: O5
		var rows []outbox.DelayedRow
		for i, text := range oddTexts {
			r := later(s.now().Add(time.Duration(i-1000) * time.Second))
			r.Row, r.Table = row(text), outbox.ToLocal
			r.Topic, r.Attrs, r.Body = "", []byte(text), []byte(text)
			rows = append(rows, r)
		}
		for i, body := range [][]byte{nil, {}, {0, 1, 255}, bytes.Repeat([]byte{7}, 100_000)} {
			r := later(s.now().Add(time.Duration(i-100) * time.Second))
			r.Row, r.Table = row("k"), outbox.ToLocal
			r.Topic, r.Body = "", body
			rows = append(rows, r)
		}
		s.delay(rows...)
		s.promote(1000, time.Time{})
		got := s.read(outbox.ToLocal, "")
		if len(got) != len(rows) {
			s.Fatalf("%d rows of %d were moved", len(got), len(rows))
		}
		for i := range got {
			s.same(got[i], rows[i].Row)
		}
		if len(s.read(outbox.ToBroker, "")) != 0 {
			s.Error("local rows were moved to a broker")
		}
	}},
	testCase{name: "CancelRemovesEveryDestination", run: func(s *suite) { // guarantees: C5
		a, b := later(s.now().Add(-time.Second)), later(s.now().Add(-time.Second))
		b.ID, b.Table = a.ID, outbox.ToLocal
		s.delay(a, b)
		s.rolledBack(func(tx sqltx.Tx) { s.cancelled(tx, a.ID, schedule.Changed) })
		s.tx(func(tx sqltx.Tx) error { s.cancelled(tx, a.ID, schedule.Changed); return nil })
		if p := s.promote(10, time.Time{}); p.Moved != 0 {
			s.Errorf("%d rows of a cancelled message were promoted", p.Moved)
		}
		s.tx(func(tx sqltx.Tx) error { s.cancelled(tx, a.ID, schedule.Unknown); return nil })
	}},
	testCase{name: "CancelTellsPromotedFromUnknown", run: func(s *suite) { // guarantees: C5
		var rows []outbox.DelayedRow
		for range 20 {
			rows = append(rows, later(s.now().Add(-time.Second)))
		}
		s.delay(rows...)
		s.promote(10, time.Time{})
		s.promote(10, time.Time{})
		s.tx(func(tx sqltx.Tx) error {
			for _, r := range rows {
				s.cancelled(tx, r.ID, schedule.Promoted)
			}
			s.cancelled(tx, row("k").ID, schedule.Unknown)
			return nil
		})
	}},
	testCase{name: "RescheduleKeepsTheMessage", run: func(s *suite) { // guarantees: C5
		soon, late := later(s.now().Add(-time.Second)), later(s.now().Add(time.Hour))
		s.delay(soon, late)
		s.tx(func(tx sqltx.Tx) error {
			for _, c := range []struct {
				id    string
				at    time.Time
				after time.Duration
				want  schedule.Found
			}{{soon.ID, s.now().Add(2 * time.Hour), 0, schedule.Changed}, {late.ID, s.now().Add(-time.Minute), 0, schedule.Changed},
				{row("").ID, s.now(), 0, schedule.Unknown}} {
				if got, err := s.Schedule.Delayed().Reschedule(s.ctx(), tx, c.id, c.at, c.after); err != nil || got != c.want {
					s.Errorf("reschedule: %v, %v; want %v", got, err, c.want)
				}
			}
			return nil
		})
		if p := s.promote(10, time.Time{}); p.Moved != 1 {
			s.Errorf("%d rows were moved, 1 is due", p.Moved)
		}
		got := s.read(outbox.ToBroker, "")
		if len(got) != 1 || got[0].ID != late.ID {
			s.Error("the one that was moved to an earlier time is not the one that was promoted")
		}
		s.tx(func(tx sqltx.Tx) error {
			got, err := s.Schedule.Delayed().Reschedule(s.ctx(), tx, late.ID, time.Time{}, time.Hour)
			if err != nil || got != schedule.Promoted {
				s.Errorf("rescheduling what was promoted: %v, %v", got, err)
			}
			return nil
		})
	}},
	testCase{name: "CancelWaitsForNobodyInVain", twoWriters: true, run: func(s *suite) { // guarantees: C5
		r := later(s.now().Add(-time.Second))
		s.delay(r)
		o := s.begin()
		s.cancelled(o.tx, r.ID, schedule.Changed)
		if p := s.promote(10, time.Time{}); p.Moved != 0 {
			s.Error("a message was promoted while somebody cancels it: both would believe that they were first")
		}
		o.rollBack()
		if p := s.promote(10, time.Time{}); p.Moved != 1 {
			s.Errorf("the cancelling was rolled back, and %d rows were moved", p.Moved)
		}
	}},
	testCase{name: "ClaimsCountWhenScheduled", run: func(s *suite) { // guarantees: O3
		r := later(s.now().Add(time.Hour))
		r.Claim = "once"
		s.delay(r)
		again, other := later(s.now().Add(time.Hour)), later(s.now().Add(time.Hour))
		again.Claim = "once"
		s.tx(func(tx sqltx.Tx) error {
			refused, _, err := s.Outbox.Writer().Delay(s.ctx(), tx, []outbox.DelayedRow{other, again}, false)
			if !slices.Equal(refused, []int{1}) {
				s.Errorf("refused %v, want the second row: the message would be sent twice", refused)
			}
			return err
		})
		if got := s.list(schedule.DelayedPage{Limit: 10}); len(got) != 2 {
			s.Errorf("%d rows wait, want 2", len(got))
		}
	}},
	testCase{name: "ListInPages", run: func(s *suite) {
		base := s.now().Add(time.Hour)
		var rows []outbox.DelayedRow
		for i := range 25 {
			r := later(base.Add(time.Duration(i/5) * time.Minute))
			r.Key, r.Partition = "k", outbox.PartitionOf("k")
			rows = append(rows, r)
		}
		s.delay(rows...)
		var got []string
		page := schedule.DelayedPage{Limit: 4}
		for all := s.list(page); len(all) > 0; all = s.list(page) {
			for i := range all {
				got = append(got, all[i].ID)
				if all[i].Key != "k" || all[i].Table != outbox.ToBroker || all[i].In < 59*time.Minute || all[i].In > 65*time.Minute || !bytes.Equal(all[i].Body, []byte(`{}`)) {
					s.Errorf("a row is listed wrongly: key %q, %v, in %v", all[i].Key, all[i].Table, all[i].In)
				}
			}
			last := all[len(all)-1]
			page.After, page.AfterN = last.At, last.N
		}
		var want []string
		for _, r := range rows {
			want = append(want, r.ID)
		}
		if !slices.Equal(got, want) {
			s.Errorf("%d rows in pages, in order: %t; want 25", len(got), slices.Equal(got, want))
		}
		one := s.list(schedule.DelayedPage{ID: rows[7].ID, Limit: 10})
		if len(one) != 1 || !one[0].At.Equal(rows[7].At) {
			s.Errorf("one message has %d rows, or another time", len(one))
		}
	}},
	testCase{name: "MicrosecondsOfEveryAgeComeBack", run: func(s *suite) { // guarantees: C1
		for _, at := range []time.Time{
			time.Date(1970, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(2038, 1, 19, 3, 14, 8, 1000, time.UTC),
			time.Date(2026, 7, 1, 12, 30, 59, 999_999_000, time.UTC), time.Date(2255, 6, 6, 1, 2, 3, 456_789_000, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		} {
			r := later(at)
			s.delay(r)
			if got := s.list(schedule.DelayedPage{ID: r.ID, Limit: 1}); len(got) != 1 || !got[0].At.Equal(at) {
				s.Errorf("%v came back as %v", at, got[0].At)
			}
		}
	}},
	testCase{name: "PromotionFromATimeOn", run: func(s *suite) {
		base := s.now().Add(-time.Hour)
		s.delay(later(base), later(base.Add(time.Minute)), later(base.Add(2*time.Minute)))
		if p := s.promote(10, base.Add(time.Minute)); p.Moved != 2 || !p.Last.Equal(base.Add(2*time.Minute)) {
			s.Errorf("two are due from there on: %+v", p)
		}
		if p := s.promote(10, time.Time{}); p.Moved != 1 || !p.Last.Equal(base) {
			s.Errorf("one was left: %+v", p)
		}
	}},
)

// scheduledCases are those that need the scheduler's part.
func scheduledCases(cases ...testCase) []testCase {
	for i := range cases {
		cases[i].scheduled = true
	}
	return cases
}

func later(at time.Time) outbox.DelayedRow {
	return outbox.DelayedRow{Row: row("k"), At: at.Truncate(time.Microsecond)}
}

// now is the database's clock.
func (s *suite) now() (now time.Time) {
	s.Helper()
	_, now, err := s.Schedule.Recurring().List(s.ctx(), "", 1)
	s.must(err)
	return now
}

func (s *suite) delay(rows ...outbox.DelayedRow) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) error {
		refused, _, err := s.Outbox.Writer().Delay(s.ctx(), tx, rows, false)
		if len(refused) > 0 {
			s.Errorf("rows %v were refused", refused)
		}
		return err
	})
}

func (s *suite) promote(limit int, from time.Time) schedule.Promotion {
	s.Helper()
	p, err := s.Schedule.Delayed().Promote(s.ctx(), limit, from)
	s.must(err)
	return p
}

func (s *suite) next() schedule.Due {
	s.Helper()
	due, err := s.Schedule.Next(s.ctx(), time.Time{})
	s.must(err)
	return due
}

func (s *suite) list(page schedule.DelayedPage) []schedule.Waiting {
	s.Helper()
	all, err := s.Schedule.Delayed().List(s.ctx(), page)
	s.must(err)
	return all
}

func (s *suite) cancelled(tx sqltx.Tx, id string, want schedule.Found) {
	s.Helper()
	if got, err := s.Schedule.Delayed().Cancel(s.ctx(), tx, id); err != nil || got != want {
		s.Errorf("cancel: %v, %v; want %v", got, err, want)
	}
}
