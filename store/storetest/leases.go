package storetest

import (
	"errors"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

func (s *suite) beat(class, node string) (nodes, free int) {
	s.Helper()
	nodes, free, err := s.Outbox.Leases().Beat(s.ctx(), class, node, time.Hour, 0)
	s.must(err)
	return nodes, free
}

func (s *suite) wantBeat(class, node string, nodes, free int) {
	s.Helper()
	if n, f := s.beat(class, node); n != nodes || f != free {
		s.Errorf("%d live nodes and %d free partitions, want %d and %d: shares would be unfair, or partitions without an owner", n, f, nodes, free)
	}
}

var leaseCases = []testCase{
	{name: "EveryPartitionOnce", run: func(s *suite) { // guarantees: R4, R5
		a, b := s.node(""), s.node("")
		s.wantBeat("", a, 2, 64)
		first, second, none := s.take("", a, 40, outbox.ToBroker, false), s.take("", b, 40, outbox.ToBroker, false), s.take("", a, 40, outbox.ToBroker, false)
		if len(first) != 40 || len(second) != 24 || len(none) != 0 {
			s.Errorf("of 64 partitions 40 were asked for three times: got %d, %d, %d", len(first), len(second), len(none))
		}
		seen := map[int16]bool{}
		for _, l := range append(first, second...) {
			if seen[l.Partition] || l.Partition < 0 || l.Partition > 63 || l.Suspect != 0 || l.Epoch < 1 {
				s.Errorf("a new lease is %+v (taken before: %t)", l, seen[l.Partition])
			}
			seen[l.Partition] = true
		}
		s.wantBeat("", b, 2, 0)
	}},
	{name: "LiveNodeKeepsItsOwn", run: func(s *suite) {
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToBroker, false)
		if got := s.take("", b, 64, outbox.ToBroker, false); len(got) != 0 {
			s.Errorf("%d partitions of a live node were taken", len(got))
		}
		s.beat("", a)
	}},
	{name: "DeadNodeIsTakenOver", run: func(s *suite) { // guarantees: R5, R7
		a, b := s.node(""), s.node("")
		old := s.take("", a, 64, outbox.ToBroker, false)
		s.die("", a, 0)
		s.wantBeat("", b, 1, 64)
		got := s.take("", b, 64, outbox.ToBroker, false)
		if len(got) != 64 {
			s.Fatalf("%d of 64 partitions of a dead node were taken over", len(got))
		}
		for i := range got {
			if got[i].Epoch <= old[i].Epoch {
				s.Errorf("epoch %d after %d: it must grow at each take-over", got[i].Epoch, old[i].Epoch)
			}
		}
		if _, _, err := s.Outbox.Leases().Beat(s.ctx(), "", a, time.Hour, 0); !errors.Is(err, outbox.ErrFenced) {
			s.Errorf("the heartbeat of a node that was taken over: %v, want ErrFenced", err)
		}
		if _, err := s.Outbox.Leases().Take(s.ctx(), "", a, 64, outbox.ToBroker, false); !errors.Is(err, outbox.ErrFenced) {
			s.Errorf("a node that was taken over takes leases: %v, want ErrFenced", err)
		}
		s.must(s.Outbox.Leases().GiveBack(s.ctx(), "", a, []int16{1}))
		s.must(s.Outbox.Leases().Leave(s.ctx(), "", a))
		s.wantBeat("", b, 1, 0)
	}},
	{name: "LateHeartbeatSaves", run: func(s *suite) {
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToBroker, false)
		s.die("", a, 0)
		s.wantBeat("", a, 2, 0) // nobody had taken over yet
		if got := s.take("", b, 64, outbox.ToBroker, false); len(got) != 0 {
			s.Errorf("%d partitions of a node that lives again were taken", len(got))
		}
	}},
	{name: "GiveBackFrees", run: func(s *suite) {
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToBroker, false)
		s.must(s.Outbox.Leases().GiveBack(s.ctx(), "", a, []int16{3, 9}))
		s.must(s.Outbox.Leases().GiveBack(s.ctx(), "", b, []int16{4})) // not its own
		s.must(s.Outbox.Leases().GiveBack(s.ctx(), "", a, nil))
		got := s.take("", b, 64, outbox.ToBroker, false)
		if len(got) != 2 || got[0].Partition != 3 || got[1].Partition != 9 {
			s.Errorf("partitions 3 and 9 were given back, taken: %v", got)
		}
		s.beat("", a)
	}},
	{name: "LeaveFreesEverything", run: func(s *suite) { // guarantees: R2
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToBroker, false)
		s.must(s.Outbox.Leases().Leave(s.ctx(), "", a))
		if got := s.take("", b, 64, outbox.ToBroker, true); len(got) != 64 || got[0].Suspect != 0 {
			s.Errorf("after a leave %d of 64 partitions are free, the first as %v", len(got), got)
		}
		if _, _, err := s.Outbox.Leases().Beat(s.ctx(), "", a, time.Hour, 0); !errors.Is(err, outbox.ErrFenced) {
			s.Errorf("the heartbeat of a node that left: %v, want ErrFenced", err)
		}
	}},
	{name: "ClassesAreApart", run: func(s *suite) {
		a, b := s.node("a"), s.node("b")
		if x, y := s.take("a", a, 64, outbox.ToBroker, false), s.take("b", b, 64, outbox.ToBroker, false); len(x) != 64 || len(y) != 64 {
			s.Errorf("two classes have 64 partitions each, taken: %d and %d", len(x), len(y))
		}
		s.wantBeat("a", a, 1, 0)
	}},
	{name: "OneClassIsOfOneTable", run: func(s *suite) {
		a, b := s.node("x"), s.node("x")
		s.take("x", a, 10, outbox.ToBroker, false)
		if got, err := s.Outbox.Leases().Take(s.ctx(), "x", b, 10, outbox.ToLocal, false); err == nil {
			s.Errorf("a transport and a consumer of one name share leases (%d taken): half of each one's partitions would have no owner", len(got))
		}
	}},
	{name: "ManyTakeAtOnce", run: func(s *suite) { // guarantees: R5
		var mu sync.Mutex
		var all sync.WaitGroup
		owner := map[int16]string{}
		for range 8 {
			n := s.node("")
			all.Go(func() {
				for {
					got, err := s.Outbox.Leases().Take(s.ctx(), "", n, 5, outbox.ToBroker, true)
					if err != nil {
						s.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, l := range got {
						if owner[l.Partition] != "" {
							s.Errorf("partition %d has two owners", l.Partition)
						}
						owner[l.Partition] = n
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(owner) == 0 {
			s.Error("nobody took a partition")
		}
	}},
	{name: "BadLeaseIsRefused", run: func(s *suite) {
		if err := s.Outbox.Leases().Join(s.ctx(), "", s.node(""), time.Hour); err == nil {
			s.Error("a node's id was used twice: an incarnation would not be fenced from the one before it")
		}
	}},
}

// suspectCases concern rows that a dead node may have begun.
var suspectCases = []testCase{
	{name: "CrashOnLastAttempt", run: func(s *suite) { // guarantees: I8
		all := s.put(outbox.ToLocal, rowsOf(4)...)
		for crash := 1; crash <= 3; crash++ {
			n, next := s.node(""), s.node("")
			s.take("", n, 64, outbox.ToLocal, true)
			s.die("", n, all[2])
			got := s.take("", next, 64, outbox.ToLocal, true)
			if len(got) != 64 || got[0].Suspect != all[2] {
				s.Fatalf("after a death at mark %d: %d leases, the first %+v", all[2], len(got), got[0])
			}
			for i, r := range s.read(outbox.ToLocal, "") {
				want := int16(crash)
				if i == 3 {
					want = 0 // above the mark
				}
				if r.Attempts != want {
					s.Errorf("after %d crashes row %d of 4 has %d attempts, want %d: a message that kills its handler would never end", crash, i+1, r.Attempts, want)
				}
			}
			s.must(s.Outbox.Leases().Leave(s.ctx(), "", next))
		}
	}},
	{name: "NeighboursAreNotCounted", run: func(s *suite) {
		mine, part, class := row("a"), row("b"), row("c")
		mine.Partition, part.Partition, class.Partition, class.Class = 1, 2, 1, "other"
		all := s.put(outbox.ToLocal, mine, part, class)
		n := s.node("")
		if got := s.take("", n, 2, outbox.ToLocal, true); len(got) != 2 { // partitions 0 and 1
			s.Fatal(got)
		}
		s.die("", n, all[2])
		s.take("", s.node(""), 64, outbox.ToLocal, true)
		got := append(s.read(outbox.ToLocal, "")[:2], s.read(outbox.ToLocal, "other")[2])
		if got[0].Attempts != 1 || got[1].Attempts != 0 || got[2].Attempts != 0 {
			s.Errorf("attempts of a row that the dead node held, of another partition's, of another class's: %d, %d, %d; want 1, 0, 0", got[0].Attempts, got[1].Attempts, got[2].Attempts)
		}
	}},
	{name: "OnlyWhereAsked", run: func(s *suite) { // guarantees: R7
		all := s.put(outbox.ToBroker, rowsOf(1)...)
		n := s.node("")
		s.take("", n, 64, outbox.ToBroker, false)
		s.die("", n, all[0])
		if got := s.take("", s.node(""), 64, outbox.ToBroker, false); got[0].Suspect != all[0] {
			s.Errorf("suspect is %d, want %d", got[0].Suspect, all[0])
		}
		if got := s.read(outbox.ToBroker, ""); got[0].Attempts != 0 {
			s.Errorf("a relay's death cost a row %d attempts", got[0].Attempts)
		}
	}},
	{name: "GivenBackIsNoSuspect", run: func(s *suite) { // guarantees: R2
		all := s.put(outbox.ToLocal, rowsOf(1)...)
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToLocal, true)
		_, _, err := s.Outbox.Leases().Beat(s.ctx(), "", a, time.Hour, all[0])
		s.must(err)
		every := make([]int16, 64)
		for p := range every {
			every[p] = int16(p)
		}
		s.must(s.Outbox.Leases().GiveBack(s.ctx(), "", a, every))
		s.die("", a, 0)
		for _, l := range s.take("", b, 64, outbox.ToLocal, true) {
			if l.Suspect != 0 {
				s.Fatalf("a partition that was given back is suspect up to %d", l.Suspect)
			}
		}
		if got := s.read(outbox.ToLocal, ""); got[0].Attempts != 0 {
			s.Error("a planned stop cost an attempt")
		}
	}},
	{name: "MarkIsKeptByABeatWithoutOne", run: func(s *suite) {
		all := s.put(outbox.ToLocal, rowsOf(1)...)
		a := s.node("")
		s.take("", a, 64, outbox.ToLocal, true)
		_, _, err := s.Outbox.Leases().Beat(s.ctx(), "", a, time.Hour, all[0])
		s.must(err)
		s.die("", a, 0)
		if got := s.take("", s.node(""), 64, outbox.ToLocal, true); got[0].Suspect != all[0] {
			s.Errorf("suspect up to %d, want %d", got[0].Suspect, all[0])
		}
	}},
	{name: "SuspicionOutlivesATakerThatOnlyTookSome", run: func(s *suite) { // guarantees: I8
		all := s.put(outbox.ToLocal, rowsOf(1)...)
		a, b := s.node(""), s.node("")
		s.take("", a, 64, outbox.ToLocal, true)
		s.die("", a, all[0])
		some := s.take("", b, 10, outbox.ToLocal, true)
		rest := s.take("", b, 64, outbox.ToLocal, true)
		for _, l := range append(some, rest...) {
			if l.Suspect != all[0] {
				s.Fatalf("partition %d is suspect up to %d, want %d", l.Partition, l.Suspect, all[0])
			}
		}
		if got := s.read(outbox.ToLocal, ""); got[0].Attempts != 1 {
			s.Errorf("one death cost %d attempts", got[0].Attempts)
		}
	}},
}
