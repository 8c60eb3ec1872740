package schedule

import (
	"testing"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/itest/planting"
)

// Each planted bug is caught by a test, which passes without it.
func TestPlantedBugsAreCaught(t *testing.T) {
	outage := planting.Catcher{Package: "schedule", Test: "^TestOutageOf30DaysFiresAllUpToACap$"}
	planting.Caught(t, planted.OfSchedules(), map[planted.Bug]planting.Catcher{
		planted.TickIDFromClock: outage,
		planted.NextDueFromNow:  outage,
		planted.PromotedApart:   {Package: "itest/schedule", Test: "^TestDeathAtEveryStatement$/^PostgreSQL$"},
	})
}
