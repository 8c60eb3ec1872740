package sqlqueue

import (
	"os"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// guarantees: Q1, Q2, Q3, Q6
func TestRequestStorm(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		calls := 1000
		if os.Getenv("SIXFOLD_TORTURE") == "whole" {
			calls = 100_000
		}
		requesttest.Storm(t, requesttest.StormConfig{Calls: calls, Pace: 40, Slack: time.Minute}, func(tb testing.TB) request.Lane {
			lane, err := sqlqueue.NewRequestLane(w.requests(tb, newLine(w.connect(tb), w.lost)), &sqlqueue.RequestLaneOptions{Poll: 50 * time.Millisecond, Logger: quiet()})
			if err != nil {
				tb.Fatal(err)
			}
			return lane
		})
	})
}
