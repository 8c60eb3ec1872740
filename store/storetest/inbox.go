package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func record(message, digest byte) inbox.Record {
	return inbox.Record{Message: [16]byte{message}, Digest: [16]byte{digest}, Key: "key"}
}

func records(messages ...byte) (recs []inbox.Record) {
	for _, m := range messages {
		recs = append(recs, record(m, m))
	}
	return recs
}

// handle records in a committed transaction.
func (s *suite) handle(consumer string, recs ...inbox.Record) (verdicts []inbox.Verdict) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) (err error) {
		verdicts, err = s.Inbox.Record(s.ctx(), tx, consumer, recs)
		return err
	})
	return verdicts
}

func (s *suite) want(got []inbox.Verdict, want ...inbox.Verdict) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("verdicts %v, want %v (0 first, 1 handled, 2 parked, 3 dead, 4 reused, 5 behind)", got, want)
	}
}

var inboxCases = []testCase{
	{name: "OncePerMessage", run: func(s *suite) { // guarantees: I1
		s.want(s.handle("c", record(1, 1)), inbox.First)
		s.want(s.handle("c", record(1, 1)), inbox.Handled)
		s.want(s.handle("c", records(3, 2, 4)...), inbox.First, inbox.First, inbox.First)
		s.want(s.handle("c", records(5, 4, 1, 6, 3)...), inbox.First, inbox.Handled, inbox.Handled, inbox.First, inbox.Handled)
		s.want(s.handle("c"))
	}},
	{name: "TwoConsumersBothRun", run: func(s *suite) { // guarantees: I3
		s.want(s.handle("a", records(1, 2)...), inbox.First, inbox.First)
		s.want(s.handle("b", records(1, 2)...), inbox.First, inbox.First)
	}},
	{name: "RollbackForgets", run: func(s *suite) { // guarantees: I1
		for _, recs := range [][]inbox.Record{records(1), records(2, 3)} {
			s.rolledBack(func(tx sqltx.Tx) {
				_, err := s.Inbox.Record(s.ctx(), tx, "c", recs)
				s.must(err)
			})
			for _, v := range s.handle("c", recs...) {
				if v != inbox.First {
					s.Error("a message whose handler was rolled back counts as handled: its effect would be lost")
				}
			}
		}
	}},
	{name: "AgainInTheSameTransaction", run: func(s *suite) {
		s.tx(func(tx sqltx.Tx) error {
			for _, want := range []inbox.Verdict{inbox.First, inbox.Handled} {
				got, err := s.Inbox.Record(s.ctx(), tx, "c", records(1))
				s.must(err)
				s.want(got, want)
			}
			return nil
		})
	}},
	{name: "OtherPayloadIsReused", run: func(s *suite) { // guarantees: I6
		s.handle("c", records(1, 2)...)
		s.want(s.handle("c", record(1, 9)), inbox.Reused)
		s.want(s.handle("c", record(2, 2), record(1, 9), record(3, 3)), inbox.Handled, inbox.Reused, inbox.First)
	}},
	{name: "KeysMayBeMissing", run: func(s *suite) {
		a, b := record(1, 1), record(2, 2)
		a.Key = ""
		s.want(s.handle("c", a, b), inbox.First, inbox.First)
		b.Message[0], b.Key = 3, `"{NULL}\`
		s.want(s.handle("c", b, a), inbox.First, inbox.Handled)
	}},
	{name: "ManyAtOnce", run: func(s *suite) {
		var recs []inbox.Record
		for i := range 300 {
			r := record(byte(i), byte(i>>8))
			r.Message[1], r.Message[15] = byte(i>>8), 0xff
			recs = append(recs, r)
		}
		for _, want := range []inbox.Verdict{inbox.First, inbox.Handled} {
			for i, v := range s.handle("c", recs...) {
				if v != want {
					s.Fatalf("record %d of 300: verdict %d, want %d", i, v, want)
				}
			}
		}
	}},
	{name: "DuplicateWaitsForTheFirst", twoWriters: true, run: func(s *suite) { // guarantees: I4
		for _, how := range []struct {
			name   string
			commit bool
			want   inbox.Verdict
			recs   []inbox.Record
		}{{"single", true, inbox.Handled, records(1)}, {"single", false, inbox.First, records(2)}, {"batch", true, inbox.Handled, records(3, 4)}, {"batch", false, inbox.First, records(5, 6)}} {
			first := s.begin()
			_, err := s.Inbox.Record(s.ctx(), first.tx, "c", how.recs[:1])
			s.must(err)
			answered, got := make(chan struct{}), []inbox.Verdict(nil)
			go func() {
				defer close(answered)
				err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
					got, err = s.Inbox.Record(s.ctx(), tx, "c", how.recs)
					return err
				})
				if err != nil {
					s.Error(err)
				}
			}()
			s.blocked(answered)
			select {
			case <-answered:
				s.Fatalf("%s: a duplicate was answered %v while the first one's transaction was open", how.name, got)
			default:
			}
			if how.commit {
				first.commit()
			} else {
				first.rollBack()
			}
			<-answered
			if len(got) == 0 || got[0] != how.want {
				s.Errorf("%s: a duplicate of what was committed (%t): %v, want %v", how.name, how.commit, got, how.want)
			}
		}
	}},
	{name: "OverlappingBatchesDoNotDeadlock", run: func(s *suite) { // guarantees: I8
		var all sync.WaitGroup
		forth, back := records(1, 2, 3, 4, 5, 6, 7, 8), records(8, 7, 6, 5, 4, 3, 2, 1)
		for i := range 20 {
			for j := range forth {
				forth[j].Message[1], back[j].Message[1] = byte(i), byte(i)
			}
			for _, recs := range [][]inbox.Record{slices.Clone(forth), slices.Clone(back)} {
				all.Go(func() {
					err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) error {
						_, err := s.Inbox.Record(s.ctx(), tx, "c", recs)
						return err
					})
					if err != nil {
						s.Errorf("two batches with the same messages in another order: %v", err)
					}
				})
			}
			all.Wait()
		}
	}},
	{name: "PruneIsBounded", run: func(s *suite) { // guarantees: I5
		s.handle("c", records(1, 2, 3, 4, 5)...)
		if got, err := s.Inbox.Prune(s.ctx(), time.Hour, 100); err != nil || got != 0 {
			s.Errorf("%d records were removed before their time, %v", got, err)
		}
		for i, want := range []int{3, 2, 0} {
			if got, err := s.Inbox.Prune(s.ctx(), 0, 3); err != nil || got != want {
				s.Errorf("prune number %d of 3 at most: %d, %v; want %d", i+1, got, err, want)
			}
		}
		s.want(s.handle("c", records(1)...), inbox.First)
	}},
	{name: "PassingIsTheInfrastructuresOwn", run: func(s *suite) {
		for _, err := range []error{nil, context.Canceled, context.DeadlineExceeded, errRollBack} {
			if s.Inbox.Passing(err) {
				s.Errorf("Passing(%v): a handler's own failure would be run again for ever", err)
			}
		}
	}},
}

var attemptCases = []testCase{
	{name: "SuspectsAreCounted", run: func(s *suite) { // guarantees: I8
		recs := records(1, 2)
		for want := 1; want <= 3; want++ {
			got, err := s.Inbox.Suspect(s.ctx(), "c", recs)
			if err != nil || !slices.Equal(got, []int{want, want}) {
				s.Errorf("suspected %d times: %v, %v", want, got, err)
			}
		}
		got, err := s.Inbox.Suspect(s.ctx(), "other", recs[:1])
		if err != nil || !slices.Equal(got, []int{1}) {
			s.Errorf("another consumer's attempts: %v, %v", got, err)
		}
	}},
	{name: "SuspectMayStillBeHandled", run: func(s *suite) {
		_, err := s.Inbox.Suspect(s.ctx(), "c", records(1, 2, 3))
		s.must(err)
		s.want(s.handle("c", records(1)...), inbox.First)
		s.want(s.handle("c", records(4, 3, 2)...), inbox.First, inbox.First, inbox.First)
		s.want(s.handle("c", records(1, 2, 3, 4)...), inbox.Handled, inbox.Handled, inbox.Handled, inbox.Handled)
	}},
	{name: "HandledIsNoSuspect", run: func(s *suite) {
		s.handle("c", records(1)...)
		got, err := s.Inbox.Suspect(s.ctx(), "c", records(2, 1))
		if err != nil || !slices.Equal(got, []int{1, 0}) {
			s.Errorf("a new message and a handled one: %v, %v; want 1 and 0", got, err)
		}
		if got, err := s.Inbox.Suspect(s.ctx(), "c", nil); err != nil || len(got) != 0 {
			s.Errorf("nothing suspected: %v, %v", got, err)
		}
	}},
	{name: "RollbackKeepsAttempts", run: func(s *suite) { // guarantees: I8
		_, err := s.Inbox.Suspect(s.ctx(), "c", records(1))
		s.must(err)
		s.rolledBack(func(tx sqltx.Tx) {
			got, err := s.Inbox.Record(s.ctx(), tx, "c", records(1))
			s.must(err)
			s.want(got, inbox.First)
		})
		got, err := s.Inbox.Suspect(s.ctx(), "c", records(1))
		if err != nil || !slices.Equal(got, []int{2}) {
			s.Errorf("the second attempt is counted as %v, %v: a message that kills its handler would never end", got, err)
		}
	}},
	{name: "ForgetRemovesAttemptsOnly", run: func(s *suite) {
		_, err := s.Inbox.Suspect(s.ctx(), "c", records(1, 2))
		s.must(err)
		s.handle("c", records(2)...)
		s.must(s.Inbox.Forget(s.ctx(), "c", records(1, 2, 3)))
		s.must(s.Inbox.Forget(s.ctx(), "c", nil))
		got, err := s.Inbox.Suspect(s.ctx(), "c", records(1, 2))
		if err != nil || !slices.Equal(got, []int{1, 0}) {
			s.Errorf("after forgetting a suspect and a handled message: %v, %v; want 1 and 0", got, err)
		}
	}},
	{name: "SuspectWaitsForAnOpenHandler", twoWriters: true, run: func(s *suite) { // guarantees: I4
		first := s.begin()
		_, err := s.Inbox.Record(s.ctx(), first.tx, "c", records(1))
		s.must(err)
		answered, got := make(chan struct{}), []int(nil)
		go func() {
			defer close(answered)
			var err error
			if got, err = s.Inbox.Suspect(s.ctx(), "c", records(1)); err != nil && !errors.Is(err, context.Canceled) {
				s.Error(err)
			}
		}()
		s.blocked(answered)
		first.commit()
		<-answered
		if !slices.Equal(got, []int{0}) {
			s.Errorf("a message that was being handled, and was, counts attempts: %v", got)
		}
	}},
}
