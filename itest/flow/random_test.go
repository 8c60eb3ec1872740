package flow

import (
	"maps"
	"slices"
	"testing"
	"time"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/internal/flowtest"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/sqltx"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// tally is what became of flows.
type tally struct {
	ends   map[fp.Phase]uint64
	deaths int
	n      uint64
}

// add runs random flows of n seeds on a database, one after the other, while the process dies at every fourth commit.
func (y *tally) add(t *testing.T, from, n uint64, st stores, begin func(w *flowtest.World, seed uint64) *engine) {
	t.Helper()
	sends := int64(0)
	for seed := from; seed < from+n; seed++ {
		w := flowtest.New(t, seed)
		m := begin(w, seed)
		y.ends[w.Run(m)]++
		y.deaths += m.deaths.n
		sends += m.sends
	}
	y.n += n
	// Nothing carries the commands away here, so each has its row, and those of dead transactions have none.
	stats, err := st.outbox.Keeper().Stats(t.Context(), outbox.ToBroker)
	must(t, err)
	if stats.Pending != sends {
		t.Errorf("%d commands are in the outbox, and the journals speak of %d", stats.Pending, sends)
	}
}

// shows fails t where a kind of end is rare.
func (y *tally) shows(t *testing.T, begun time.Time) {
	t.Helper()
	took := time.Since(begun)
	t.Logf("ends: %v; %d deaths; %v a flow", y.ends, y.deaths, took/time.Duration(y.n))
	for _, end := range []fp.Phase{fp.Completed, fp.Compensated, fp.Stuck} {
		if y.ends[end] < y.n/50 || y.ends[end] == 0 {
			t.Errorf("%d of the flows ended as %s: that shows nothing", y.ends[end], end)
		}
	}
}

// flows runs n random flows on a database.
func flows[X any](t *testing.T, n uint64, db sqltx.DB[X], st stores) {
	t.Helper()
	if testing.Short() {
		n = max(n/10, 10)
	}
	y, begun := &tally{ends: map[fp.Phase]uint64{}}, time.Now()
	y.add(t, 0, n, st, func(w *flowtest.World, seed uint64) *engine { return begin(w, seed, db, st, 4) })
	y.shows(t, begun)
}

// Random flows on the store in memory. guarantees: S1, S2, S3, S4
func TestRandomFlowsInMemory(t *testing.T) {
	t.Parallel()                         // to the databases
	n, each := uint64(2000), uint64(200) // a store finds its rows more slowly when there are many
	if testing.Short() {
		n = 400
	}
	y, begun := &tally{ends: map[fp.Phase]uint64{}}, time.Now()
	for from := uint64(0); from < n; from += each {
		kit := sixfoldtest.New()
		st := stores{kit.Outbox, kit.Inbox, kit.Store.Sagas()}
		y.add(t, from, each, st, func(w *flowtest.World, seed uint64) *engine { return begin(w, seed, kit.DB, st, 4) })
	}
	y.shows(t, begun)
}
