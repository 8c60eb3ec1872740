package saga

import (
	"testing"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/itest/planting"
)

// Each planted bug is caught by a test, which passes without it.
func TestPlantedBugsAreCaught(t *testing.T) {
	flows := planting.Catcher{Package: "internal/flowplan", Test: "^TestRandomFlows$"}
	planting.Caught(t, planted.OfSagas(), map[planted.Bug]planting.Catcher{
		planted.UndoneForward:     flows,
		planted.DoubtForgotten:    flows,
		planted.PredecessorsTimer: {Package: "saga", Test: "^TestStaleTimerDropped$"},
		planted.EffectsApart:      {Package: "itest/saga", Test: "^TestDeathAtEveryStatement$/^PostgreSQL$"},
		planted.ConflictCounts:    {Package: "saga", Test: "^TestConflictFreshTransaction$"},
	})
}
