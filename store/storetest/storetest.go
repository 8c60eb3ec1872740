// Package storetest says whether a store keeps the contract of outbox.Store and inbox.Store. A third party certifies one
// of its own with
//
//	func TestStore(t *testing.T) { storetest.Run(t, openMine) }
//
// Each sentence of the contract is a case, and each failure says what would go wrong in production.
package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Opened is a store with empty tables of its own, made for one case.
type Opened struct {
	Outbox outbox.Store
	Inbox  inbox.Store
	// Schedule is the scheduler's part. Nil: there is none, and its cases are left out.
	Schedule schedule.Store
	// Saga is the part for sagas. Nil: there is none, and its cases are left out.
	Saga saga.Store
	// DB opens transactions in which the store writes.
	DB sqltx.Runner
	// OneWriter says that the database lets one transaction write at a time, as SQLite does: cases that need two are left
	// out. Such a store answers no writers, since gaps never fill.
	OneWriter bool
	// Keeps says that settled rows are kept for a long time.
	Keeps bool
	// Blocked, where it can be had, blocks until a statement waits for a lock, so that waiting itself is tested. It ends
	// with ctx.
	Blocked func(ctx context.Context) error
}

// Run runs every case as a subtest. open is called once for each and closes what it opens with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for _, group := range []struct {
		name  string
		cases []testCase
	}{{"Writer", writerCases}, {"Claims", claimCases}, {"Queue", queueCases}, {"Gaps", gapCases}, {"Settle", settleCases},
		{"Leases", leaseCases}, {"Suspects", suspectCases}, {"Keeper", keeperCases}, {"Inbox", inboxCases}, {"Attempts", attemptCases},
		{"Parking", parkingCases}, {"ParkingRaces", parkingRaces},
		{"Delayed", delayedCases}, {"Recurring", recurringCases}, {"History", historyCases},
		{"Saga", sagaCases}} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					o := open(t)
					if c.twoWriters && o.OneWriter {
						t.Skip("the database lets one transaction write at a time")
					}
					if c.scheduled && o.Schedule == nil {
						t.Skip("the store has no part for a scheduler")
					}
					if c.sagas && o.Saga == nil {
						t.Skip("the store has no part for sagas")
					}
					c.run(&suite{T: t, Opened: o})
				})
			}
		})
	}
}

type testCase struct {
	name       string
	twoWriters bool
	scheduled  bool // it needs the scheduler's part
	sagas      bool // it needs the part for sagas
	run        func(s *suite)
}

// suite is one case at work.
type suite struct {
	*testing.T
	Opened
}

func (s *suite) ctx() context.Context { return s.Context() }

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

var errRollBack = errors.New("rolled back on purpose")

// tx runs fn in a transaction and commits.
func (s *suite) tx(fn func(tx sqltx.Tx) error) {
	s.Helper()
	s.must(s.DB.InTx(s.ctx(), fn))
}

// rolledBack runs fn in a transaction and rolls back.
func (s *suite) rolledBack(fn func(tx sqltx.Tx)) {
	s.Helper()
	err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) error {
		fn(tx)
		return errRollBack
	})
	if !errors.Is(err, errRollBack) {
		s.Fatal(err)
	}
}

// open is a transaction that stays open beside the case.
type open struct {
	s    *suite
	tx   sqltx.Tx
	end  chan error
	done chan error
	once sync.Once
}

// begin opens a transaction in a goroutine of its own. What is not ended by the case is rolled back after it.
func (s *suite) begin() *open {
	s.Helper()
	o := &open{s: s, end: make(chan error), done: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		o.done <- s.DB.InTx(context.WithoutCancel(s.ctx()), func(tx sqltx.Tx) error {
			o.tx = tx
			close(ready)
			return <-o.end
		})
	}()
	select {
	case <-ready:
	case err := <-o.done:
		s.Fatalf("begin a transaction: %v", err)
	}
	s.Cleanup(func() { o.finish(errRollBack) })
	return o
}

func (o *open) finish(how error) (err error) {
	o.once.Do(func() {
		o.end <- how
		err = <-o.done
	})
	return err
}

func (o *open) commit() {
	o.s.Helper()
	o.s.must(o.finish(nil))
}

func (o *open) rollBack() {
	o.s.Helper()
	if err := o.finish(errRollBack); !errors.Is(err, errRollBack) {
		o.s.Fatal(err)
	}
}

// blocked waits until what runs in another goroutine waits for a lock, or has answered, which is seen by the caller.
func (s *suite) blocked(answered <-chan struct{}) {
	s.Helper()
	if s.Blocked == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx(), time.Minute)
	defer cancel()
	go func() {
		select {
		case <-answered:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.Blocked(ctx)
}

func row(key string) outbox.Row {
	return outbox.Row{Partition: outbox.PartitionOf(key), ID: sixfold.NewID(), Topic: "orders", Key: key, Attrs: []byte(`{"type":"t"}`), Body: []byte(`{}`)}
}

func rowsOf(n int) []outbox.Row {
	rows := make([]outbox.Row, n)
	for i := range rows {
		rows[i] = row("key")
	}
	return rows
}

// put commits rows and answers their seqs.
func (s *suite) put(t outbox.Table, rows ...outbox.Row) []int64 {
	s.Helper()
	before := s.last(t)
	s.tx(func(tx sqltx.Tx) error {
		_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, t, rows, false)
		return err
	})
	got, err := s.Outbox.Queue(t).Read(s.ctx(), before, len(rows)+1, everything(""))
	s.must(err)
	if len(got) != len(rows) {
		s.Fatalf("%d rows were committed and %d can be read", len(rows), len(got))
	}
	return seqs(got)
}

func (s *suite) last(t outbox.Table) int64 {
	s.Helper()
	got := s.read(t, "")
	if len(got) == 0 {
		return 0
	}
	return got[len(got)-1].Seq
}

func (s *suite) read(t outbox.Table, class string) []outbox.Row {
	s.Helper()
	got, err := s.Outbox.Queue(t).Read(s.ctx(), 0, 100_000, everything(class))
	s.must(err)
	return got
}

func everything(class string) outbox.Ownership {
	o := outbox.Ownership{Class: class}
	for p := range o.Partitions {
		o.Partitions[p] = true
	}
	return o
}

func seqs(rows []outbox.Row) []int64 {
	out := make([]int64, len(rows))
	for i := range rows {
		out[i] = rows[i].Seq
	}
	return out
}

func ids(rows []outbox.Row) []string {
	out := make([]string, len(rows))
	for i := range rows {
		out[i] = rows[i].ID
	}
	return out
}

// node joins a class and answers its id.
func (s *suite) node(class string) string {
	s.Helper()
	id := sixfold.NewID()
	s.must(s.Outbox.Leases().Join(s.ctx(), class, id, time.Hour))
	return id
}

// die lets a node's time run out, with mark as the highest seq that it has read.
func (s *suite) die(class, node string, mark int64) {
	s.Helper()
	_, _, err := s.Outbox.Leases().Beat(s.ctx(), class, node, time.Microsecond, mark)
	s.must(err)
}

// take takes over up to n partitions of class; of a node that has just died, at once.
func (s *suite) take(class, node string, n int, t outbox.Table, count bool) []outbox.Lease {
	s.Helper()
	got, err := s.Outbox.Leases().Take(s.ctx(), class, node, n, t, count)
	s.must(err)
	return got
}
