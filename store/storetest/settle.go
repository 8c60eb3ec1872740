package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

var settleCases = []testCase{
	{name: "RemovesAndCounts", run: func(s *suite) { // guarantees: R1
		n := s.node("")
		all := s.put(outbox.ToBroker, rowsOf(5)...)
		for i, want := range []int{3, 1, 0} {
			got, err := s.queue().Settle(s.ctx(), n, [][]int64{{all[4], all[0], all[2]}, {all[0], all[1]}, {all[0], all[1] + 1000}}[i])
			if err != nil || got != want {
				s.Errorf("settle number %d: %d, %v; %d were there", i+1, got, err, want)
			}
		}
		if got := seqs(s.read(outbox.ToBroker, "")); !slices.Equal(got, []int64{all[3]}) {
			s.Errorf("left are %v, want %v", got, all[3:4])
		}
		if got, err := s.queue().Settle(s.ctx(), n, nil); err != nil || got != 0 {
			s.Errorf("settling nothing: %d, %v", got, err)
		}
	}},
	{name: "StaleSettleRefused", run: func(s *suite) { // guarantees: R5
		stale, other := s.node(""), s.node("")
		s.take("", stale, 64, outbox.ToBroker, false)
		all := s.put(outbox.ToBroker, rowsOf(2)...)
		s.die("", stale, all[1])
		s.take("", other, 64, outbox.ToBroker, false)
		if n, err := s.queue().Settle(s.ctx(), stale, all); !errors.Is(err, outbox.ErrFenced) || n != 0 {
			s.Errorf("a node that was taken over settled %d rows (%v): after a sequence reset they are rows that nobody sent", n, err)
		}
		if got := s.read(outbox.ToBroker, ""); len(got) != 2 {
			s.Errorf("%d of 2 rows are left", len(got))
		}
		if n, err := s.queue().Settle(s.ctx(), other, all); err != nil || n != 2 {
			s.Errorf("the successor's settle: %d, %v", n, err)
		}
	}},
	{name: "ClaimBelongsToTheTransaction", run: func(s *suite) { // guarantees: I1
		n := s.node("")
		all := s.put(outbox.ToLocal, rowsOf(3)...)
		q := s.Outbox.Queue(outbox.ToLocal)
		s.rolledBack(func(tx sqltx.Tx) {
			got, _, err := q.Claim(s.ctx(), tx, n, all)
			s.must(err)
			if !slices.Equal(got, all) {
				s.Errorf("claimed %v of %v", got, all)
			}
		})
		if got := s.read(outbox.ToLocal, ""); len(got) != 3 {
			s.Fatalf("a rolled back handler left %d of 3 rows: messages without effect", len(got))
		}
		s.tx(func(tx sqltx.Tx) error {
			_, _, err := q.Claim(s.ctx(), tx, n, all[1:2])
			return err
		})
		s.tx(func(tx sqltx.Tx) error {
			got, _, err := q.Claim(s.ctx(), tx, n, []int64{all[2], all[1], all[0]})
			if !slices.Equal(got, []int64{all[0], all[2]}) {
				s.Errorf("claimed %v; a row that was handled before must not be among them: its effect would come twice", got)
			}
			return err
		})
	}},
	{name: "ReturningSorted", run: func(s *suite) {
		n := s.node("")
		all := s.put(outbox.ToLocal, rowsOf(300)...)
		mixed := slices.Clone(all)
		for i := range mixed { // 7 is prime to 300
			mixed[i] = all[i*7%len(all)]
		}
		s.tx(func(tx sqltx.Tx) error {
			got, _, err := s.Outbox.Queue(outbox.ToLocal).Claim(s.ctx(), tx, n, mixed)
			if !slices.Equal(got, all) {
				s.Error("claimed seqs are not in ascending order: handlers of one key would run in another")
			}
			return err
		})
	}},
	{name: "StaleClaimRefused", run: func(s *suite) { // guarantees: R5
		stale, other := s.node("c"), s.node("c")
		all := s.put(outbox.ToLocal, rowsOf(1)...)
		s.take("c", stale, 64, outbox.ToLocal, false)
		s.die("c", stale, 0)
		s.take("c", other, 64, outbox.ToLocal, false)
		s.tx(func(tx sqltx.Tx) error {
			got, _, err := s.Outbox.Queue(outbox.ToLocal).Claim(s.ctx(), tx, stale, all)
			if !errors.Is(err, outbox.ErrFenced) || len(got) != 0 {
				s.Errorf("a node that was taken over claimed %v, %v", got, err)
			}
			return nil
		})
		s.tx(func(tx sqltx.Tx) error {
			got, _, err := s.Outbox.Queue(outbox.ToLocal).Claim(s.ctx(), tx, other, []int64{all[0] + 1000})
			if len(got) != 0 {
				s.Errorf("claimed %v of nothing", got)
			}
			return err
		})
	}},
	{name: "BuriedOnce", run: func(s *suite) { // guarantees: R1, R6
		n := s.node("")
		all := s.put(outbox.ToBroker, rowsOf(3)...)
		dead := func(seqs ...int64) (rows []outbox.DeadRow) {
			for _, seq := range seqs {
				rows = append(rows, outbox.DeadRow{Seq: seq, ID: "id", Type: "t", Source: "shop", Reason: "unroutable", Error: "no queue", Node: "host/1", Attempts: 5})
			}
			return rows
		}
		if got, err := s.queue().Bury(s.ctx(), sixfold.NewID(), dead(all[0])); !errors.Is(err, outbox.ErrFenced) || got != 0 {
			s.Errorf("a node that is gone buried %d, %v", got, err)
		}
		for i, want := range []int{2, 0, 0} {
			if got, err := s.queue().Bury(s.ctx(), n, [][]outbox.DeadRow{dead(all[2], all[0]), dead(all[0]), nil}[i]); err != nil || got != want {
				s.Errorf("burial %d: %d, %v; %d were there", i+1, got, err, want)
			}
		}
		if got := seqs(s.read(outbox.ToBroker, "")); !slices.Equal(got, all[1:2]) {
			s.Errorf("left are %v, want %v", got, all[1:2])
		}
		if got := s.takeOver("", 9); len(got.Lines) != 0 || got.Next >= 0 {
			s.Errorf("a dead row of a relay waits for a consumer: %+v", got)
		}
		if _, err := s.Outbox.Queue(outbox.ToLocal).Bury(s.ctx(), n, dead(1)); err == nil {
			s.Error("a row for a local consumer was buried by a relay")
		}
	}},
	{name: "TwoClaimsOfOneRow", twoWriters: true, run: func(s *suite) { // guarantees: I1
		n := s.node("")
		q := s.Outbox.Queue(outbox.ToLocal)
		for _, commit := range []bool{true, false} {
			all := s.put(outbox.ToLocal, row("k"))
			first := s.begin()
			_, _, err := q.Claim(s.ctx(), first.tx, n, all)
			s.must(err)
			answered, second := make(chan struct{}), []int64(nil)
			go func() {
				defer close(answered)
				err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
					second, _, err = q.Claim(s.ctx(), tx, n, all)
					return err
				})
				if err != nil {
					s.Error(err)
				}
			}()
			s.blocked(answered)
			if commit {
				first.commit()
			} else {
				first.rollBack()
			}
			<-answered
			if (len(second) == 0) != commit {
				s.Errorf("a row that another transaction claimed (committed: %t) was claimed again: %v", commit, second)
			}
		}
	}},
	{name: "HeartbeatAndTakeOverDuringAClaim", twoWriters: true, run: func(s *suite) { // guarantees: R7
		n, other := s.node("c"), s.node("c")
		s.take("c", n, 64, outbox.ToLocal, false)
		r := row("k")
		r.Class = "c"
		all := s.put(outbox.ToLocal, r)
		handler := s.begin()
		_, _, err := s.Outbox.Queue(outbox.ToLocal).Claim(s.ctx(), handler.tx, n, all)
		s.must(err)
		ctx, cancel := context.WithTimeout(s.ctx(), time.Minute)
		defer cancel()
		if _, _, err := s.Outbox.Leases().Beat(ctx, "c", n, time.Microsecond, all[0]); err != nil {
			s.Fatalf("the heartbeat beside a handler's open transaction: %v; a long handler would lose its lease", err)
		}
		got, err := s.Outbox.Leases().Take(ctx, "c", other, 64, outbox.ToLocal, true)
		if err != nil || len(got) != 64 {
			s.Errorf("%d of 64 partitions of a dead node were taken over beside its open transaction, %v; the connection of a dead host may stay open for hours", len(got), err)
		}
	}},
}
