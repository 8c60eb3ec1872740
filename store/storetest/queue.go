package storetest

import (
	"slices"

	"github.com/sixfold-go/sixfold/outbox"
)

func (s *suite) queue() outbox.Queue { return s.Outbox.Queue(outbox.ToBroker) }

func (s *suite) lookUp(limit int, missing ...outbox.Range) []outbox.Row {
	s.Helper()
	got, err := s.queue().LookUp(s.ctx(), missing, limit, everything(""))
	s.must(err)
	return got
}

var queueCases = []testCase{
	{name: "ReadsFromACursorUpToALimit", run: func(s *suite) {
		all := s.put(outbox.ToBroker, rowsOf(10)...)
		got, err := s.queue().Read(s.ctx(), all[3], 4, everything(""))
		s.must(err)
		if !slices.Equal(seqs(got), all[4:8]) {
			s.Errorf("4 rows above the fourth are %v, got %v", all[4:8], seqs(got))
		}
		got, err = s.queue().Read(s.ctx(), all[9], 4, everything(""))
		s.must(err)
		if len(got) != 0 {
			s.Errorf("%d rows above the last", len(got))
		}
	}},
	{name: "OthersRowsAreNumbersOnly", run: func(s *suite) {
		mine, part, class := row("k"), row("k"), row("k")
		mine.Partition, part.Partition, class.Partition, class.Class = 63, 5, 63, "other"
		all := s.put(outbox.ToBroker, mine, part, class)
		own := outbox.Ownership{}
		own.Partitions[63] = true
		read, err := s.queue().Read(s.ctx(), 0, 10, own)
		s.must(err)
		found, err := s.queue().LookUp(s.ctx(), []outbox.Range{{From: all[0], To: all[2]}}, 10, own)
		s.must(err)
		if found == nil && s.OneWriter {
			found = read
		}
		for _, got := range [][]outbox.Row{read, found} {
			if !slices.Equal(seqs(got), all) {
				s.Fatalf("%d rows of 3: numbers of others are needed to know the gaps", len(got))
			}
			if got[0].Foreign || got[0].ID != mine.ID {
				s.Error("an own row came without content")
			}
			for _, r := range got[1:] {
				if !r.Foreign || r.Body != nil || r.Attrs != nil || r.ID != "" || r.Key != "" || r.Topic != "" {
					s.Errorf("somebody else's row came as %q (foreign: %t): it would be sent twice", r.ID, r.Foreign)
				}
			}
		}
	}},
	{name: "TablesAreApart", run: func(s *suite) {
		s.put(outbox.ToBroker, rowsOf(2)...)
		s.put(outbox.ToLocal, rowsOf(3)...)
		if b, l := len(s.read(outbox.ToBroker, "")), len(s.read(outbox.ToLocal, "")); b != 2 || l != 3 {
			s.Errorf("2 rows for a broker and 3 for consumers are read as %d and %d", b, l)
		}
	}},
	{name: "ClassIsAnswered", run: func(s *suite) {
		r := row("k")
		r.Class = "nats"
		s.put(outbox.ToBroker, r)
		if got := s.read(outbox.ToBroker, "nats"); len(got) != 1 || got[0].Class != "nats" {
			s.Errorf("a row of class nats came back as %v", got)
		}
	}},
	{name: "BellsAreOnePerTable", run: func(s *suite) {
		b, l := s.Outbox.Bell(outbox.ToBroker), s.Outbox.Bell(outbox.ToLocal)
		if b == nil || l == nil || b == l || b != s.Outbox.Bell(outbox.ToBroker) {
			s.Error("a table's bell must always be the same one: a publisher rings one, a relay listens to another, and only the poll is left")
		}
	}},
	{name: "IdsNotReusedAfterDrain", run: func(s *suite) {
		n := s.node("")
		all := s.put(outbox.ToBroker, rowsOf(3)...)
		_, err := s.queue().Settle(s.ctx(), n, all)
		s.must(err)
		if again := s.put(outbox.ToBroker, row("k")); again[0] <= all[2] {
			s.Errorf("after the rows up to %d were drained, a new one got %d: a cursor would skip it", all[2], again[0])
		}
	}},
}

// gapCases concern rows that commit after rows with a higher seq.
var gapCases = []testCase{
	{name: "LateCommitNotSkipped", twoWriters: true, run: func(s *suite) { // guarantees: R3
		late := s.begin()
		before, err := s.queue().Writers(s.ctx())
		s.must(err)
		if before == nil {
			s.Skip("gaps never fill here")
		}
		_, _, err = s.Outbox.Writer().Append(s.ctx(), late.tx, outbox.ToBroker, rowsOf(1), false)
		s.must(err)
		seen := s.put(outbox.ToBroker, row("k"))
		gap := outbox.Range{From: 1, To: seen[0] - 1}

		open, err := s.queue().Writers(s.ctx())
		s.must(err)
		if len(open) == 0 {
			s.Fatal("a transaction that wrote is open, and no writer is named: its gap would be closed, its row lost")
		}
		if got := s.lookUp(10, gap); len(got) != 0 {
			s.Fatalf("%d rows of an open transaction were found", len(got))
		}
		late.commit()
		after, err := s.queue().Writers(s.ctx())
		s.must(err)
		for _, w := range open {
			if slices.Contains(after, w) && w[0] != '-' {
				s.Errorf("writer %q is still named after its transaction ended: its gap would never close", w)
			}
		}
		if got := s.lookUp(10, gap); len(got) != 1 {
			s.Errorf("a row that committed late is found %d times", len(got))
		}
	}},
	{name: "RollbackLeavesNoWriter", twoWriters: true, run: func(s *suite) {
		late := s.begin()
		_, _, err := s.Outbox.Writer().Append(s.ctx(), late.tx, outbox.ToBroker, rowsOf(1), false)
		s.must(err)
		open, err := s.queue().Writers(s.ctx())
		s.must(err)
		late.rollBack()
		after, err := s.queue().Writers(s.ctx())
		s.must(err)
		for _, w := range open {
			if slices.Contains(after, w) && w[0] != '-' {
				s.Errorf("writer %q is still named after its transaction was rolled back", w)
			}
		}
	}},
	{name: "OtherTablesWriterIsNone", twoWriters: true, run: func(s *suite) { // guarantees: R8
		o := s.begin()
		_, _, err := s.Outbox.Writer().Append(s.ctx(), o.tx, outbox.ToLocal, rowsOf(1), false)
		s.must(err)
		if open, err := s.queue().Writers(s.ctx()); err != nil || len(open) != 0 {
			s.Errorf("a transaction that wrote to the other table is named as a writer: %v, %v; somebody else's long transaction would hold gaps open", open, err)
		}
	}},
	{name: "LooksUpSinglesAndRanges", run: func(s *suite) {
		all := s.put(outbox.ToBroker, rowsOf(20)...)
		if w, err := s.queue().Writers(s.ctx()); err == nil && w == nil {
			s.Skip("gaps never fill here")
		}
		for _, wide := range []int64{0, 1_000_000} {
			got := s.lookUp(100, outbox.Range{From: all[2], To: all[2]}, outbox.Range{From: all[5], To: all[7]}, outbox.Range{From: all[18], To: all[19] + wide})
			want := []int64{all[2], all[5], all[6], all[7], all[18], all[19]}
			if !slices.Equal(seqs(got), want) {
				s.Errorf("missing were %v, found %v", want, seqs(got))
			}
		}
		if got := s.lookUp(10); len(got) != 0 {
			s.Errorf("nothing was missing and %d rows found", len(got))
		}
		if got := s.lookUp(10, outbox.Range{From: all[19] + 1, To: 1<<63 - 1}); len(got) != 0 {
			s.Errorf("%d rows found above the last", len(got))
		}
	}},
	{name: "FullLookUpClosesNothing", run: func(s *suite) { // guarantees: R3
		all := s.put(outbox.ToBroker, rowsOf(30)...)
		if w, err := s.queue().Writers(s.ctx()); err == nil && w == nil {
			s.Skip("gaps never fill here")
		}
		for _, wide := range []int64{0, 1_000_000} {
			got := s.lookUp(7, outbox.Range{From: all[0], To: all[9]}, outbox.Range{From: all[10], To: all[29] + wide})
			if !slices.Equal(seqs(got), all[:7]) {
				s.Errorf("a full look-up must answer the lowest, so that what lies above its last row stays open; got %v of %v", seqs(got), all)
			}
		}
	}},
}
