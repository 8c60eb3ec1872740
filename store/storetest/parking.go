package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// letter is a message to be parked, which the inbox does not know.
func letter(message byte, key string) inbox.Item {
	r := record(message, message)
	r.Key = key
	return inbox.Item{Record: r, Enter: true, ID: fmt.Sprint("id ", message), Source: "shop", Type: "t", Topic: "orders", Attrs: []byte(`{"type":"t"}`), Body: []byte{message}}
}

// failedLetter is letter with an attempt that failed.
func failedLetter(message byte, key string) inbox.Item {
	it := letter(message, key)
	it.Attempts, it.Error, it.Node = 1, "boom", "host/1"
	return it
}

// deadLetter is failedLetter without another attempt.
func deadLetter(message byte, key string) inbox.Item {
	it := failedLetter(message, key)
	it.Dead, it.Reason = true, "permanent"
	return it
}

// park parks in a committed transaction.
func (s *suite) park(consumer string, items ...inbox.Item) (entered []bool) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) (err error) {
		entered, err = s.Inbox.Parking().Park(s.ctx(), tx, consumer, items)
		return err
	})
	return entered
}

// takeOver claims up to n lines, 100 messages of each, for an hour.
func (s *suite) takeOver(consumer string, n int) inbox.Claimed {
	s.Helper()
	return s.takeOverFor(consumer, n, time.Hour)
}

func (s *suite) takeOverFor(consumer string, n int, hold time.Duration) inbox.Claimed {
	s.Helper()
	got, err := s.Inbox.Parking().Claim(s.ctx(), consumer, inbox.Ask{Token: sixfold.NewID(), Lines: n, Rows: 100, Hold: hold, Count: true})
	s.must(err)
	return got
}

// only is the one line that a claim answered.
func (s *suite) only(got inbox.Claimed) inbox.Line {
	s.Helper()
	if len(got.Lines) != 1 {
		s.Fatalf("%d lines were claimed, want 1: %+v", len(got.Lines), got)
	}
	return got.Lines[0]
}

// messagesOf are the first bytes of the messages' numbers.
func messagesOf(l inbox.Line) (all []byte) {
	for _, r := range l.Rows {
		all = append(all, r.Message[0])
	}
	return all
}

func (s *suite) holds(l inbox.Line, want ...byte) {
	s.Helper()
	if got := messagesOf(l); !slices.Equal(got, want) {
		s.Errorf("the line holds %v, want %v", got, want)
	}
}

func holdOf(l inbox.Line) inbox.Hold { return inbox.Hold{Line: l.ID, Token: l.Token} }

func ticket(l inbox.Line, i int) inbox.Ticket { return inbox.Ticket{N: l.Rows[i].N, Token: l.Token} }

// done takes messages of l, by index, in a committed transaction and answers how many there were.
func (s *suite) done(l inbox.Line, at ...int) int {
	s.Helper()
	var tickets []inbox.Ticket
	for _, i := range at {
		tickets = append(tickets, ticket(l, i))
	}
	var got []int64
	s.tx(func(tx sqltx.Tx) (err error) {
		got, err = s.Inbox.Parking().Take(s.ctx(), tx, tickets)
		return err
	})
	return len(got)
}

// back gives a line back, due after delay.
func (s *suite) back(l inbox.Line, delay time.Duration) {
	s.Helper()
	_, err := s.Inbox.Parking().Tend(s.ctx(), nil, 0, []inbox.Return{{Hold: holdOf(l), Delay: delay}})
	s.must(err)
}

// attempt counts an attempt at the first message of l before it runs, and keeps l for hold.
func (s *suite) attempt(l inbox.Line, hold time.Duration) {
	s.Helper()
	h := holdOf(l)
	h.Begins = true
	if kept, err := s.Inbox.Parking().Tend(s.ctx(), []inbox.Hold{h}, hold, nil); err != nil || len(kept) != 1 {
		s.Fatalf("an attempt at a line of ours does not begin: %v, %v", kept, err)
	}
}

// fail puts down a failed attempt at the first message of l.
func (s *suite) fail(l inbox.Line, change func(f *inbox.Failed)) error {
	f := inbox.Failed{Hold: holdOf(l), N: l.Rows[0].N, Attempts: l.Attempts + 1, Error: "boom: again", Node: "host/2"}
	if change != nil {
		change(&f)
	}
	return s.Inbox.Parking().Fail(s.ctx(), f)
}

// verdict is what the inbox says of a message without a key now.
func (s *suite) verdict(consumer string, message byte) (v inbox.Verdict) {
	s.Helper()
	r := record(message, message)
	r.Key = ""
	s.rolledBack(func(tx sqltx.Tx) {
		got, err := s.Inbox.Record(s.ctx(), tx, consumer, []inbox.Record{r})
		s.must(err)
		v = got[0]
	})
	return v
}

var parkingCases = []testCase{
	{name: "ParkedIsKnownToTheInbox", run: func(s *suite) { // guarantees: I1, I3
		if got := s.park("c", failedLetter(1, "k"), deadLetter(2, "")); !slices.Equal(got, []bool{true, true}) {
			s.Errorf("entered %v", got)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2), s.verdict("other", 1)}, inbox.Parked, inbox.Dead, inbox.First)
		if got := s.park("c", failedLetter(1, "k"), deadLetter(2, ""), letter(3, "k"), letter(3, "k")); !slices.Equal(got, []bool{false, false, true, false}) {
			s.Errorf("copies of what is parked, dead, new, and again: entered %v", got)
		}
		s.handle("c", record(4, 4))
		s.holds(s.only(s.takeOver("c", 9)), 1, 3)
	}},
	{name: "HandledIsNotParked", run: func(s *suite) { // guarantees: I1
		s.handle("c", record(1, 1))
		_, err := s.Inbox.Suspect(s.ctx(), "c", []inbox.Record{record(2, 2)})
		s.must(err)
		if got := s.park("c", failedLetter(1, "k"), failedLetter(2, "k")); !slices.Equal(got, []bool{false, true}) {
			s.Errorf("a handled message and a suspect: entered %v", got)
		}
		s.holds(s.only(s.takeOver("c", 9)), 2)
		if got, err := s.Inbox.Suspect(s.ctx(), "c", []inbox.Record{record(2, 2)}); err != nil || got[0] != 0 {
			s.Errorf("a parked message counts attempts in the inbox: %v, %v", got, err)
		}
	}},
	{name: "RollbackParksNothing", run: func(s *suite) {
		s.rolledBack(func(tx sqltx.Tx) {
			_, err := s.Inbox.Parking().Park(s.ctx(), tx, "c", []inbox.Item{failedLetter(1, "k"), letter(2, "")})
			s.must(err)
		})
		if got := s.takeOver("c", 9); len(got.Lines) != 0 || got.Next >= 0 || got.Waiting != 0 {
			s.Errorf("after a rollback: %+v", got)
		}
		s.want(s.handle("c", record(1, 1)), inbox.First)
	}},
	{name: "LaterOnesAreBehind", run: func(s *suite) { // guarantees: K2
		s.park("c", failedLetter(1, "key"))
		for _, recs := range [][]inbox.Record{records(2), records(3, 4)} {
			var items []inbox.Item
			for _, r := range recs {
				items = append(items, letter(r.Message[0], "key"))
				items[len(items)-1].Enter = false
			}
			s.tx(func(tx sqltx.Tx) error {
				got, err := s.Inbox.Record(s.ctx(), tx, "c", recs)
				s.must(err)
				for _, v := range got {
					s.want([]inbox.Verdict{v}, inbox.Behind)
				}
				_, err = s.Inbox.Parking().Park(s.ctx(), tx, "c", items)
				return err
			})
		}
		other := record(9, 9)
		other.Key = "other"
		s.want(s.handle("c", other, record(2, 2)), inbox.First, inbox.Parked)
		s.want(s.handle("another", records(2)...), inbox.First)
		s.holds(s.only(s.takeOver("c", 9)), 1, 2, 3, 4)
	}},
	{name: "AnyLineHoldsItsKey", run: func(s *suite) { // guarantees: K2
		blocked := deadLetter(2, "blocked")
		waits := failedLetter(3, "waits")
		waits.Delay = 1 << 62
		s.park("c", failedLetter(1, "claimed"), blocked, waits)
		s.only(s.takeOver("c", 9))
		for i, key := range []string{"claimed", "blocked", "waits"} {
			r := record(byte(10+i), 1)
			r.Key = key
			s.rolledBack(func(tx sqltx.Tx) {
				got, err := s.Inbox.Record(s.ctx(), tx, "c", []inbox.Record{r})
				s.must(err)
				s.want(got, inbox.Behind)
			})
		}
	}},
	{name: "LocalRowsAreBehind", run: func(s *suite) { // guarantees: K2
		n := s.node("c")
		mine, free, none := row("held"), row("free"), row("")
		mine.Class, free.Class, none.Class = "c", "c", "c"
		var all []int64
		s.tx(func(tx sqltx.Tx) error {
			_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToLocal, []outbox.Row{mine, free, none}, false)
			return err
		})
		all = seqs(s.read(outbox.ToLocal, "c"))
		s.park("c", failedLetter(1, "held"))
		s.park("other", failedLetter(1, "free"))
		s.rolledBack(func(tx sqltx.Tx) {
			there, behind, err := s.Outbox.Queue(outbox.ToLocal).Claim(s.ctx(), tx, n, all)
			if err != nil || !slices.Equal(there, all) || !slices.Equal(behind, all[:1]) {
				s.Errorf("claimed %v, behind %v, %v; the first of 3 is behind a line of its consumer", there, behind, err)
			}
		})
	}},
	{name: "LinesComeInOrder", run: func(s *suite) { // guarantees: K2
		late := letter(5, "late")
		late.Delay = time.Hour
		s.park("c", failedLetter(1, "b"), letter(2, "a"), letter(3, "b"), letter(4, ""), late)
		s.park("other", letter(1, "b"))
		got := s.takeOver("c", 9)
		if len(got.Lines) != 3 || got.Waiting != 5 || got.Next <= 50*time.Minute || got.Next > time.Hour {
			s.Fatalf("%+v", got)
		}
		for i := range got.Lines {
			if first := got.Lines[i].Rows[0].Message[0]; first == 1 {
				s.holds(got.Lines[i], 1, 3)
			} else {
				s.holds(got.Lines[i], first)
			}
		}
		if again := s.takeOver("c", 9); len(again.Lines) != 0 {
			s.Errorf("claimed lines were claimed again: %+v", again)
		}
	}},
	{name: "DueFirst", run: func(s *suite) {
		for i, key := range []string{"a", "b", "c"} {
			it := letter(byte(i), key)
			it.Delay = []time.Duration{3, 1, 2}[i] * time.Microsecond
			s.park("c", it)
		}
		var order []byte
		for range 3 {
			order = append(order, messagesOf(s.only(s.takeOver("c", 1)))...)
		}
		if len(order) != 3 {
			s.Errorf("%v", order)
		}
		if got := s.takeOver("c", 0); len(got.Lines) != 0 {
			s.Errorf("no lines were asked for, %d came", len(got.Lines))
		}
	}},
	{name: "ContentIsKept", run: func(s *suite) { // guarantees: O5
		full, none, empty, odd := letter(1, "k"), letter(2, "k"), letter(3, "k"), letter(4, "k")
		full.Body, full.Attrs = []byte{0, 1, 255}, []byte(`{"type":"Имя"}`)
		none.Body, empty.Body = nil, []byte{}
		odd.ID, odd.Error, odd.Topic, odd.Damaged = "a\x00b\xff", "\x00", `{"NULL",\}`, "unexpected end"
		s.park("c", full, none, empty, odd)
		l := s.only(s.takeOver("c", 1))
		if len(l.Rows) != 4 {
			s.Fatalf("%d of 4 messages", len(l.Rows))
		}
		if r := l.Rows[0]; string(r.Body) != "\x00\x01\xff" || string(r.Attrs) != string(full.Attrs) || r.ID != "id 1" || r.Topic != "orders" || r.Key != "k" || r.Damaged != "" || r.Message != full.Message {
			s.Errorf("%+v", r)
		}
		if l.Rows[1].Body != nil || l.Rows[2].Body == nil || len(l.Rows[2].Body) != 0 {
			s.Errorf("no body and an empty one came back as %v and %v", l.Rows[1].Body, l.Rows[2].Body)
		}
		if r := l.Rows[3]; !strings.HasPrefix(r.ID, "a") || r.Topic != odd.Topic || r.Damaged != odd.Damaged {
			s.Errorf("%+v", r)
		}
	}},
	{name: "TakeBelongsToTheTransaction", run: func(s *suite) { // guarantees: I1
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		l := s.only(s.takeOver("c", 1))
		s.rolledBack(func(tx sqltx.Tx) {
			got, err := s.Inbox.Parking().Take(s.ctx(), tx, []inbox.Ticket{ticket(l, 1), ticket(l, 0)})
			if err != nil || !slices.Equal(got, []int64{l.Rows[0].N, l.Rows[1].N}) { // [ReturningSorted]
				s.Errorf("took %v, %v", got, err)
			}
		})
		s.want([]inbox.Verdict{s.verdict("c", 1)}, inbox.Parked)
		if n := s.done(l, 0); n != 1 {
			s.Errorf("took %d", n)
		}
		if n := s.done(l, 0, 1); n != 1 {
			s.Errorf("a message that was handled was taken again: %d of 1", n)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2)}, inbox.Handled, inbox.Handled)
		s.back(l, 0)
		s.want(s.handle("c", inbox.Record{Message: [16]byte{7}, Key: "k"}), inbox.First)
	}},
	{name: "LineEnds", run: func(s *suite) {
		s.park("c", failedLetter(1, "k"), letter(2, ""))
		for _, l := range s.takeOver("c", 9).Lines {
			s.done(l, 0)
			s.back(l, 0)
		}
		if got := s.takeOver("c", 9); len(got.Lines) != 0 || got.Next >= 0 || got.Waiting != 0 {
			s.Errorf("lines without messages are left: %+v", got)
		}
		// A process that ended after its last message leaves it to the next claim.
		s.park("c", failedLetter(3, "k"))
		s.done(s.only(s.takeOverFor("c", 1, time.Microsecond)), 0)
		if got := s.takeOver("c", 9); len(got.Lines) != 0 || got.Next >= 0 {
			s.Errorf("a line without messages was claimed: %+v", got)
		}
		s.want(s.handle("c", inbox.Record{Message: [16]byte{7}, Key: "k"}), inbox.First)
	}},
	{name: "FailedWaitsAndCounts", run: func(s *suite) { // guarantees: I8
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		for want := 2; want <= 60; want++ { // more attempts than are kept
			l := s.only(s.takeOver("c", 1))
			if l.Attempts != want-1 || l.Suspect || l.Rows[0].Attempts != want-1 {
				s.Fatalf("attempt %d is counted as %d after %d, suspect %t", want, l.Attempts, l.Rows[0].Attempts, l.Suspect)
			}
			s.must(s.fail(l, nil))
		}
		l := s.only(s.takeOver("c", 1))
		s.must(s.fail(l, func(f *inbox.Failed) { f.Delay = 1 << 62 }))
		if got := s.takeOver("c", 1); len(got.Lines) != 0 || got.Next < 99*365*24*time.Hour {
			s.Errorf("a delay of 146 years: %+v", got)
		}
	}},
	{name: "DeadHoldsItsKey", run: func(s *suite) { // guarantees: R6, K2
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		l := s.only(s.takeOver("c", 1))
		s.must(s.fail(l, func(f *inbox.Failed) { f.Dead, f.Reason = true, "attempts" }))
		if got := s.takeOver("c", 1); len(got.Lines) != 0 || got.Next >= 0 || got.Waiting != 2 {
			s.Errorf("behind a dead letter that holds its key: %+v", got)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2)}, inbox.Dead, inbox.Parked)
	}},
	{name: "DeadAndLooseGoesOn", run: func(s *suite) { // guarantees: R6
		s.park("c", failedLetter(1, "k"), letter(2, "k"), failedLetter(3, "alone"), failedLetter(4, ""))
		for _, l := range s.takeOver("c", 9).Lines {
			s.must(s.fail(l, func(f *inbox.Failed) { f.Dead, f.Loose, f.Reason = true, l.Rows[0].Key != "", "attempts" }))
		}
		l := s.only(s.takeOver("c", 9))
		s.holds(l, 2)
		if l.Attempts != 0 {
			s.Errorf("the next message of the key begins after %d attempts", l.Attempts)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 3), s.verdict("c", 4)}, inbox.Dead, inbox.Dead, inbox.Dead)
		s.want(s.handle("c", inbox.Record{Message: [16]byte{7}, Key: "alone"}), inbox.First)
	}},
	{name: "DeadAtOnce", run: func(s *suite) { // guarantees: I10
		loose := deadLetter(2, "loose")
		loose.Loose = true
		s.park("c", deadLetter(1, "held"), loose, deadLetter(3, ""))
		if got := s.takeOver("c", 9); len(got.Lines) != 0 {
			s.Errorf("dead letters were claimed: %+v", got)
		}
		a, b := record(8, 8), record(9, 9)
		a.Key, b.Key = "held", "loose"
		s.want(s.handle("c", a, b), inbox.Behind, inbox.First)
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2), s.verdict("c", 3)}, inbox.Dead, inbox.Dead, inbox.Dead)
		// In a line that is there it waits, and what becomes of it is decided in its turn.
		s.park("c", failedLetter(4, "k"), deadLetter(5, "k"))
		s.want([]inbox.Verdict{s.verdict("c", 5)}, inbox.Parked)
		s.holds(s.only(s.takeOver("c", 9)), 4, 5)
	}},
	{name: "ReturnedCostsNoAttempt", run: func(s *suite) { // guarantees: R2
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		for range 3 {
			l := s.only(s.takeOver("c", 1))
			if l.Attempts != 1 || l.Suspect {
				s.Errorf("%d attempts, suspect %t after a line was given back", l.Attempts, l.Suspect)
			}
			s.back(l, 0)
		}
		l := s.only(s.takeOver("c", 1))
		s.attempt(l, time.Hour)
		begun := holdOf(l)
		begun.Begins = true
		_, err := s.Inbox.Parking().Tend(s.ctx(), nil, 0, []inbox.Return{{Hold: begun}})
		s.must(err)
		if l := s.only(s.takeOver("c", 1)); l.Attempts != 1 {
			s.Errorf("%d attempts after one was begun and given back", l.Attempts)
		} else {
			s.back(l, 0)
		}
		l = s.only(s.takeOver("c", 1))
		s.attempt(l, time.Hour)
		s.done(l, 0)
		_, err = s.Inbox.Parking().Tend(s.ctx(), nil, 0, []inbox.Return{{Hold: inbox.Hold{Line: l.ID, Token: l.Token, Begins: true}}})
		s.must(err)
		l = s.only(s.takeOver("c", 1))
		s.holds(l, 2)
		if l.Attempts != 0 {
			s.Errorf("the second message begins after %d attempts", l.Attempts)
		}
		s.back(l, time.Hour)
		if got := s.takeOver("c", 1); len(got.Lines) != 0 || got.Next < 50*time.Minute {
			s.Errorf("given back for an hour: %+v", got)
		}
	}},
	{name: "CrashOnLastAttempt", run: func(s *suite) { // guarantees: I8
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		for want := 1; want <= 3; want++ {
			l := s.only(s.takeOverFor("c", 1, time.Hour))
			if l.Attempts != want || l.Suspect != (want > 1) {
				s.Errorf("take-over %d: %d attempts, suspect %t", want, l.Attempts, l.Suspect)
			}
			s.attempt(l, 0) // and its process dies with it
		}
		for range 2 { // in hand when its process died, and not begun: another one killed it
			if l := s.only(s.takeOverFor("c", 1, time.Microsecond)); l.Attempts != 4 || !l.Suspect {
				s.Errorf("%d attempts, suspect %t; want 4, true", l.Attempts, l.Suspect)
			}
		}
		l := s.only(s.takeOverFor("c", 1, time.Hour))
		s.attempt(l, time.Hour)
		s.done(l, 0)
		s.must(s.expire(l))
		l = s.only(s.takeOver("c", 1))
		if l.Attempts != 0 || !l.Suspect {
			s.Errorf("the second message was in hand when its process died: %d attempts, suspect %t; want 0, true", l.Attempts, l.Suspect)
		}
	}},
	{name: "TendKeepsAndLoses", run: func(s *suite) { // guarantees: R7
		s.park("c", letter(1, "a"), letter(2, "b"), letter(3, "c"))
		mine := s.takeOverFor("c", 3, time.Microsecond).Lines
		hers := s.only(s.takeOver("c", 1))
		var keep []inbox.Hold
		var want []int64
		for _, l := range slices.Backward(mine) {
			keep = append(keep, holdOf(l))
			if l.ID != hers.ID {
				want = append(want, l.ID)
			}
		}
		slices.Sort(want)
		got, err := s.Inbox.Parking().Tend(s.ctx(), keep, time.Hour, []inbox.Return{{Hold: inbox.Hold{Line: hers.ID, Token: mine[0].Token}}})
		if err != nil || !slices.Equal(got, want) {
			s.Errorf("kept %v, want %v, %v", got, want, err)
		}
		if again := s.takeOver("c", 9); len(again.Lines) != 0 {
			s.Errorf("what was kept, or is somebody else's, was claimed: %+v", again)
		}
		if got, err := s.Inbox.Parking().Tend(s.ctx(), nil, time.Hour, nil); err != nil || len(got) != 0 {
			s.Errorf("nothing kept: %v, %v", got, err)
		}
	}},
	{name: "StaleSettleRefused", run: func(s *suite) { // guarantees: R5
		s.park("c", failedLetter(1, "k"), letter(2, "k"))
		stale := s.only(s.takeOverFor("c", 1, time.Microsecond))
		l := s.only(s.takeOver("c", 1))
		if n := s.done(stale, 0, 1); n != 0 {
			s.Errorf("%d messages were taken by who was taken over", n)
		}
		if err := s.fail(stale, func(f *inbox.Failed) { f.Dead = true }); !errors.Is(err, inbox.ErrNotOurs) {
			s.Errorf("an attempt of who was taken over: %v", err)
		}
		s.back(stale, 0)
		if got := s.takeOver("c", 1); len(got.Lines) != 0 {
			s.Error("who was taken over gave the line back")
		}
		s.done(l, 0)
		if err := s.fail(l, nil); !errors.Is(err, inbox.ErrNotOurs) {
			s.Errorf("an attempt at a message that was handled: %v", err)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2)}, inbox.Handled, inbox.Parked)
	}},
	{name: "AnEarlierOneCameBack", run: func(s *suite) { // guarantees: K2
		s.park("c", failedLetter(1, "k"), letter(2, "k"), letter(3, "k"))
		l := s.only(s.takeOver("c", 1)) // as if 1 was redriven while 2 was the first
		s.must(s.fail(l, func(f *inbox.Failed) { f.N, f.Attempts, f.Dead = l.Rows[1].N, 7, true }))
		s.want([]inbox.Verdict{s.verdict("c", 2)}, inbox.Parked)
		l = s.only(s.takeOver("c", 1))
		s.holds(l, 1, 2, 3)
		if l.Attempts != 1 || l.Rows[1].Attempts != 7 {
			s.Errorf("attempts %d and %d, want 1 and 7", l.Attempts, l.Rows[1].Attempts)
		}
		s.done(l, 0)
		s.must(s.fail(l, func(f *inbox.Failed) { f.N, f.Attempts, f.Dead = l.Rows[1].N, 8, true }))
		s.want([]inbox.Verdict{s.verdict("c", 2), s.verdict("c", 3)}, inbox.Dead, inbox.Parked)
		if got := s.takeOver("c", 1); len(got.Lines) != 0 {
			s.Errorf("its key is held: %+v", got)
		}
	}},
	{name: "LineIsBounded", run: func(s *suite) {
		items := make([]inbox.Item, inbox.MaxLine)
		for i := range items {
			items[i] = letter(byte(i), "k")
			items[i].Message[1], items[i].Enter = byte(i>>8), i%2 == 0
		}
		s.park("c", items...)
		err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) error {
			_, err := s.Inbox.Parking().Park(s.ctx(), tx, "c", []inbox.Item{letter(1, "other"), letter(255, "k")})
			return err
		})
		if !errors.Is(err, inbox.ErrLineFull) || s.Inbox.Passing(err) {
			s.Errorf("one more than may wait: %v", err)
		}
		l := s.only(s.takeOver("c", 9))
		if len(l.Rows) != 100 {
			s.Errorf("%d messages, 100 were asked for", len(l.Rows))
		}
		s.done(l, 0)
		s.back(l, 0)
		one := letter(255, "k")
		one.Message[1] = 255
		if got := s.park("c", one); !got[0] {
			s.Error("one has left, and another may not wait")
		}
	}},
	{name: "PruneKeepsWhatIsParked", run: func(s *suite) { // guarantees: I5
		s.park("c", failedLetter(1, "k"), deadLetter(2, ""))
		s.handle("c", inbox.Record{Message: [16]byte{3}, Digest: [16]byte{3}})
		if n, err := s.Inbox.Prune(s.ctx(), -time.Minute, 100); err != nil || n != 1 {
			s.Errorf("%d records were removed, %v; a handled one may be", n, err)
		}
		s.want([]inbox.Verdict{s.verdict("c", 1), s.verdict("c", 2), s.verdict("c", 3)}, inbox.Parked, inbox.Dead, inbox.First)
	}},
}

// expire lets a claim end at once.
func (s *suite) expire(l inbox.Line) error {
	_, err := s.Inbox.Parking().Tend(s.ctx(), []inbox.Hold{holdOf(l)}, 0, nil)
	return err
}
