package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func claimed(claim string) outbox.Row {
	r := row("key")
	r.Claim = claim
	return r
}

// claim appends in a committed transaction and answers what was refused.
func (s *suite) claim(rows ...outbox.Row) (refused []int) {
	s.Helper()
	s.tx(func(tx sqltx.Tx) (err error) {
		refused, _, err = s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rows, false)
		return err
	})
	return refused
}

var claimCases = []testCase{
	{name: "TakenClaimRefusesItsRowAlone", run: func(s *suite) { // guarantees: O3
		if got := s.claim(claimed("a"), claimed("b")); len(got) != 0 {
			s.Fatalf("new claims: %v refused", got)
		}
		if got := s.claim(row("k"), claimed("b"), claimed("c"), claimed("a")); !slices.Equal(got, []int{1, 3}) {
			s.Errorf("rows 1 and 3 have claims that are taken; refused: %v", got)
		}
		if got := s.read(outbox.ToBroker, ""); len(got) != 4 {
			s.Errorf("4 rows were not refused, %d are there", len(got))
		}
	}},
	{name: "OrderIsKept", run: func(s *suite) {
		rows := []outbox.Row{claimed("z"), row("key"), claimed("m"), claimed("a"), row("key")}
		s.claim(rows...)
		if got := s.read(outbox.ToBroker, ""); !slices.Equal(ids(got), ids(rows)) {
			s.Error("rows with claims were written in another order: messages of one key would be swapped")
		}
	}},
	{name: "SecondInOneCallIsRefused", run: func(s *suite) {
		if got := s.claim(claimed("a"), claimed("a"), row("k"), claimed("a")); !slices.Equal(got, []int{1, 3}) {
			s.Errorf("one claim three times in a call: refused %v, want [1 3]", got)
		}
	}},
	{name: "TransactionStaysUsable", run: func(s *suite) { // guarantees: O3
		s.claim(claimed("a"))
		s.tx(func(tx sqltx.Tx) error {
			refused, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, []outbox.Row{claimed("a")}, true)
			s.must(err)
			if len(refused) != 1 {
				s.Error("a repeat was not refused")
			}
			_, _, err = s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rowsOf(1), false)
			return err
		})
		if got := s.read(outbox.ToBroker, ""); len(got) != 2 {
			s.Errorf("%d rows, want the first one and the one beside the repeat", len(got))
		}
	}},
	{name: "RollbackFreesTheClaim", run: func(s *suite) {
		s.rolledBack(func(tx sqltx.Tx) {
			_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, []outbox.Row{claimed("a")}, false)
			s.must(err)
		})
		if got := s.claim(claimed("a")); len(got) != 0 {
			s.Error("the claim of a rolled back transaction is taken: doing the work again would lose the message")
		}
	}},
	{name: "ClaimEnds", run: func(s *suite) {
		short := claimed("short")
		short.ClaimFor = time.Microsecond
		long := claimed("long")
		long.ClaimFor = time.Hour
		s.claim(short, long, claimed("for ever"))
		if got := s.claim(claimed("short"), claimed("long"), claimed("for ever")); !slices.Equal(got, []int{1, 2}) {
			s.Errorf("a claim of a microsecond, of an hour and for ever, again: refused %v, want [1 2]", got)
		}
	}},
	{name: "LongClaims", run: func(s *suite) {
		a, b := claimed(strings.Repeat("ab", 5000)), claimed(strings.Repeat("ab", 5000)+"c")
		if got := s.claim(a, b); len(got) != 0 {
			s.Errorf("two long claims that differ at the end: %v refused", got)
		}
		if got := s.claim(a); len(got) != 1 {
			s.Error("a long claim was not refused the second time")
		}
	}},
	{name: "TwoTransactionsAtOnce", twoWriters: true, run: func(s *suite) { // guarantees: O3
		for _, commit := range []bool{true, false} {
			first := s.begin()
			claim := map[bool]string{true: "a", false: "b"}[commit]
			_, _, err := s.Outbox.Writer().Append(s.ctx(), first.tx, outbox.ToBroker, []outbox.Row{claimed(claim)}, false)
			s.must(err)
			answered, refused := make(chan struct{}), []int(nil)
			go func() {
				defer close(answered)
				refused = s.claimQuietly(claimed(claim))
			}()
			s.blocked(answered)
			if commit {
				first.commit()
			} else {
				first.rollBack()
			}
			<-answered
			if (len(refused) == 1) != commit {
				s.Errorf("a claim that another transaction held (committed: %t) was refused: %v", commit, refused)
			}
		}
	}},
}

// claimQuietly is claim for another goroutine.
func (s *suite) claimQuietly(rows ...outbox.Row) (refused []int) {
	err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
		refused, _, err = s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rows, false)
		return err
	})
	if err != nil {
		s.Error(err)
	}
	return refused
}
