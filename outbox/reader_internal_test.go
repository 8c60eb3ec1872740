package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func allOf(class string) *Ownership {
	own := &Ownership{Class: class}
	for p := range own.Partitions {
		own.Partitions[p] = true
	}
	return own
}

func none(int64) bool { return false }

// insert writes a row in tx without committing it.
func insert(t testing.TB, db *FakeDB, tx *FakeTx, key string) int64 {
	t.Helper()
	if _, _, err := db.Writer().Append(t.Context(), tx.Tx(), ToBroker, []Row{{ID: key, Key: key, Partition: PartitionOf(key), Attrs: []byte(`{"type":"t"}`)}}, false); err != nil {
		t.Fatal(err)
	}
	return tx.rows[ToBroker][len(tx.rows[ToBroker])-1].Seq
}

func commit(t testing.TB, tx *FakeTx) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func next(t testing.TB, r *reader, limit int) (seqs []int64) {
	t.Helper()
	rows, err := r.next(t.Context(), limit, allOf(""), none)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		seqs = append(seqs, row.Seq)
	}
	return seqs
}

func same(t testing.TB, what string, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// guarantees: R3 [LateCommitNotSkipped]
func TestReaderFindsALateCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		late, early := db.Begin(), db.Begin()
		insert(t, db, late, "a")
		insert(t, db, early, "b")
		commit(t, early)
		same(t, "while it is open", next(t, r, 10), []int64{2})
		for range 100 { // whatever time passes, and however many checks
			time.Sleep(time.Second)
			same(t, "while it is open", next(t, r, 10), nil)
		}
		commit(t, late)
		same(t, "after its commit", next(t, r, 10), []int64{1})
		time.Sleep(time.Second)
		same(t, "later", next(t, r, 10), nil)
		if r.gaps.open() {
			t.Errorf("gaps %v", r.gaps.missing())
		}
	})
}

// A late row goes before rows that were read with it, and a row that is committed between the read and the look-up does
// not overtake one that was committed before it. guarantees: K1 [LookUpAfterRead]
func TestReaderSortsLateRowsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		late, seen := db.Begin(), db.Begin()
		insert(t, db, late, "k")
		insert(t, db, seen, "x")
		commit(t, seen)
		same(t, "first", next(t, r, 10), []int64{2})
		db.Fail(func(op string) error {
			if op == "read" && late.open() { // whatever was looked up before this read has not seen them
				commit(t, late)
				after := db.Begin() // begun after the late one was committed, and so later in its key
				insert(t, db, after, "k")
				commit(t, after)
			}
			return nil
		}, nil)
		same(t, "second", next(t, r, 10), []int64{1, 3})
	})
}

// What a reader holds in its hands goes out again with the gap that a failing look-up could not look into. guarantees: R1
func TestReaderLosesNothingWhenALookUpFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		late := db.Begin()
		insert(t, db, late, "a")
		for seq := int64(2); seq <= 3; seq++ {
			tx := db.Begin()
			insert(t, db, tx, "b")
			commit(t, tx)
			if seq == 2 {
				same(t, "before", next(t, r, 10), []int64{2}) // and leaves the gap
			}
		}
		for _, op := range []string{"writers", "lookup", "read"} {
			db.Fail(func(o string) error {
				if o == op {
					return ErrFakeCut
				}
				return nil
			}, nil)
			time.Sleep(time.Second)
			if _, err := r.next(t.Context(), 10, allOf(""), none); !errors.Is(err, ErrFakeCut) {
				t.Fatalf("%s: %v", op, err)
			}
		}
		db.Fail(nil, nil)
		commit(t, late)
		same(t, "afterwards", next(t, r, 10), []int64{1, 3})
	})
}

// The gaps that a read leaves are looked up after the next one and not at once, so that a new relay does not walk twice
// over what lies below the first row.
func TestReaderLooksUpGapsOfEarlierReadsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		for range 10 {
			tx := db.Begin()
			insert(t, db, tx, "k")
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		}
		tx := db.Begin()
		insert(t, db, tx, "k")
		commit(t, tx)
		lookUps := 0
		db.Fail(func(op string) error {
			if op == "lookup" {
				lookUps++
			}
			return nil
		}, nil)
		same(t, "first", next(t, r, 10), []int64{11})
		if lookUps != 0 || !r.gaps.open() {
			t.Fatalf("%d look-ups by the first read, gaps %v", lookUps, r.gaps.missing())
		}
		same(t, "second", next(t, r, 10), nil)
		if lookUps != 1 || r.gaps.open() {
			t.Errorf("%d look-ups after the second read, gaps %v", lookUps, r.gaps.missing())
		}
	})
}

// guarantees: R3 [FullLookUpClosesNothing]
func TestReaderRepeatsAFullLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		late, early := db.Begin(), db.Begin()
		const many = lookUpLimit + 10
		rows := make([]Row, many)
		if _, _, err := db.Writer().Append(t.Context(), late.Tx(), ToBroker, rows, false); err != nil {
			t.Fatal(err)
		}
		insert(t, db, early, "b")
		commit(t, early)
		same(t, "first", next(t, r, 10), []int64{many + 1})
		commit(t, late)
		time.Sleep(time.Second)
		got := next(t, r, 10)
		if len(got) != many || got[0] != 1 || got[many-1] != many {
			t.Fatalf("%d rows", len(got))
		}
		if r.gaps.open() {
			t.Errorf("gaps %v", r.gaps.missing())
		}
	})
}

// A row that the sweep shows is no gap any more, so that the look-up does not show it again. guarantees: R1 [SweepLeavesGap]
func TestReaderShowsARowOnceAfterASweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		late, long, early := db.Begin(), db.Begin(), db.Begin()
		insert(t, db, late, "a")
		insert(t, db, long, "z") // keeps the gap open
		insert(t, db, early, "b")
		commit(t, early)
		in := map[int64]bool{}
		hands := func(want ...int64) {
			t.Helper()
			rows, err := r.next(t.Context(), 10, allOf(""), func(seq int64) bool { return in[seq] })
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, row := range rows {
				got, in[row.Seq] = append(got, row.Seq), true
			}
			same(t, "read", got, want)
		}
		hands(3)
		commit(t, late)
		r.rewind(0)
		hands(1)
		time.Sleep(time.Second)
		hands()
		commit(t, long)
		hands(2)
	})
}

// guarantees: R3 [RestoreLowerXid]
func TestReaderSweepFindsRowsOfAResetSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := NewFakeDB()
		r := &reader{queue: db.Queue(ToBroker)}
		db.ResetSequence(ToBroker, 1000)
		tx := db.Begin()
		insert(t, db, tx, "a")
		commit(t, tx)
		same(t, "before", next(t, r, 10), []int64{1000})
		time.Sleep(time.Second)
		same(t, "before", next(t, r, 10), nil)
		db.ResetSequence(ToBroker, 5)
		tx = db.Begin()
		insert(t, db, tx, "b")
		commit(t, tx)
		same(t, "below the cursor", next(t, r, 10), nil)
		r.rewind(0)
		rows, err := r.next(t.Context(), 10, allOf(""), func(seq int64) bool { return seq == 1000 })
		if err != nil || len(rows) != 1 || rows[0].Seq != 5 {
			t.Errorf("%v, %v", rows, err)
		}
	})
}

func TestReaderBoundsTheBytesOfARead(t *testing.T) {
	db := NewFakeDB()
	r := &reader{queue: db.Queue(ToBroker)}
	for range 40 {
		db.Put(ToBroker, Row{Body: make([]byte, 4<<20)})
	}
	if got := next(t, r, 1); len(got) != 1 {
		t.Fatal(got)
	}
	if got := next(t, r, 1000); len(got) != readBytes/(4<<20) {
		t.Errorf("%d rows of 4 MiB in one read", len(got))
	}
	if !r.backlog {
		t.Error("no backlog")
	}
}

// world is a seeded random history: transactions that insert, wait, commit and roll back in any order, and a reader that
// rewinds, gives rows up and settles meanwhile.
type world struct {
	t   *testing.T
	rnd *rand.Rand
	db  *FakeDB
	r   *reader

	open      []*FakeTx
	locks     map[string]*FakeTx // of keys: whoever publishes a key holds its aggregate's lock
	committed map[int64]bool
	order     map[string][]int64 // per key, in the order of commits
	hands     map[int64]bool
	shown     map[string][]int64 // per key, first shown
	times     map[int64]int      // shown in this incarnation and not given up
}

func (w *world) step() {
	switch n := w.rnd.IntN(100); {
	case n < 30:
		tx := w.db.Begin()
		w.open = append(w.open, tx)
		w.write(tx)
	case n < 45 && len(w.open) > 0:
		w.write(w.open[w.rnd.IntN(len(w.open))])
	case n < 70 && len(w.open) > 0:
		w.end(w.rnd.IntN(len(w.open)), w.rnd.IntN(5) > 0)
	case n < 72 && len(w.open) > 0:
		w.open[w.rnd.IntN(len(w.open))].Prepare()
	case n < 92:
		w.read()
	case n < 94:
		w.r.rewind(0) // a sweep
	case n < 96:
		w.giveUp()
	case n < 99:
		time.Sleep(time.Duration(w.rnd.IntN(40)) * time.Millisecond)
	default: // another incarnation, which has nothing in its hands
		w.r.reset()
		clear(w.hands)
		clear(w.times)
	}
}

func (w *world) write(tx *FakeTx) {
	if tx.Prepared {
		return
	}
	for range 1 + w.rnd.IntN(3) {
		key := strconv.Itoa(w.rnd.IntN(6))
		if owner := w.locks[key]; owner != nil && owner != tx {
			continue
		}
		w.locks[key] = tx
		insert(w.t, w.db, tx, key)
	}
}

func (w *world) end(i int, good bool) {
	tx := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	if good {
		commit(w.t, tx)
		for _, r := range tx.rows[ToBroker] {
			w.committed[r.Seq] = true
			w.order[r.Key] = append(w.order[r.Key], r.Seq)
		}
	} else if err := tx.Rollback(); err != nil {
		w.t.Fatal(err)
	}
	for key, owner := range w.locks {
		if owner == tx {
			delete(w.locks, key)
		}
	}
}

// read shows rows and settles some of what is in hands.
func (w *world) read() {
	if w.rnd.IntN(20) == 0 {
		op := []string{"read", "lookup", "writers"}[w.rnd.IntN(3)]
		w.db.Fail(func(o string) error {
			if o == op {
				return ErrFakeCut
			}
			return nil
		}, nil)
		defer w.db.Fail(nil, nil)
	}
	rows, err := w.r.next(w.t.Context(), 1+w.rnd.IntN(8), allOf(""), func(seq int64) bool { return w.hands[seq] })
	if err != nil {
		return
	}
	for i, r := range rows {
		if i > 0 && rows[i-1].Seq >= r.Seq {
			w.t.Fatalf("row %d after %d", r.Seq, rows[i-1].Seq)
		}
		if w.hands[r.Seq] {
			w.t.Fatalf("row %d came while it was in hands", r.Seq)
		}
		if w.times[r.Seq]++; w.times[r.Seq] > 1 {
			w.t.Fatalf("row %d came twice in one incarnation", r.Seq)
		}
		w.hands[r.Seq] = true
		if !slices.Contains(w.shown[r.Key], r.Seq) {
			w.shown[r.Key] = append(w.shown[r.Key], r.Seq)
		}
	}
	for seq := range w.hands {
		if w.rnd.IntN(3) == 0 {
			if _, err := w.db.Queue(ToBroker).Settle(context.Background(), "node", []int64{seq}); err != nil {
				w.t.Fatal(err)
			}
			delete(w.hands, seq)
			delete(w.committed, seq)
		}
	}
}

// giveUp gives rows back, from a random one on, as the relay does after an outage: of the row's key and all that is
// above, nothing stays in hands.
func (w *world) giveUp() {
	if len(w.hands) == 0 {
		return
	}
	var all []int64
	for seq := range w.hands {
		all = append(all, seq)
	}
	slices.Sort(all)
	from := all[w.rnd.IntN(len(all))]
	for _, seq := range all {
		if seq >= from {
			delete(w.hands, seq)
			delete(w.times, seq)
		}
	}
	w.r.rewind(from - 1)
}

// Every committed row comes exactly once per incarnation, and those of one key in the order of their transactions.
// guarantees: R1, R3, K1 [LateCommitNotSkipped] [GapClosedTooEarly] [LookUpAfterRead] [SweepLeavesGap]
func TestReaderRandomHistories(t *testing.T) {
	first, n := uint64(1), uint64(200)
	if s := os.Getenv("SIXFOLD_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
	}
	for seed := first; seed < first+n; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { history(t, seed) })
		})
		if !ok {
			t.Fatalf("repeat with SIXFOLD_SEED=%d", seed)
		}
	}
}

func history(t *testing.T, seed uint64) {
	db := NewFakeDB()
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), db: db, r: &reader{queue: db.Queue(ToBroker)}, locks: map[string]*FakeTx{},
		committed: map[int64]bool{}, order: map[string][]int64{}, hands: map[int64]bool{}, shown: map[string][]int64{}, times: map[int64]int{}}
	if err := db.Leases().Join(t.Context(), "", "node", time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		w.step()
	}
	for len(w.open) > 0 {
		w.end(0, true)
	}
	for range 200 { // without a sweep: gaps and cursor have to do
		time.Sleep(writersEvery)
		w.read()
	}
	if left := db.Left(ToBroker); len(left) > 0 && len(w.hands) != len(left) {
		t.Fatalf("rows %v were never shown, in hands are %d", left, len(w.hands))
	}
	if w.r.gaps.open() {
		t.Errorf("gaps stay open: %v", w.r.gaps.missing())
	}
	for key, want := range w.order {
		if got := w.shown[key]; !slices.Equal(got, want) {
			t.Errorf("key %s was first shown as %v, committed as %v", key, got, want)
		}
	}
}
