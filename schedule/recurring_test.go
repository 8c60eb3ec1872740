package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

func (w *world) upsert(r schedule.Recurring) (c schedule.Change) {
	w.t.Helper()
	w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
		c, err = w.Upsert(ctx, tx, r)
		return err
	})
	return c
}

// times are the times of the messages for local consumers.
func (w *world) times() (all []time.Time) {
	w.t.Helper()
	for _, r := range w.local() {
		env := sixfold.Envelope{ID: r.ID}
		if _, err := outbox.DecodeAttrs(r.Attrs, &env); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, env.Time)
	}
	return all
}

func (w *world) history(name string) []schedule.Occurrence {
	w.t.Helper()
	all, err := w.Occurrences(w.t.Context(), name, time.Time{}, 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestDayOfAMinutelyCron(t *testing.T) { // guarantees: C1, C2, C3
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		second, err := schedule.New(w.st.Schedule(), w.box, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.start(w.Scheduler)
		w.start(second)
		begin := time.Now().UTC()
		if c := w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}}); c != schedule.Added {
			t.Errorf("it was %s", c)
		}
		time.Sleep(24*time.Hour + time.Second)
		synctest.Wait()
		got := w.times()
		if len(got) != 24*60 {
			t.Fatalf("%d occurrences in a day of minutes, from %v", len(got), begin)
		}
		for i, at := range got {
			if want := begin.Truncate(time.Minute).Add(time.Duration(i+1) * time.Minute); !at.Equal(want) {
				t.Fatalf("occurrence %d is of %v, want %v", i, at, want)
			}
		}
		for _, o := range w.history("m") {
			if late := o.Promoted.Sub(o.Planned); late < 0 || late > 100*time.Millisecond || o.Outcome != schedule.Begins || o.ID != schedule.OccurrenceID("m", o.Planned) {
				t.Fatalf("%+v: late by %v", o, late)
			}
		}
	})
}

// OccurrenceIdStable
func TestOccurrenceIDIsOfNameAndPlannedTime(t *testing.T) { // guarantees: C1
	at := time.Date(2026, 3, 1, 9, 0, 0, 123_456_789, time.UTC)
	id := schedule.OccurrenceID("a", at)
	if id != schedule.OccurrenceID("a", at.Truncate(time.Microsecond)) || id != schedule.OccurrenceID("a", at.In(time.FixedZone("", 3600))) {
		t.Error("what a database cuts off a time, or the zone, changes the id")
	}
	if id == schedule.OccurrenceID("b", at) || id == schedule.OccurrenceID("a", at.Add(time.Microsecond)) {
		t.Error("two occurrences have one id")
	}
	if len(id) != 36 || id[14] != '8' {
		t.Errorf("%s is no UUID of version 8", id)
	}
}

// outage runs a minutely schedule, stops every scheduler for 30 days and 30 seconds past a minute, and runs again.
func outage(t *testing.T, r schedule.Recurring) (w *world, before []time.Time, back time.Time) {
	w = newWorld(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	r.Name, r.Spec, r.Message = "m", "* * * * *", reminder{}
	w.upsert(r)
	time.Sleep(10*time.Minute + 30*time.Second)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	before = w.times()
	time.Sleep(30 * 24 * time.Hour)
	again, err := schedule.New(w.st.Schedule(), w.box, nil)
	if err != nil {
		t.Fatal(err)
	}
	back = time.Now().UTC()
	w.start(again)
	time.Sleep(20 * time.Second)
	synctest.Wait()
	return w, before, back
}

func TestOutageOf30DaysFiresOnce(t *testing.T) { // guarantees: C3
	synctest.Test(t, func(t *testing.T) {
		w, before, back := outage(t, schedule.Recurring{})
		got := w.times()[len(before):]
		if len(got) != 1 || !got[0].Equal(back.Truncate(time.Minute)) {
			t.Fatalf("%d occurrences, want the latest", len(got))
		}
		if o := w.history("m")[0]; o.Missed != 10_000 {
			t.Errorf("the history knows of %d missed ones, and counts up to 10,000", o.Missed)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.times()) - len(before); n != 2 {
			t.Errorf("%d occurrences a minute later, want 2", n)
		}
	})
}

func TestOutageOf30DaysFiresAllUpToACap(t *testing.T) { // guarantees: C3
	synctest.Test(t, func(t *testing.T) {
		w, before, back := outage(t, schedule.Recurring{Misfire: schedule.FireAll, MisfireCap: 950})
		got := w.times()[len(before):]
		if len(got) != 950 {
			t.Fatalf("%d occurrences, want 950", len(got))
		}
		for i, at := range got {
			if want := back.Truncate(time.Minute).Add(time.Duration(i-949) * time.Minute); !at.Equal(want) {
				t.Fatalf("number %d is of %v, want %v", i, at, want)
			}
		}
		perSecond := map[int64]int{}
		for _, o := range w.history("m")[:950] {
			perSecond[o.Promoted.Sub(back).Milliseconds()/1000]++
			if o.ID != schedule.OccurrenceID("m", o.Planned) {
				t.Fatalf("the occurrence of %v has another id when it is late", o.Planned)
			}
		}
		for s, n := range perSecond {
			if n > 200 {
				t.Errorf("%d of them in second %d: a herd", n, s)
			}
		}
	})
}

func TestOutageOf30DaysFiresNone(t *testing.T) { // guarantees: C3
	synctest.Test(t, func(t *testing.T) {
		w, before, back := outage(t, schedule.Recurring{Misfire: schedule.FireNone, Grace: 10 * time.Second})
		if got := w.times()[len(before):]; len(got) != 0 {
			t.Fatalf("%d occurrences, want none", len(got))
		}
		if o := w.history("m")[0]; o.Outcome != schedule.Misfired || !o.Planned.Equal(back.Truncate(time.Minute)) {
			t.Errorf("the history says %+v", o)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.times()) - len(before); n != 1 {
			t.Errorf("%d occurrences a minute later, want 1", n)
		}
	})
}

func TestNoOverlap(t *testing.T) { // guarantees: C6
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}, NoOverlap: true})
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(w.local()); n != 1 {
			t.Fatalf("%d messages, and the first is not handled", n)
		}
		if o := w.history("m"); len(o) != 10 || o[0].Outcome != schedule.Overlapped || o[9].Outcome != schedule.Begins || o[9].Fate != schedule.FateWaiting {
			t.Errorf("history: %+v", o)
		}
		node := sixfold.NewID()
		if err := w.st.Outbox().Leases().Join(t.Context(), "reminders", node, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := w.st.Outbox().Queue(outbox.ToLocal).Settle(t.Context(), node, []int64{w.local()[0].Seq}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.local()); n != 1 {
			t.Errorf("%d messages after the first was handled", n)
		}
		if o := w.history("m"); o[len(o)-1].Fate != schedule.FateHandled {
			t.Errorf("the first was handled, and its fate is %s", o[len(o)-1].Fate)
		}
	})
}

func TestNoOverlapNeedsLocalConsumers(t *testing.T) {
	w := newWorld(t, nil)
	box, err := outbox.New(w.st.Outbox(), nil, outbox.To("reminders", reminder{}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.New(w.st.Schedule(), box, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.try(func(ctx context.Context, tx sqltx.Tx) error {
		_, err := s.Upsert(ctx, tx, schedule.Recurring{Name: "m", Spec: "@daily", Message: reminder{}, NoOverlap: true})
		return err
	})
	if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "NoOverlap") {
		t.Errorf("%v", err)
	}
}

func TestPauseResumeRemoveTrigger(t *testing.T) { // guarantees: C5
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}})
		do := func(want bool, fn func(context.Context, sqltx.Tx, string) (bool, error)) {
			t.Helper()
			w.tx(func(ctx context.Context, tx sqltx.Tx) error {
				got, err := fn(ctx, tx, "m")
				if got != want {
					t.Errorf("changed: %t", got)
				}
				return err
			})
		}
		do(false, w.Resume)
		do(true, w.Pause)
		do(false, w.Pause)
		time.Sleep(10*time.Minute + 30*time.Second)
		synctest.Wait()
		if n := len(w.local()); n != 0 {
			t.Fatalf("%d messages while it is paused", n)
		}
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			id, err := w.Trigger(ctx, tx, "m")
			if err == nil && id == "" {
				t.Error("no id")
			}
			return err
		})
		do(true, w.Resume)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.local()); n != 2 {
			t.Fatalf("%d messages, want that which was triggered and one of the minute since it was resumed", n)
		}
		do(true, w.Remove)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.local()); n != 2 {
			t.Fatalf("%d messages after it was removed", n)
		}
		for _, fn := range []func(context.Context, sqltx.Tx, string) (bool, error){w.Pause, w.Resume, w.Remove} {
			for _, name := range []string{"m", "nobody"} {
				err := w.try(func(ctx context.Context, tx sqltx.Tx) error { _, err := fn(ctx, tx, name); return err })
				if !errors.Is(err, schedule.ErrUnknown) {
					t.Errorf("%q: %v", name, err)
				}
			}
		}
		if o := w.history("m"); len(o) != 2 || o[1].Outcome != schedule.Triggered {
			t.Errorf("%+v", o)
		}
	})
}

func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		reconcile := func(want string, declared ...schedule.Recurring) {
			t.Helper()
			w.tx(func(ctx context.Context, tx sqltx.Tx) error {
				got, err := w.Reconcile(ctx, tx, declared...)
				if s := fmt.Sprint(got); s != want {
					t.Errorf("%s, want %s", s, want)
				}
				return err
			})
		}
		with := []outbox.Option{outbox.Headers(map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"})}
		a := schedule.Recurring{Name: "a", Spec: "@daily", Message: reminder{}, Options: with}
		b := schedule.Recurring{Name: "b", Spec: "every 90s", Message: reminder{}}
		w.upsert(schedule.Recurring{Name: "by-hand", Spec: "@hourly", Message: reminder{}})
		reconcile("{[a b] [] []}", b, a)
		for range 20 {
			reconcile("{[] [] []}", a, b)
		}
		b.Spec = "every 80s"
		reconcile("{[] [b] []}", a, b)
		reconcile("{[] [] [a]}", b)
		reconcile("{[a] [] []}", b, a)
		es, err := w.List(t.Context(), "", 10)
		if err != nil || len(es) != 3 {
			t.Errorf("%d schedules, %v", len(es), err)
		}
		err = w.try(func(ctx context.Context, tx sqltx.Tx) error { _, err := w.Reconcile(ctx, tx, a, a); return err })
		if !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("declared twice: %v", err)
		}
	})
}

// A seal is of one message: a draft has none, or each declaration would be a change and each occurrence a forgery.
func TestDraftsAreNotSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		seals := 0
		box, err := outbox.New(w.st.Outbox(), &outbox.Options{Seal: func(env *sixfold.Envelope) error {
			seals++
			env.Headers = map[string]string{"sealed": fmt.Sprint(seals)}
			return nil
		}}, outbox.ToConsumer("reminders", reminder{}))
		if err != nil {
			t.Fatal(err)
		}
		s, err := schedule.New(w.st.Schedule(), box, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"{[a] [] []}", "{[] [] []}"} {
			w.tx(func(ctx context.Context, tx sqltx.Tx) error {
				got, err := s.Reconcile(ctx, tx, schedule.Recurring{Name: "a", Spec: "@daily", Message: reminder{}})
				if fmt.Sprint(got) != want {
					t.Errorf("%v, want %s", got, want)
				}
				return err
			})
		}
		if seals != 0 {
			t.Errorf("%d drafts were sealed", seals)
		}
	})
}

func TestChangingKeepsWhatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		r := schedule.Recurring{Name: "m", Spec: "every 10m", Message: reminder{1}}
		w.upsert(r)
		before, err := w.List(t.Context(), "", 1)
		if err != nil {
			t.Fatal(err)
		}
		r.Message = reminder{2}
		if c := w.upsert(r); c != schedule.Altered {
			t.Errorf("%s", c)
		}
		after, err := w.List(t.Context(), "", 1)
		if err != nil || !after[0].Next.Equal(before[0].Next) {
			t.Errorf("another message moved the next occurrence: %v", err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if rows := w.local(); len(rows) != 1 || string(rows[0].Body) != `{"n":2}` {
			t.Errorf("%d rows", len(rows))
		}
		if c := w.upsert(r); c != schedule.Unchanged {
			t.Errorf("%s", c)
		}
	})
}

func TestMaxRunsAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		w.upsert(schedule.Recurring{Name: "runs", Spec: "* * * * *", Message: reminder{1}, MaxRuns: 3})
		w.upsert(schedule.Recurring{Name: "end", Spec: "* * * * *", Message: reminder{2}, End: time.Now().Add(5*time.Minute + time.Second)})
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.local()); n != 8 {
			t.Errorf("%d messages, want 3 and 5", n)
		}
		es, err := w.List(t.Context(), "", 10)
		if err != nil || es[0].State != schedule.Finished || es[1].State != schedule.Finished || es[1].Runs != 3 {
			t.Errorf("%v %+v", err, es)
		}
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			changed, err := w.Remove(ctx, tx, "end")
			if changed {
				t.Error("removing a finished one changed it")
			}
			return err
		})
	})
}

func TestJitterIsStableAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}, Jitter: 30 * time.Second})
		time.Sleep(time.Hour)
		synctest.Wait()
		differ := map[time.Duration]bool{}
		for _, o := range w.history("m") {
			by := o.Promoted.Sub(o.Planned)
			differ[by.Truncate(time.Second)] = true
			if by < 0 || by > 30*time.Second+100*time.Millisecond {
				t.Errorf("delayed by %v", by)
			}
		}
		if len(differ) < 10 {
			t.Errorf("%d different delays in an hour of minutes", len(differ))
		}
	})
}

func TestBadSchedules(t *testing.T) {
	w := newWorld(t, nil)
	for what, r := range map[string]schedule.Recurring{
		"no name":          {Spec: "@daily", Message: reminder{}},
		"odd name":         {Name: "a\nb", Spec: "@daily", Message: reminder{}},
		"long name":        {Name: strings.Repeat("x", 201), Spec: "@daily", Message: reminder{}},
		"no spec":          {Name: "m", Message: reminder{}},
		"never":            {Name: "m", Spec: "0 0 31 2 *", Message: reminder{}},
		"zone":             {Name: "m", Spec: "@daily", Zone: "Mars/Olympus", Message: reminder{}},
		"local zone":       {Name: "m", Spec: "@daily", Zone: "Local", Message: reminder{}},
		"no message":       {Name: "m", Spec: "@daily"},
		"past":             {Name: "m", Spec: "@daily", Message: reminder{}, End: time.Now().Add(-time.Hour)},
		"negative":         {Name: "m", Spec: "@daily", Message: reminder{}, Jitter: -1},
		"cap":              {Name: "m", Spec: "@daily", Message: reminder{}, MisfireCap: 1_000_000},
		"policy":           {Name: "m", Spec: "@daily", Message: reminder{}, Misfire: 7},
		"an id":            {Name: "m", Spec: "@daily", Message: reminder{}, Options: []outbox.Option{outbox.ID(sixfold.NewID())}},
		"a delay":          {Name: "m", Spec: "@daily", Message: reminder{}, Options: []outbox.Option{outbox.Delay(time.Second)}},
		"end before start": {Name: "m", Spec: "@daily", Message: reminder{}, Start: time.Now().Add(2 * time.Hour), End: time.Now().Add(time.Hour)},
	} {
		err := w.try(func(ctx context.Context, tx sqltx.Tx) error { _, err := w.Upsert(ctx, tx, r); return err })
		if !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	err := w.try(func(ctx context.Context, tx sqltx.Tx) error {
		_, err := w.Upsert(ctx, tx, schedule.Recurring{Zone: "Mars/Olympus", Spec: "x", Misfire: 9})
		return err
	})
	for _, want := range []string{"name", "spec", "zone", "Misfire", "Message"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: not all problems at once, %s is missing", err, want)
		}
	}
	if es, err := w.List(t.Context(), "", 10); err != nil || len(es) != 0 {
		t.Errorf("%d schedules were made, %v", len(es), err)
	}
}

// A schedule that cannot be read, here since its spec is of another version, stops alone.
func TestBadRowStopsNoOther(t *testing.T) { // guarantees: C6
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.upsert(schedule.Recurring{Name: "a", Spec: "* * * * *", Message: reminder{}})
		w.upsert(schedule.Recurring{Name: "b", Spec: "* * * * *", Message: reminder{}})
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			e, _, err := w.st.Schedule().Recurring().Find(ctx, tx, "a")
			if err != nil {
				return err
			}
			e.Definition = []byte(strings.ReplaceAll(string(e.Definition), "* * * * *", "at tea time"))
			_, err = w.st.Schedule().Recurring().Save(ctx, tx, e, false)
			return err
		})
		w.start(w.Scheduler)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(w.local()); n != 10 {
			t.Errorf("%d messages of the other one in ten minutes", n)
		}
		es, err := w.List(t.Context(), "", 10)
		if err != nil || es[0].Problem == "" || es[1].Problem != "" {
			t.Errorf("problems: %+v %v", es, err)
		}
		if o := w.history("a"); len(o) != 1 || o[0].Outcome != schedule.Failed || !strings.Contains(o[0].Note, "at tea time") {
			t.Errorf("%+v", o)
		}
		if c := w.upsert(schedule.Recurring{Name: "a", Spec: "* * * * *", Message: reminder{}}); c != schedule.Altered {
			t.Errorf("mending it: %s", c)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.local()); n != 12 {
			t.Errorf("%d messages after it was mended", n)
		}
	})
}

// The clock that matters is the store's: here it goes back by ten minutes.
func TestClockThatGoesBackRepeatsNothing(t *testing.T) { // guarantees: C1, C2
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		r := schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}}
		w.upsert(r)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		w.tx(func(ctx context.Context, tx sqltx.Tx) error { // what a clock that went back makes of an upsert
			e, _, err := w.st.Schedule().Recurring().Find(ctx, tx, "m")
			if err != nil {
				return err
			}
			e.Next = e.Next.Add(-10 * time.Minute)
			e.Wake = e.Next
			_, err = w.st.Schedule().Recurring().Save(ctx, tx, e, false)
			return err
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		got := w.times()
		slices.SortFunc(got, time.Time.Compare)
		if len(slices.CompactFunc(slices.Clone(got), time.Time.Equal)) != len(got) {
			t.Error("an occurrence happened twice")
		}
		if len(got) != 20 {
			t.Errorf("%d messages, want 20", len(got))
		}
	})
}
