package requests

import (
	"testing"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/itest/planting"
)

// Each planted bug is caught by a test, which passes without it.
func TestPlantedBugsAreCaught(t *testing.T) {
	planting.Caught(t, planted.OfRequests(), map[planted.Bug]planting.Catcher{
		planted.SlotFreed:         {Package: "transport/memory", Test: "^TestRequestLane$/^Reply$/^FirstValidWins$"},
		planted.DeadlineRestarted: {Package: "request", Test: "^TestConnectingIsUnderTheDeadline$"},
		planted.GoneCallerServed:  {Package: "request", Test: "^TestStorm$"},
		planted.CreditIgnored:     {Package: "transport/memory", Test: "^TestRequestLane$/^Stream$/^BackPressure$"},
		planted.EndUncounted:      {Package: "transport/memory", Test: "^TestRequestLane$/^Stream$/^Gap$"},
		planted.GapUnnoticed:      {Package: "transport/memory", Test: "^TestRequestLane$/^Stream$/^Gap$"},
		planted.LeavingUnsaid:     {Package: "transport/memory", Test: "^TestRequestLane$/^Stream$/^Left$"},
	})
}
