package request_test

import (
	"testing"
	"testing/synctest"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q6
//
// In a bubble: the time of calls costs nothing and is held to exactly. A goroutine or a slot that is left fails it as well.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		requesttest.Storm(t, requesttest.StormConfig{Calls: 100_000, Exact: true}, func(testing.TB) request.Lane { return lane })
	})
}
