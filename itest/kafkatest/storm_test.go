package kafkatest

import (
	"os"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// guarantees: Q1, Q2, Q3, Q6
//
// A session is as long as it is by default here: on a busy machine a member that is thought dead would give records away.
func TestRequestStorm(t *testing.T) {
	f := newFake(t)
	calls := 5000
	if os.Getenv("SIXFOLD_TORTURE") == "whole" {
		calls = 100_000
	}
	requesttest.Storm(t, requesttest.StormConfig{Calls: calls, Pace: 10, Slack: time.Minute}, func(tb testing.TB) request.Lane {
		tr, _ := f.connect(tb, &kafka.Options{Partitions: 4})
		lane, err := tr.RequestLane(nil)
		if err != nil {
			tb.Fatal(err)
		}
		return lane
	})
}
