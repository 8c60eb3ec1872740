package driver_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// big is something whose memory can be missed.
type big struct{ _ [1 << 10]byte }

// A window with random pushes and takes, of what is there and of what is not, holds what a plain map holds.
func TestWindowHoldsWhatWasPushed(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := new(driver.Window[uint64])
		next := uint64(r.IntN(3)) * (1<<40 - 7)
		w.Start(next)
		open, bytes := map[uint64]int{}, 0
		lowest := next
		weight := []int{3, 100, 40 << 10}[seed%3]
		pushes := 1 + r.IntN(8)
		for step := range 60_000 {
			size := r.IntN(weight)
			full := next-lowest >= driver.WindowSlots || bytes > 0 && bytes+size > driver.WindowBytes
			if w.Full(size) != full {
				t.Fatalf("seed %d, step %d: full %v for %d bytes with %d messages of %d bytes", seed, step, !full, size, len(open), bytes)
			}
			if r.IntN(9) < pushes && !full {
				if n := w.Push(next*3, size); n != next {
					t.Fatalf("seed %d, step %d: number %d, want %d", seed, step, n, next)
				}
				open[next] = size
				bytes += size
				next++
			} else {
				n := lowest + uint64(r.IntN(int(next-lowest)+1)) // or the next, which is not there
				switch r.IntN(20) {
				case 0:
					n -= driver.WindowSlots // in the same slot, and gone
				case 1:
					n += driver.WindowSlots
				case 2, 3, 4, 5, 6, 7:
					n = lowest
				}
				size, there := open[n]
				if v, ok := w.Take(n); ok != there || ok && v != n*3 {
					t.Fatalf("seed %d, step %d: %d taken: %d, %v", seed, step, n, v, ok)
				}
				bytes -= size
				delete(open, n)
			}
			for lowest < next && open[lowest] == 0 && !has(open, lowest) {
				lowest++
			}
			if w.Oldest() != lowest || w.Next() != next || w.Empty() != (len(open) == 0) {
				t.Fatalf("seed %d, step %d: oldest %d, next %d, empty %v; want %d, %d and %d messages", seed, step, w.Oldest(), w.Next(), w.Empty(), lowest, next, len(open))
			}
			if low := next-lowest <= driver.WindowSlots*3/4 && bytes <= driver.WindowBytes*3/4; w.Low() != low {
				t.Fatalf("seed %d, step %d: low %v with %d messages of %d bytes", seed, step, !low, len(open), bytes)
			}
			if step%997 == 0 {
				var all []uint64
				for n, v := range w.All() {
					if *v != n*3 {
						t.Fatalf("seed %d, step %d: %d is %d", seed, step, n, *v)
					}
					all = append(all, n)
				}
				if len(all) != len(open) || !slices.IsSorted(all) {
					t.Fatalf("seed %d, step %d: %d in flight, %d listed", seed, step, len(open), len(all))
				}
			}
		}
	}
}

func has(m map[uint64]int, n uint64) bool { _, ok := m[n]; return ok }

// A window and a queue forget what was taken out of them.
func TestNothingIsKeptThatWasTaken(t *testing.T) {
	var w driver.Window[*big]
	var q driver.Queue[*big]
	var gone []weak.Pointer[big]
	fill := func() *big {
		v := new(big)
		gone = append(gone, weak.Make(v))
		return v
	}
	w.Push(new(big), 1) // these two stay
	q.Push(new(big))
	for n := range uint64(100) {
		w.Push(fill(), 1)
		w.Take(n + 1)
		q.Push(fill())
		if q.Len() > 2 {
			q.Pop()
		}
	}
	for q.Len() > 0 {
		q.Pop()
	}
	for range 40 { // more than it moves at once
		q.Push(fill())
	}
	for range 39 {
		q.Pop()
	}
	q.Push(fill()) // which moves what is left to the front
	q.Pop()
	runtime.GC()
	runtime.GC()
	alive := 0
	for _, p := range gone {
		if p.Value() != nil {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d of %d are still there, want the one in the queue", alive, len(gone))
	}
	runtime.KeepAlive(&w)
	runtime.KeepAlive(&q)
}

// A queue that is never empty does not grow.
func TestQueueDoesNotGrow(t *testing.T) {
	var q driver.Queue[[64]byte]
	q.Push([64]byte{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 200_000 {
		q.Push([64]byte{})
		q.Pop()
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || len(q.All()) != 1 {
		t.Errorf("%d bytes for a queue of %d", n, len(q.All()))
	}
}

// However feeds fill: as much is handed out as there is and was asked for, in turns of a quantum at most, and whoever has something is not
// passed over for longer than the others take.
func TestTurnsAreFair(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		var turns driver.Turns
		feeds, quantum := 1+r.IntN(5), 1+r.IntN(8)
		left := make([]int, feeds)
		waited := make([]int, feeds) // takes without anything since it has something
		for range 50 {
			if r.IntN(20) == 0 && feeds > 1 { // one goes
				feeds--
				left, waited = left[:feeds], make([]int, feeds)
			}
			there := 0
			for i := range left {
				left[i] += r.IntN(30)
				there += left[i]
			}
			n := r.IntN(40)
			got, rest := make([]int, feeds), n
			turns.Take(feeds, n, quantum, func(feed, most int) int {
				if most < 1 || most > rest || feeds > 1 && most > quantum {
					t.Fatalf("seed %d: %d asked of a feed, with %d wanted and a quantum of %d", seed, most, rest, quantum)
				}
				k := min(most, left[feed])
				left[feed] -= k
				got[feed] += k
				rest -= k
				return k
			})
			if given := n - rest; given != min(n, there) {
				t.Fatalf("seed %d: %d handed out, with %d there and %d wanted", seed, given, there, n)
			}
			for i := range got {
				if waited[i]++; got[i] > 0 || left[i] == 0 || n == 0 {
					waited[i] = 0
				}
				if waited[i] >= feeds {
					t.Fatalf("seed %d: feed %d of %d got nothing %d times in a row", seed, i, feeds, waited[i])
				}
			}
		}
	}
}
