// Package requests tests package request where goroutines are counted.
package requests

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// ping is never answered.
type ping struct {
	sixfold.Returns[int] `json:"-"`
}

func (ping) MessageName() string { return "requests.ping" }

// guarantees: Q1, Q5
func TestTenThousandTimeoutsLeaveNothing(t *testing.T) {
	before := goleak.IgnoreCurrent() // the thread from which other tests started processes
	const calls = 10_000
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	ear, err := lane.Listen(t.Context(), []string{"requests.ping"}, request.Requests{Take: func(string, *request.Packet) {}, Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := request.NewClient(lane, &request.ClientOptions{MaxInFlight: calls, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	outcomes := 0
	for range calls {
		wg.Go(func() {
			_, err := request.Send(t.Context(), client, ping{})
			mu.Lock()
			defer mu.Unlock()
			if outcomes++; !errors.Is(err, request.ErrTimeout) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := client.Stats(); outcomes != calls || s.InFlight != 0 {
		t.Errorf("of %d calls %d ended; the client counts %+v", calls, outcomes, s)
	}
	if err := errors.Join(client.Close(context.Background()), ear.Close(context.Background())); err != nil {
		t.Error(err)
	}
	leaks.None(t, before)
}
