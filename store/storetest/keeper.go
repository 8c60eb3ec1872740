package storetest

import (
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

var keeperCases = []testCase{
	{name: "FreshTablesPassTheCheck", run: func(s *suite) {
		if _, err := s.Outbox.Keeper().Check(s.ctx()); err != nil {
			s.Errorf("new tables are refused: %v", err)
		}
	}},
	{name: "StatsOfAnEmptyTable", run: func(s *suite) {
		got, err := s.Outbox.Keeper().Stats(s.ctx(), outbox.ToBroker)
		if err != nil || got.Pending != 0 || got.Oldest != 0 || len(got.Classes) != 0 {
			s.Errorf("%+v, %v", got, err)
		}
	}},
	{name: "StatsSayWhatWaitsAndForWhom", run: func(s *suite) {
		a, b := row("k"), row("k")
		a.Partition, b.Partition, b.Class = 7, 7, "nobody"
		s.put(outbox.ToBroker, a, a, b)
		n := s.node("")
		leases := s.take("", n, 8, outbox.ToBroker, false)
		st, err := s.Outbox.Keeper().Stats(s.ctx(), outbox.ToBroker)
		s.must(err)
		if st.Pending != 3 || len(st.Classes) != 2 {
			s.Fatalf("3 rows of 2 classes: %+v", st)
		}
		own, none := st.Classes[0], st.Classes[1]
		if own.Class != "" || own.Pending != 2 || own.Nodes != 1 || !own.Consumed || len(own.Partitions) != 8 {
			s.Errorf("the class with a relay: %+v", own)
		}
		p := own.Partitions[7]
		if p.Partition != 7 || p.Pending != 2 || p.Owner != n || p.Epoch != leases[7].Epoch || p.Oldest < 0 || p.Oldest > time.Hour {
			s.Errorf("partition 7: %+v", p)
		}
		if none.Class != "nobody" || none.Pending != 1 || none.Nodes != 0 || none.Consumed {
			s.Errorf("the class that nobody consumes: %+v", none)
		}
		if st, err := s.Outbox.Keeper().Stats(s.ctx(), outbox.ToLocal); err != nil || st.Pending != 0 || len(st.Classes) != 0 {
			s.Errorf("the other table: %+v, %v", st, err)
		}
	}},
	{name: "DeadOwnerIsNone", run: func(s *suite) {
		n := s.node("")
		s.take("", n, 64, outbox.ToBroker, false)
		s.put(outbox.ToBroker, row("k"))
		s.die("", n, 0)
		st, err := s.Outbox.Keeper().Stats(s.ctx(), outbox.ToBroker)
		s.must(err)
		if len(st.Classes) != 1 || st.Classes[0].Consumed || st.Classes[0].Nodes != 0 {
			s.Errorf("a class whose only node is dead looks consumed: %+v", st)
		}
	}},
	{name: "PurgeIsBounded", run: func(s *suite) {
		for _, c := range []string{"a", "b", "c", "d", "e"} {
			r := claimed(c)
			r.ClaimFor = time.Microsecond
			s.claim(r)
		}
		long := claimed("long")
		long.ClaimFor = time.Hour
		s.claim(long, claimed("for ever"))
		for i, want := range []int{3, 2, 0} {
			if got, err := s.Outbox.Keeper().Purge(s.ctx(), 3); err != nil || got != want {
				s.Errorf("purge number %d of 3 at most: %d, %v; want %d", i+1, got, err, want)
			}
		}
		if got := s.claim(claimed("long"), claimed("for ever")); len(got) != 2 {
			s.Error("a purge removed claims that have not ended")
		}
	}},
	{name: "PurgeKeepsWhatIsToBeKept", run: func(s *suite) {
		if !s.Keeps {
			s.Skip("the store does not keep delivered rows")
		}
		n := s.node("")
		all := s.put(outbox.ToBroker, rowsOf(3)...)
		if got, err := s.queue().Settle(s.ctx(), n, all); err != nil || got != 3 {
			s.Errorf("settle: %d, %v", got, err)
		}
		if got, err := s.Outbox.Keeper().Purge(s.ctx(), 100); err != nil || got != 0 {
			s.Errorf("%d delivered rows were purged before their time, %v", got, err)
		}
	}},
}
