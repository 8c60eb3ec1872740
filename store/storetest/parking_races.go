package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// beside runs fn in another goroutine and comes back when it waits for a lock; the answer waits until it has ended.
func (s *suite) beside(what string, fn func() error) (ended func()) {
	s.Helper()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if err := fn(); err != nil {
			s.Errorf("%s: %v", what, err)
		}
	}()
	s.blocked(answered)
	if s.Blocked != nil {
		select {
		case <-answered:
			s.Fatalf("%s did not wait for the open transaction", what)
		default:
		}
	}
	return func() { <-answered }
}

// parkBeside parks in a transaction that waits.
func (s *suite) parkBeside(consumer string, entered *[]bool, items ...inbox.Item) (ended func()) {
	s.Helper()
	return s.beside("park", func() error {
		return s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
			*entered, err = s.Inbox.Parking().Park(s.ctx(), tx, consumer, items)
			return err
		})
	})
}

var parkingRaces = []testCase{
	{name: "ParkWaitsForTheHandler", twoWriters: true, run: func(s *suite) { // guarantees: I1, I4
		for message, commit := range []bool{true, false} {
			handler := s.begin()
			recs := records(byte(message))
			_, err := s.Inbox.Record(s.ctx(), handler.tx, "c", recs)
			s.must(err)
			var entered []bool
			ended := s.parkBeside("c", &entered, failedLetter(byte(message), ""))
			if commit {
				handler.commit()
			} else {
				handler.rollBack()
			}
			ended()
			if !slices.Equal(entered, []bool{!commit}) {
				s.Errorf("a copy that failed while another one ran (committed: %t) was entered: %v", commit, entered)
			}
		}
	}},
	{name: "RecordSeesTheLineThatItWaitedFor", twoWriters: true, run: func(s *suite) { // guarantees: K2
		parker := s.begin()
		_, err := s.Inbox.Parking().Park(s.ctx(), parker.tx, "c", []inbox.Item{failedLetter(1, "key")})
		s.must(err)
		var got []inbox.Verdict
		ended := s.beside("record", func() error {
			return s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
				got, err = s.Inbox.Record(s.ctx(), tx, "c", records(1, 2))
				return err
			})
		})
		parker.commit()
		ended()
		s.want(got, inbox.Parked, inbox.Behind)
		s.want([]inbox.Verdict{s.verdict("c", 2)}, inbox.Parked)
	}},
	{name: "ClaimSeesTheLineThatItWaitedFor", twoWriters: true, run: func(s *suite) { // guarantees: K2
		n, q := s.node("c"), s.Outbox.Queue(outbox.ToLocal)
		rows := []outbox.Row{row("key"), row("key")}
		rows[0].Class, rows[1].Class = "c", "c"
		s.tx(func(tx sqltx.Tx) error {
			_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToLocal, rows, false)
			return err
		})
		all := seqs(s.read(outbox.ToLocal, "c"))
		parker := s.begin()
		_, _, err := q.Claim(s.ctx(), parker.tx, n, all[:1])
		s.must(err)
		first := failedLetter(1, "key")
		first.Enter = false
		_, err = s.Inbox.Parking().Park(s.ctx(), parker.tx, "c", []inbox.Item{first})
		s.must(err)
		var there, behind []int64
		ended := s.beside("claim", func() error {
			return s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
				there, behind, err = q.Claim(s.ctx(), tx, n, all)
				return err
			})
		})
		parker.commit()
		ended()
		if !slices.Equal(there, all[1:]) || !slices.Equal(behind, all[1:]) {
			s.Errorf("claimed %v, behind %v; the first was parked meanwhile, and the second must not overtake it", there, behind)
		}
	}},
	{name: "Orphan", twoWriters: true, run: func(s *suite) { // guarantees: R1
		// A message comes to a line whose last one has just left: the line is ended by whoever has it, after the wait.
		s.park("c", failedLetter(1, "k"))
		l := s.only(s.takeOver("c", 1))
		s.done(l, 0)
		parker := s.begin()
		_, err := s.Inbox.Parking().Park(s.ctx(), parker.tx, "c", []inbox.Item{letter(2, "k")})
		s.must(err)
		ended := s.beside("give back", func() error {
			_, err := s.Inbox.Parking().Tend(s.ctx(), nil, 0, []inbox.Return{{Hold: holdOf(l)}})
			return err
		})
		parker.commit()
		ended()
		l = s.only(s.takeOver("c", 9))
		s.holds(l, 2)

		// The same when the line goes with a dead letter that holds nothing back.
		parker = s.begin()
		_, err = s.Inbox.Parking().Park(s.ctx(), parker.tx, "c", []inbox.Item{letter(3, "k")})
		s.must(err)
		ended = s.beside("fail", func() error { return s.fail(l, func(f *inbox.Failed) { f.Dead, f.Loose = true, true }) })
		parker.commit()
		ended()
		l = s.only(s.takeOver("c", 9))
		s.holds(l, 3)
		s.done(l, 0)
		s.back(l, 0)
		s.park("c", letter(4, "k"))
		s.holds(s.only(s.takeOver("c", 9)), 4)
	}},
	{name: "TakeWaitsAndFindsGone", twoWriters: true, run: func(s *suite) { // guarantees: I1
		for message, commit := range []bool{true, false} {
			s.park("c", failedLetter(byte(message), ""))
			l := s.only(s.takeOver("c", 1))
			first := s.begin()
			got, err := s.Inbox.Parking().Take(s.ctx(), first.tx, []inbox.Ticket{ticket(l, 0)})
			if err != nil || len(got) != 1 {
				s.Fatal(got, err)
			}
			var second []int64
			ended := s.takeBeside(&second, l, 0)
			if commit {
				first.commit()
			} else {
				first.rollBack()
			}
			ended()
			if (len(second) == 0) != commit {
				s.Errorf("a message that another transaction took (committed: %t) was taken again: %v", commit, second)
			}
		}
	}},
	{name: "StaleTakeThatWaitedIsRefused", twoWriters: true, run: func(s *suite) { // guarantees: R5
		s.park("c", failedLetter(1, "k"))
		stale := s.only(s.takeOverFor("c", 1, time.Microsecond))
		l := s.only(s.takeOverFor("c", 1, time.Hour))
		handler := s.begin() // of the new owner
		got, err := s.Inbox.Parking().Take(s.ctx(), handler.tx, []inbox.Ticket{ticket(l, 0)})
		if err != nil || len(got) != 1 {
			s.Fatal(got, err)
		}
		var late []int64
		ended := s.takeBeside(&late, stale, 0)
		handler.rollBack()
		ended()
		if len(late) != 0 {
			s.Errorf("who was taken over took %v after the new owner's handler failed", late)
		}
		if n := s.done(l, 0); n != 1 {
			s.Errorf("the new owner took %d", n)
		}
	}},
	{name: "TakenOverWhileItWaits", twoWriters: true, run: func(s *suite) { // guarantees: R5
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		slow := s.only(s.takeOverFor("c", 1, time.Microsecond))
		first := s.begin()
		_, err := s.Inbox.Parking().Take(s.ctx(), first.tx, []inbox.Ticket{ticket(slow, 0)})
		s.must(err)
		var late []int64
		ended := s.takeBeside(&late, slow, 0, 1)
		l := s.only(s.takeOver("c", 1)) // its time is over, and somebody else begins
		first.rollBack()
		ended()
		if len(late) != 0 {
			s.Errorf("a statement that waited while its line was taken over took %v", late)
		}
		if n := s.done(l, 0, 1); n != 2 {
			s.Errorf("the new owner took %d of 2", n)
		}
	}},
	{name: "ClaimSkipsWhatIsHeld", twoWriters: true, run: func(s *suite) { // guarantees: K2
		s.park("c", failedLetter(1, "a"), failedLetter(2, "b"))
		parker := s.begin()
		_, err := s.Inbox.Parking().Park(s.ctx(), parker.tx, "c", []inbox.Item{letter(3, "a")})
		s.must(err)
		ctx, cancel := context.WithTimeout(s.ctx(), time.Minute)
		defer cancel()
		got, err := s.Inbox.Parking().Claim(ctx, "c", inbox.Ask{Token: sixfold.NewID(), Lines: 9, Rows: 9, Hold: time.Hour})
		if err != nil {
			s.Fatalf("a claim waits for somebody who parks: %v", err)
		}
		s.holds(s.only(got), 2)
		if got.Next != 0 || got.Waiting != -1 {
			s.Errorf("another line is due now: next %v; nobody asked for the number: %d", got.Next, got.Waiting)
		}
		parker.commit()
		s.holds(s.only(s.takeOver("c", 9)), 1, 3)
	}},
	{name: "KeepWaitsForNobody", twoWriters: true, run: func(s *suite) { // guarantees: R7
		s.park("c", failedLetter(1, "a"), failedLetter(2, "b"))
		lines := s.takeOver("c", 2).Lines
		handler := s.begin()
		_, err := s.Inbox.Parking().Park(s.ctx(), handler.tx, "c", []inbox.Item{letter(3, "a")})
		s.must(err)
		ctx, cancel := context.WithTimeout(s.ctx(), time.Minute)
		defer cancel()
		got, err := s.Inbox.Parking().Tend(ctx, []inbox.Hold{holdOf(lines[0]), holdOf(lines[1])}, time.Hour, nil)
		if err != nil || len(got) != 2 {
			s.Errorf("beside a handler that parks behind a line %d of 2 were kept, %v; all would be taken over", len(got), err)
		}
		// Nor does a handler that takes stop its own process from keeping the line, or others from parking behind it.
		handler.rollBack()
		handler = s.begin()
		_, err = s.Inbox.Parking().Take(s.ctx(), handler.tx, []inbox.Ticket{ticket(lines[0], 0)})
		s.must(err)
		if got, err := s.Inbox.Parking().Tend(ctx, []inbox.Hold{holdOf(lines[0])}, time.Hour, nil); err != nil || len(got) != 1 {
			s.Errorf("beside its own handler: kept %v, %v", got, err)
		}
		err = s.DB.InTx(ctx, func(tx sqltx.Tx) error {
			_, err := s.Inbox.Parking().Park(ctx, tx, "c", []inbox.Item{letter(4, lines[0].Rows[0].Key)})
			return err
		})
		if err != nil {
			s.Errorf("parking beside a handler of the key: %v", err)
		}
	}},
	{name: "CrossedKeysDoNotDeadlock", twoWriters: true, run: func(s *suite) { // guarantees: I8
		s.park("c", failedLetter(1, "a"), failedLetter(2, "b"), failedLetter(3, "c"))
		for i := range 20 {
			ended := make(chan error, 2)
			for j, keys := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}} {
				go func() {
					var items []inbox.Item
					for k, key := range keys {
						it := letter(byte(10+3*j+k), key)
						it.Message[1] = byte(i)
						items = append(items, it)
					}
					ended <- s.DB.InTx(s.ctx(), func(tx sqltx.Tx) error {
						_, err := s.Inbox.Parking().Park(s.ctx(), tx, "c", items)
						return err
					})
				}()
			}
			s.must(errors.Join(<-ended, <-ended))
		}
	}},
	{name: "OneClaimsALine", twoWriters: true, run: func(s *suite) { // guarantees: K2
		var items []inbox.Item
		for i := range 40 {
			it := letter(byte(i), "")
			if i%2 == 0 {
				it.Key = string(rune('a' + i))
			}
			items = append(items, it)
		}
		s.park("c", items...)
		got := make(chan []byte, 4)
		for range 4 {
			go func() {
				var mine []byte
				for {
					c, err := s.Inbox.Parking().Claim(s.ctx(), "c", inbox.Ask{Token: sixfold.NewID(), Lines: 3, Rows: 9, Hold: time.Hour})
					if err != nil {
						s.Error(err)
					}
					for _, l := range c.Lines {
						mine = append(mine, messagesOf(l)...)
					}
					if len(c.Lines) == 0 && c.Next != 0 || err != nil {
						break
					}
				}
				got <- mine
			}()
		}
		var all []byte
		for range 4 {
			all = append(all, <-got...)
		}
		slices.Sort(all)
		if len(all) != 40 || len(slices.Compact(all)) != 40 {
			s.Errorf("40 lines were claimed by 4 processes as %v", all)
		}
	}},
}

// takeBeside takes messages of l in a transaction that waits.
func (s *suite) takeBeside(got *[]int64, l inbox.Line, at ...int) (ended func()) {
	s.Helper()
	return s.beside("take", func() error {
		return s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
			var tickets []inbox.Ticket
			for _, i := range at {
				tickets = append(tickets, ticket(l, i))
			}
			*got, err = s.Inbox.Parking().Take(s.ctx(), tx, tickets)
			return err
		})
	})
}
