package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

var recurringCases = scheduledCases(
	testCase{name: "EveryFieldComesBack", run: func(s *suite) {
		now := s.now()
		full := schedule.Entry{Name: "full 'ключ' \\ %", Spec: "*/5 * * * *", Zone: "Europe/Berlin", Definition: []byte("{\"a\":\"\\u0000ключ\"}"), Owner: "o",
			State: schedule.Active, Runs: 1 << 40, Next: now.Add(time.Hour), Wake: now.Add(2 * time.Hour), Last: now.Add(-time.Hour), LastID: sixfold.NewID(),
			LastFrom: 7, LastTo: 9, NoOverlap: true, Problem: "p", Changed: now}
		bare := schedule.Entry{Name: "bare", Spec: "@daily", Zone: "UTC", Definition: []byte("{}"), State: schedule.Paused, Changed: now}
		s.save(true, full, bare)
		for _, want := range []schedule.Entry{full, bare} {
			s.sameEntry(s.find(want.Name), want)
		}
		full.Next, full.Wake, full.State, full.Runs, full.Definition = time.Time{}, time.Time{}, schedule.Finished, 3, []byte("other")
		s.save(false, full)
		s.sameEntry(s.find(full.Name), full)
		s.sameEntry(s.find("bare"), bare)
		if s.find("nobody") != nil {
			s.Error("a schedule that does not exist was found")
		}
	}},
	testCase{name: "InsertLeavesWhatIsThere", run: func(s *suite) {
		e := s.entry("a", time.Hour)
		s.save(true, e)
		other := e
		other.Spec = "@weekly"
		s.tx(func(tx sqltx.Tx) error {
			done, err := s.Schedule.Recurring().Save(s.ctx(), tx, &other, true)
			if done {
				s.Error("a schedule of that name was entered again: two processes that start at once would each begin it anew")
			}
			return err
		})
		s.sameEntry(s.find("a"), e)
	}},
	testCase{name: "ListAndOwned", run: func(s *suite) {
		for i := range 5 {
			e := s.entry(fmt.Sprint("s", i), time.Hour)
			if i%2 == 0 {
				e.Owner = "mine"
			}
			if i == 4 {
				e.State = schedule.Removed
			}
			s.save(true, e)
		}
		es, now, err := s.Schedule.Recurring().List(s.ctx(), "s0", 3)
		s.must(err)
		if len(es) != 3 || es[0].Name != "s1" || es[2].Name != "s3" || now.IsZero() {
			s.Errorf("%d schedules from s0 on, now %v", len(es), now)
		}
		s.tx(func(tx sqltx.Tx) error {
			names, err := s.Schedule.Recurring().Owned(s.ctx(), tx, "mine")
			if !slices.Equal(names, []string{"s0", "s2"}) {
				s.Errorf("owned: %v", names)
			}
			return err
		})
	}},
	testCase{name: "AdvanceWritesAllOrNothing", run: func(s *suite) { // guarantees: C1
		e := s.entry("a", -time.Second)
		s.save(true, e, s.entry("b", time.Hour))
		if due := s.next(); due.Recurring > 0 {
			s.Errorf("one is due, and Next answers %v", due.Recurring)
		}
		local, remote := row("k"), row("k")
		n := s.advance(10, func(now time.Time, due []schedule.Entry) []schedule.Step {
			if len(due) != 1 || due[0].Name != "a" || now.Before(due[0].Wake) {
				s.Errorf("due: %d", len(due))
				return nil
			}
			s.sameEntry(&due[0], e)
			next := due[0]
			next.Runs, next.Last, next.Next = 1, next.Next, next.Next.Add(time.Hour)
			next.Wake, next.LastID = next.Next, local.ID
			return []schedule.Step{{Entry: next, Occurrences: []schedule.Begun{{Occurrence: schedule.Occurrence{Schedule: "a", Planned: e.Next, Promoted: now,
				Outcome: schedule.Begins, ID: local.ID, Missed: 3, Local: true, Relayed: true, Note: "n"}, Broker: []outbox.Row{remote}, Local: []outbox.Row{local}}}}}
		})
		if n != 1 {
			s.Errorf("%d were advanced", n)
		}
		if got := s.find("a"); got == nil || got.Runs != 1 || !got.Next.Equal(e.Next.Add(time.Hour)) {
			s.Errorf("it was not saved: %+v", got)
		}
		if len(s.read(outbox.ToBroker, "")) != 1 || len(s.read(outbox.ToLocal, "")) != 1 {
			s.Error("its messages were not written")
		}
		all, err := s.Schedule.History().Occurrences(s.ctx(), "a", time.Time{}, 10)
		s.must(err)
		if len(all) != 1 || !all[0].Planned.Equal(e.Next) || all[0].Outcome != schedule.Begins || all[0].ID != local.ID || all[0].Missed != 3 || !all[0].Local || !all[0].Relayed ||
			all[0].Note != "n" || all[0].Fate != schedule.FateWaiting || all[0].Promoted.Before(e.Next) {
			s.Errorf("its history: %+v", all)
		}
		if n := s.advance(10, func(time.Time, []schedule.Entry) []schedule.Step { s.Error("planned again"); return nil }); n != 0 {
			s.Errorf("%d are due", n)
		}
	}},
	testCase{name: "OccurrenceHappensOnce", run: func(s *suite) { // guarantees: C1
		s.save(true, s.entry("a", -time.Second), s.entry("b", -time.Second))
		id := map[string]string{"a": sixfold.NewID(), "b": sixfold.NewID()}
		again := func(_ time.Time, due []schedule.Entry) (steps []schedule.Step) {
			for _, e := range due { // as if the clock, or a person, had put it back
				r := row("k")
				r.ID = id[e.Name]
				steps = append(steps, schedule.Step{Entry: e, Occurrences: []schedule.Begun{{Occurrence: schedule.Occurrence{Schedule: e.Name, Planned: e.Next, Promoted: e.Next,
					Outcome: schedule.Begins, ID: r.ID}, Broker: []outbox.Row{r}}}})
			}
			return steps
		}
		for range 3 {
			if n := s.advance(10, again); n != 2 {
				s.Errorf("%d of 2 are due", n)
			}
		}
		if n := len(s.read(outbox.ToBroker, "")); n != 2 {
			s.Errorf("%d messages of two occurrences: their effect would happen twice", n)
		}
	}},
	testCase{name: "ManyAtOnce", run: func(s *suite) {
		for i := range 150 {
			s.save(true, s.entry(fmt.Sprintf("s%03d", i), -time.Duration(i+1)*time.Second))
		}
		seen := 0
		for n := -1; n != 0; {
			n = s.advance(100, func(now time.Time, due []schedule.Entry) (steps []schedule.Step) {
				for _, e := range due {
					seen++
					r := row("k")
					o := schedule.Occurrence{Schedule: e.Name, Planned: e.Next, Promoted: now, Outcome: schedule.Begins, ID: r.ID}
					e.Wake = time.Time{}
					steps = append(steps, schedule.Step{Entry: e, Occurrences: []schedule.Begun{{Occurrence: o, Broker: []outbox.Row{r}}}})
				}
				return steps
			})
		}
		if seen != 150 || len(s.read(outbox.ToBroker, "")) != 150 || s.next().Recurring != schedule.Never {
			s.Errorf("%d of 150 were advanced", seen)
		}
	}},
	testCase{name: "WhoHoldsOneIsNotWaitedFor", twoWriters: true, run: func(s *suite) { // guarantees: C5
		s.save(true, s.entry("a", -time.Second), s.entry("b", -time.Second))
		o := s.begin()
		if _, _, err := s.Schedule.Recurring().Find(s.ctx(), o.tx, "a"); err != nil {
			s.Fatal(err)
		}
		names := ""
		s.advance(10, func(_ time.Time, due []schedule.Entry) (steps []schedule.Step) {
			for _, e := range due {
				names += e.Name
				steps = append(steps, schedule.Step{Entry: e})
			}
			return steps
		})
		if names != "b" {
			s.Errorf("%q were advanced while somebody holds a: pausing it would come too late, or everything would wait for that", names)
		}
		o.rollBack()
	}},
	testCase{name: "UnhandledIsSeen", run: func(s *suite) {
		s.save(true, s.noOverlap("a"), s.noOverlap("b"))
		var before []bool
		ids := map[string]string{}
		for range 2 {
			s.advance(10, func(now time.Time, due []schedule.Entry) (steps []schedule.Step) {
				for _, e := range due {
					before = append(before, e.Unhandled)
					r := row("k")
					r.Class, r.Topic = "consumer", ""
					o := schedule.Occurrence{Schedule: e.Name, Planned: e.Next, Promoted: now, Outcome: schedule.Begins, ID: r.ID, Local: true}
					e.Next = e.Next.Add(time.Millisecond)
					if !e.Unhandled {
						e.LastID = r.ID
						ids[e.Name] = r.ID
						steps = append(steps, schedule.Step{Entry: e, Occurrences: []schedule.Begun{{Occurrence: o, Local: []outbox.Row{r}}}})
						continue
					}
					steps = append(steps, schedule.Step{Entry: e})
				}
				return steps
			})
		}
		if !slices.Equal(before, []bool{false, false, true, true}) {
			s.Errorf("unhandled: %v", before)
		}
		n := s.node("consumer")
		for _, r := range s.read(outbox.ToLocal, "consumer") {
			if r.ID == ids["a"] {
				_, err := s.Outbox.Queue(outbox.ToLocal).Settle(s.ctx(), n, []int64{r.Seq})
				s.must(err)
			}
		}
		s.advance(10, func(_ time.Time, due []schedule.Entry) (steps []schedule.Step) {
			for _, e := range due {
				if e.Unhandled != (e.Name == "b") {
					s.Errorf("%s: unhandled %t", e.Name, e.Unhandled)
				}
				steps = append(steps, schedule.Step{Entry: e})
			}
			return steps
		})
	}},
)

var historyCases = scheduledCases(
	testCase{name: "InPagesLatestFirst", run: func(s *suite) {
		base := s.now().Add(-time.Hour)
		s.tx(func(tx sqltx.Tx) error {
			for i := range 10 {
				at := base.Add(time.Duration(i) * time.Minute)
				s.must(s.Schedule.History().Add(s.ctx(), tx, schedule.Occurrence{Schedule: "a", Planned: at, Promoted: at, Outcome: schedule.Triggered, ID: sixfold.NewID(), Relayed: true}))
			}
			return nil
		})
		var got []time.Time
		var before time.Time
		for {
			all, err := s.Schedule.History().Occurrences(s.ctx(), "a", before, 3)
			s.must(err)
			if len(all) == 0 {
				break
			}
			for _, o := range all {
				got = append(got, o.Planned)
				if o.Fate != schedule.FateRelayed {
					s.Errorf("fate %q of a message that goes to a broker", o.Fate)
				}
			}
			before = all[len(all)-1].Planned
		}
		if len(got) != 10 || !slices.IsSortedFunc(got, func(a, b time.Time) int { return b.Compare(a) }) {
			s.Errorf("%d of 10 in pages", len(got))
		}
	}},
	testCase{name: "FatesOfMany", run: func(s *suite) {
		base := s.now().Add(-time.Hour)
		fates := []schedule.Fate{schedule.FateWaiting, schedule.FateHandled, schedule.FateRelayed, schedule.FateNone, schedule.FateParked, schedule.FateDead}
		const n = 250
		var rows []outbox.Row
		var letters []inbox.Item
		s.tx(func(tx sqltx.Tx) error {
			for i := range n {
				at := base.Add(time.Duration(i) * time.Second)
				fate := fates[i%len(fates)]
				o := schedule.Occurrence{Schedule: "a", Planned: at, Promoted: at, Outcome: schedule.Begins, ID: sixfold.NewID(), Local: true}
				switch fate {
				case schedule.FateWaiting:
					r := row("k")
					r.Class, r.Topic, r.ID = "consumer", "", o.ID
					rows = append(rows, r)
				case schedule.FateRelayed:
					o.Local, o.Relayed = false, true
				case schedule.FateNone:
					o.Outcome, o.ID, o.Local = schedule.Misfired, "", false
				case schedule.FateParked, schedule.FateDead:
					it := failedLetter(byte(i), "k")
					if it.ID = o.ID; fate == schedule.FateDead {
						it = deadLetter(byte(i), fmt.Sprint("k", i))
						it.ID = o.ID
					}
					letters = append(letters, it)
				}
				s.must(s.Schedule.History().Add(s.ctx(), tx, o))
			}
			return nil
		})
		s.put(outbox.ToLocal, rows...)
		s.park("consumer", letters...)
		all, err := s.Schedule.History().Occurrences(s.ctx(), "a", time.Time{}, n+1)
		s.must(err)
		if len(all) != n {
			s.Fatalf("%d occurrences of %d", len(all), n)
		}
		for i, o := range all {
			if want := fates[(n-1-i)%len(fates)]; o.Fate != want {
				s.Fatalf("occurrence %d: fate %q, want %q", n-1-i, o.Fate, want)
			}
		}
	}},
	testCase{name: "PurgeKeepsWhatIsYoung", run: func(s *suite) {
		now := s.now()
		gone := s.entry("gone", time.Hour)
		gone.State, gone.Wake, gone.Changed = schedule.Removed, time.Time{}, now.Add(-48*time.Hour)
		s.save(true, gone, s.entry("a", time.Hour))
		s.tx(func(tx sqltx.Tx) error {
			for i := range 6 {
				at := now.Add(-time.Duration(i) * 12 * time.Hour)
				s.must(s.Schedule.History().Add(s.ctx(), tx, schedule.Occurrence{Schedule: "a", Planned: at, Promoted: at, Outcome: schedule.Begins}))
			}
			return nil
		})
		r := later(now.Add(-time.Second))
		s.delay(r)
		s.promote(10, time.Time{})
		total := 0
		for {
			n, err := s.Schedule.History().Purge(s.ctx(), 24*time.Hour+time.Minute, 2)
			s.must(err)
			if total += n; n == 0 {
				break
			}
		}
		if total != 4 {
			s.Errorf("%d were purged, 3 occurrences and a schedule are old", total)
		}
		if s.find("gone") != nil || s.find("a") == nil {
			s.Error("the wrong schedule was purged")
		}
		all, err := s.Schedule.History().Occurrences(s.ctx(), "a", time.Time{}, 10)
		if err != nil || len(all) != 3 {
			s.Errorf("%d occurrences are left, %v", len(all), err)
		}
		s.tx(func(tx sqltx.Tx) error { s.cancelled(tx, r.ID, schedule.Promoted); return nil })
	}},
)

// entry is a schedule that is due in a while.
func (s *suite) entry(name string, in time.Duration) schedule.Entry {
	s.Helper()
	now := s.now()
	return schedule.Entry{Name: name, Spec: "@daily", Zone: "UTC", Definition: []byte("{}"), State: schedule.Active, Next: now.Add(in), Wake: now.Add(in), Changed: now}
}

func (s *suite) noOverlap(name string) schedule.Entry {
	e := s.entry(name, -time.Second)
	e.NoOverlap = true
	return e
}

func (s *suite) save(isNew bool, es ...schedule.Entry) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) error {
		for i := range es {
			done, err := s.Schedule.Recurring().Save(s.ctx(), tx, &es[i], isNew)
			if err != nil || !done {
				s.Errorf("save %s: %t, %v", es[i].Name, done, err)
			}
		}
		return nil
	})
}

func (s *suite) find(name string) (e *schedule.Entry) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) (err error) {
		e, _, err = s.Schedule.Recurring().Find(s.ctx(), tx, name)
		return err
	})
	return e
}

func (s *suite) advance(limit int, plan func(time.Time, []schedule.Entry) []schedule.Step) int {
	s.Helper()
	n, err := s.Schedule.Recurring().Advance(s.ctx(), limit, plan)
	s.must(err)
	return n
}

func (s *suite) sameEntry(got *schedule.Entry, want schedule.Entry) {
	s.Helper()
	if got == nil {
		s.Errorf("schedule %q is not there", want.Name)
		return
	}
	if !bytes.Equal(got.Definition, want.Definition) {
		s.Errorf("the definition of %q came back as %q", want.Name, got.Definition)
	}
	a, b := *got, want
	a.Definition, b.Definition = nil, nil
	if fmt.Sprint(a) != fmt.Sprint(b) {
		s.Errorf("a schedule came back changed:\n%v\nwant\n%v", a, b)
	}
}
