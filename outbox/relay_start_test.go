package outbox_test

import (
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// A database that is away when the relay starts is waited for like any other outage. guarantees: R7
func TestRelayWaitsForADatabaseThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.put("k", "1")
		r.db.Fail(func(string) error { return outbox.ErrFakeCut }, nil)
		x := r.start()
		time.Sleep(time.Minute)
		r.db.Fail(nil, nil)
		time.Sleep(time.Minute)
		r.wantBodies("when it is back", "1")
		x.mustStop()
	})
}
