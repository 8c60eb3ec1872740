package rabbittest

import (
	"os"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q6
func TestRequestStorm(t *testing.T) {
	f := newFixture(t)
	calls := 20_000
	if os.Getenv("SIXFOLD_TORTURE") == "whole" {
		calls = 100_000
	}
	requesttest.Storm(t, requesttest.StormConfig{Calls: calls, Callers: 1000, Pace: 4, Slack: time.Minute}, func(tb testing.TB) request.Lane {
		return f.requestLane(tb, f.url)
	})
}

func (f *fixture) requestLane(tb testing.TB, url string) request.Lane {
	tb.Helper()
	lane, err := f.connect(tb, url, nil).RequestLane(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return lane
}
