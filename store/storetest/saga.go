package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

var sagaCases = sagaPart(
	testCase{name: "LoadEntersOnlyWhatMayStart", run: func(s *suite) { // guarantees: S7
		s.tx(func(tx sqltx.Tx) error {
			if in := s.load(tx, "k", ""); in != nil {
				s.Errorf("there is no instance, and %+v was loaded", in)
			}
			id := sixfold.NewID()
			in := s.load(tx, "k", id)
			if in == nil || in.ID != id || in.Saga != "s" || in.Key != "k" || in.Generation != 1 || in.Version != 0 || in.Status != saga.Running || len(in.State) > 0 || len(in.Timers) > 0 ||
				in.Started.IsZero() || !in.Ended.IsZero() {
				s.Errorf("a fresh instance is %+v", in)
			}
			return nil
		})
		s.tx(func(tx sqltx.Tx) error {
			if in := s.load(tx, "k", sixfold.NewID()); in == nil || in.Generation != 1 {
				s.Errorf("another start loaded %+v: one key would have two instances", in)
			}
			return nil
		})
	}},
	testCase{name: "RolledBack", run: func(s *suite) { // guarantees: S1
		s.rolledBack(func(tx sqltx.Tx) { s.step(tx, s.load(tx, "k", sixfold.NewID()), "{}") })
		if all := s.sagas(saga.Filter{}); len(all) != 0 {
			s.Errorf("a start was rolled back and left %+v", all)
		}
		id := s.started("k", `{"n":1}`)
		s.rolledBack(func(tx sqltx.Tx) {
			in := s.load(tx, "k", "")
			in.Status = saga.Completed
			s.step(tx, in, `{"n":2}`)
		})
		all := s.sagas(saga.Filter{Full: true})
		if len(all) != 1 || all[0].Version != 1 || string(all[0].State) != `{"n":1}` || all[0].Status != saga.Running {
			s.Errorf("a step was rolled back and left %+v", all)
		}
		if es := s.journalOf(id); len(es) != 1 {
			s.Errorf("a step was rolled back, and the journal has %d entries", len(es))
		}
	}},
	testCase{name: "EveryByteIsKept", run: func(s *suite) {
		for i, text := range oddTexts {
			if text == "" || strings.ContainsRune(text, 0) || len(text) > 255 {
				continue
			}
			id := sixfold.NewID()
			timers := []saga.Timer{{ID: sixfold.NewID(), Type: "t.due"}, {ID: sixfold.NewID(), Type: text}}
			s.tx(func(tx sqltx.Tx) error {
				in := s.load(tx, text, id)
				in.Timers, in.Reason, in.Schema, in.Step = timers, text, 7, "t.begun"
				in.State = []byte(text)
				e := &saga.Entry{Instance: id, Kind: saga.Stepped, Version: 1, Step: "t.begun", Message: "m", Took: 1500 * time.Microsecond,
					Detail: saga.Detail{Attempt: 3, From: "running", Error: text, Effects: []saga.Effect{{Kind: "send", Type: "t", ID: "x"}}}}
				return s.Saga.Instances().Save(s.ctx(), tx, in, e)
			})
			got := s.sagas(saga.Filter{Key: text, Full: true})
			if len(got) != 1 || string(got[0].State) != text || got[0].Reason != text || got[0].Schema != 7 || got[0].Step != "t.begun" || got[0].ID != id || !slices.Equal(got[0].Timers, timers) {
				s.Errorf("text %d came back as %+v", i, got)
			}
			es := s.journalOf(id)
			if len(es) != 1 || es[0].Kind != saga.Stepped || es[0].Version != 1 || es[0].Step != "t.begun" || es[0].Message != "m" || es[0].Took != 1500*time.Microsecond ||
				es[0].Detail.Error != text || es[0].Detail.Attempt != 3 || len(es[0].Detail.Effects) != 1 || es[0].At.IsZero() {
				s.Errorf("the entry came back as %+v", es)
			}
		}
	}},
	testCase{name: "SaveChecksTheVersion", run: func(s *suite) { // guarantees: S7
		id := s.started("k", `{"n":1}`)
		s.tx(func(tx sqltx.Tx) error {
			in := s.load(tx, "k", "")
			stale := *in
			s.step(tx, in, `{"n":2}`)
			if in.Version != 2 {
				s.Errorf("after two changes the version is %d", in.Version)
			}
			return s.nothing(tx, func(tx sqltx.Tx) error {
				err := s.saveSaga(tx, &stale, `{"n":3}`)
				if !errors.Is(err, saga.ErrConflict) {
					s.Errorf("a stale version was saved: %v; an update would be lost", err)
				}
				return errRollBack
			})
		})
		all := s.sagas(saga.Filter{Full: true})
		if len(all) != 1 || string(all[0].State) != `{"n":2}` || len(s.journalOf(id)) != 2 {
			s.Errorf("left %+v and %d entries", all, len(s.journalOf(id)))
		}
	}},
	testCase{name: "TwoStartsMakeOneInstance", twoWriters: true, run: func(s *suite) { // guarantees: S7
		first := s.begin()
		in := s.load(first.tx, "k", sixfold.NewID())
		s.step(first.tx, in, `{"n":1}`)
		answered := make(chan struct{})
		var second *saga.Instance
		var err error
		go func() {
			defer close(answered)
			for {
				err = s.DB.InTx(context.WithoutCancel(s.ctx()), func(tx sqltx.Tx) (err error) {
					second, err = s.Saga.Instances().Load(s.ctx(), tx, "s", "k", sixfold.NewID())
					return err
				})
				if err == nil || !s.Saga.Passing(err) && !errors.Is(err, saga.ErrConflict) {
					return
				}
			}
		}()
		s.blocked(answered)
		first.commit()
		<-answered
		if err != nil || second == nil || second.ID != in.ID || second.Version != 1 {
			s.Errorf("two starts at once: the second one loaded %+v, %v", second, err)
		}
	}},
	testCase{name: "LoadLocks", twoWriters: true, run: func(s *suite) { // guarantees: S7
		s.started("k", `{"n":1}`)
		first := s.begin()
		in := s.load(first.tx, "k", "")
		answered := make(chan struct{})
		var second *saga.Instance
		var err error
		go func() {
			defer close(answered)
			err = s.DB.InTx(context.WithoutCancel(s.ctx()), func(tx sqltx.Tx) (err error) {
				second, err = s.Saga.Instances().Load(s.ctx(), tx, "s", "k", "")
				return err
			})
		}()
		s.blocked(answered)
		s.step(first.tx, in, `{"n":2}`)
		first.commit()
		<-answered
		if err != nil || second == nil || second.Version != 2 || string(second.State) != `{"n":2}` {
			s.Errorf("while a step is at work another one loaded %+v, %v: its update would be lost", second, err)
		}
	}},
	testCase{name: "SuccessorsOfWhatEnded", run: func(s *suite) { // guarantees: S4, S7
		s.started("k", `{"n":1}`)
		s.ended("k", saga.Completed)
		id := sixfold.NewID()
		s.tx(func(tx sqltx.Tx) error {
			old := s.load(tx, "k", sixfold.NewID())
			if old == nil || old.Status != saga.Completed || old.Ended.IsZero() {
				s.Fatalf("loaded %+v", old)
			}
			in, err := s.Saga.Instances().Succeed(s.ctx(), tx, old, id)
			s.must(err)
			if in.ID != id || in.Generation != 2 || in.Version != 0 || in.Status != saga.Running || len(in.State) > 0 {
				s.Errorf("the successor is %+v", in)
			}
			s.step(tx, in, `{"n":5}`)
			return s.nothing(tx, func(tx sqltx.Tx) error {
				if _, err := s.Saga.Instances().Succeed(s.ctx(), tx, old, sixfold.NewID()); !errors.Is(err, saga.ErrConflict) {
					s.Errorf("a second successor: %v", err)
				}
				return errRollBack
			})
		})
		s.tx(func(tx sqltx.Tx) error {
			if in := s.load(tx, "k", ""); in.ID != id || in.Generation != 2 {
				s.Errorf("loaded %+v and not the successor", in)
			}
			return nil
		})
		if all := s.sagas(saga.Filter{Full: true}); len(all) != 2 || all[0].Generation != 1 || string(all[0].State) != `{"n":1}` || all[1].Generation != 2 {
			s.Errorf("a restart left %+v", all)
		}
	}},
	testCase{name: "CancelTimers", run: func(s *suite) { // guarantees: S4
		if s.Schedule == nil {
			s.Skip("the store has no part for a scheduler")
		}
		mine, other := later(s.now().Add(time.Hour)), later(s.now().Add(time.Hour))
		mine.Table = outbox.ToLocal
		s.delay(mine, other)
		s.rolledBack(func(tx sqltx.Tx) { s.must(s.Saga.Instances().CancelTimers(s.ctx(), tx, []string{mine.ID})) })
		if n := len(s.list(schedule.DelayedPage{Limit: 10})); n != 2 {
			s.Errorf("a cancelling was rolled back and %d of 2 messages wait", n)
		}
		s.tx(func(tx sqltx.Tx) error {
			return s.Saga.Instances().CancelTimers(s.ctx(), tx, []string{mine.ID, sixfold.NewID()})
		})
		if all := s.list(schedule.DelayedPage{Limit: 10}); len(all) != 1 || all[0].ID != other.ID {
			s.Errorf("after one of two was cancelled %d wait", len(all))
		}
	}},
	testCase{name: "NoteAlone", run: func(s *suite) {
		id := s.started("k", "{}")
		e := &saga.Entry{Instance: id, Kind: saga.FailedStep, Version: 1, Step: "t.step", Message: "m", Detail: saga.Detail{Error: "broken"}}
		s.rolledBack(func(tx sqltx.Tx) { s.must(s.Saga.Instances().Note(s.ctx(), tx, e)) })
		s.tx(func(tx sqltx.Tx) error { return s.Saga.Instances().Note(s.ctx(), tx, e) })
		es := s.journalOf(id)
		if len(es) != 2 || es[1].Kind != saga.FailedStep || es[1].Detail.Error != "broken" || es[1].N <= es[0].N {
			s.Errorf("the journal is %+v", es)
		}
		if part, err := s.Saga.Records().History(s.ctx(), id, es[0].N, 10); err != nil || len(part) != 1 || part[0].N != es[1].N {
			s.Errorf("behind the first entry: %+v, %v", part, err)
		}
	}},
	testCase{name: "ListInPages", run: func(s *suite) {
		for i := range 12 {
			s.started(fmt.Sprintf("k-%02d", i), "{}")
		}
		s.ended("k-03", saga.Failed)
		var keys []string
		p := saga.Page{Limit: 5}
		for {
			all, err := s.Saga.Records().List(s.ctx(), saga.Filter{Saga: "s", Live: true}, p)
			s.must(err)
			if len(all) == 0 {
				break
			}
			for _, in := range all {
				keys = append(keys, in.Key)
				if in.State != nil {
					s.Error("a state was read that nobody asked for")
				}
			}
			last := all[len(all)-1]
			p.AfterSaga, p.AfterKey, p.AfterGeneration = last.Saga, last.Key, last.Generation
		}
		if len(keys) != 11 || !slices.IsSorted(keys) || slices.Contains(keys, "k-03") {
			s.Errorf("listed %v", keys)
		}
		for _, c := range []struct {
			f saga.Filter
			n int
		}{{saga.Filter{}, 12}, {saga.Filter{Saga: "other"}, 0}, {saga.Filter{Status: saga.Failed}, 1}, {saga.Filter{Key: "k-05"}, 1}, {saga.Filter{Step: "t.step"}, 12},
			{saga.Filter{Step: "t.none"}, 0}, {saga.Filter{Idle: time.Hour}, 0}, {saga.Filter{ID: s.sagas(saga.Filter{Key: "k-07"})[0].ID}, 1}} {
			if n := len(s.sagas(c.f)); n != c.n {
				s.Errorf("%+v matches %d, want %d", c.f, n, c.n)
			}
		}
	}},
	testCase{name: "Counts", run: func(s *suite) { // guarantees: S6
		for i := range 5 {
			s.started(fmt.Sprint(i), "{}")
		}
		s.ended("3", saga.Completed)
		s.ended("4", saga.Stuck)
		want := []saga.Count{{Saga: "s", Status: saga.Running, Step: "t.step", N: 3}, {Saga: "s", Status: saga.Completed, Step: "t.step", N: 1}, {Saga: "s", Status: saga.Stuck, Step: "t.step", N: 1}}
		for _, name := range []string{"", "s"} {
			if got, err := s.Saga.Records().Counts(s.ctx(), name); err != nil || !slices.Equal(got, want) {
				s.Errorf("counts of %q: %+v, %v", name, got, err)
			}
		}
		if got, err := s.Saga.Records().Counts(s.ctx(), "other"); err != nil || len(got) != 0 {
			s.Errorf("counts of another saga: %+v, %v", got, err)
		}
		// A stuck one may be brought back, so its state must be readable.
		if got, err := s.Saga.Records().Schemas(s.ctx()); err != nil || !slices.Equal(got, []saga.SchemaCount{{Saga: "s", Schema: 1, N: 4}}) {
			s.Errorf("versions of the states: %+v, %v", got, err)
		}
	}},
	testCase{name: "PurgeWhatEndedLongAgo", run: func(s *suite) {
		for i := range 6 {
			s.started(fmt.Sprint(i), "{}")
		}
		var ids []string
		for _, in := range s.sagas(saga.Filter{}) {
			ids = append(ids, in.ID)
		}
		s.ended("0", saga.Completed)
		s.ended("1", saga.Cancelled)
		s.ended("2", saga.Failed)
		s.ended("3", saga.Stuck)
		if n, err := s.Saga.Records().Purge(s.ctx(), time.Hour, 10); n != 0 || err != nil {
			s.Errorf("purged %d that ended just now, %v", n, err)
		}
		total := 0
		for _, want := range []int{2, 1, 0} {
			n, err := s.Saga.Records().Purge(s.ctx(), -time.Second, 2)
			s.must(err)
			if n != want {
				s.Errorf("purged %d, want %d", n, want)
			}
			total += n
		}
		if all := s.sagas(saga.Filter{}); len(all) != 3 || total != 3 {
			s.Errorf("of six, three of which are done with, %d are left", len(all))
		}
		for i, id := range ids {
			if n := len(s.journalOf(id)); (n == 0) != (i < 3) {
				s.Errorf("instance %d has %d entries", i, n)
			}
		}
	}},
	testCase{name: "BroughtBack", run: func(s *suite) {
		s.started("k", "{}")
		s.ended("k", saga.Completed)
		s.tx(func(tx sqltx.Tx) error {
			in := s.load(tx, "k", "")
			in.Status = saga.Running
			s.step(tx, in, "{}")
			return nil
		})
		if all := s.sagas(saga.Filter{Live: true}); len(all) != 1 || !all[0].Ended.IsZero() {
			s.Errorf("an instance that runs again is %+v", all)
		}
	}},
)

func sagaPart(cases ...testCase) []testCase {
	for i := range cases {
		cases[i].sagas = true
	}
	return cases
}

func (s *suite) load(tx sqltx.Tx, key, fresh string) *saga.Instance {
	s.Helper()
	in, err := s.Saga.Instances().Load(s.ctx(), tx, "s", key, fresh)
	s.must(err)
	return in
}

func (s *suite) saveSaga(tx sqltx.Tx, in *saga.Instance, state string) error {
	in.State, in.Schema, in.Step = []byte(state), 1, "t.step"
	return s.Saga.Instances().Save(s.ctx(), tx, in, &saga.Entry{Instance: in.ID, Kind: saga.Stepped, Version: in.Version + 1, Step: "t.step", Message: "m"})
}

func (s *suite) step(tx sqltx.Tx, in *saga.Instance, state string) {
	s.Helper()
	s.must(s.saveSaga(tx, in, state))
}

// nothing runs fn in a savepoint, which is rolled back.
func (s *suite) nothing(tx sqltx.Tx, fn func(tx sqltx.Tx) error) error {
	if err := tx.Savepoint(s.ctx(), fn); !errors.Is(err, errRollBack) {
		return err
	}
	return nil
}

// started commits an instance with one step, and answers its id.
func (s *suite) started(key, state string) (id string) {
	s.Helper()
	id = sixfold.NewID()
	s.tx(func(tx sqltx.Tx) error {
		s.step(tx, s.load(tx, key, id), state)
		return nil
	})
	return id
}

func (s *suite) ended(key string, as saga.Status) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) error {
		in := s.load(tx, key, "")
		in.Status = as
		return s.saveSaga(tx, in, string(in.State))
	})
}

func (s *suite) sagas(f saga.Filter) []saga.Instance {
	s.Helper()
	all, err := s.Saga.Records().List(s.ctx(), f, saga.Page{Limit: 1000})
	s.must(err)
	return all
}

func (s *suite) journalOf(id string) []saga.Entry {
	s.Helper()
	all, err := s.Saga.Records().History(s.ctx(), id, 0, 1000)
	s.must(err)
	return all
}
