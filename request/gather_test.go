package request_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// gatherers are responders at five destinations: two that answer, one that fails, one that never answers, one where nobody is.
func gatherers(t *testing.T, lane request.Lane) (to []string, ended chan string) {
	ended = make(chan string, 4)
	at := func(destination string, h func(ctx context.Context, q Length) (int, error)) {
		serve(t, lane, request.ServeOptions{}, request.On(h).At(destination))
	}
	at("north", func(ctx context.Context, q Length) (int, error) {
		time.Sleep(10 * time.Millisecond) // all others are asked by then
		return len(q.Text), nil
	})
	at("south", func(ctx context.Context, q Length) (int, error) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			ended <- "south"
		}
		return len(q.Text) + 1, nil
	})
	at("east", func(context.Context, Length) (int, error) { return 0, errors.New("a bug") })
	at("west", func(ctx context.Context, _ Length) (int, error) {
		<-ctx.Done()
		ended <- "west"
		return 0, ctx.Err()
	})
	return []string{"north", "south", "east", "west", "nowhere", "north"}, ended
}

// Each destination has one outcome, as it comes, and all are there at the deadline. guarantees: Q1
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		to, _ := gatherers(t, lane)
		client := newClient(t, lane, nil)
		begun := time.Now()
		outcome := map[string]request.Answered[int]{}
		var order []string
		for a := range request.Gather(t.Context(), client, Length{Text: "four"}, to, request.Timeout(3*time.Second)) {
			if _, twice := outcome[a.To]; twice {
				t.Errorf("%s has two outcomes", a.To)
			}
			outcome[a.To] = a
			order = append(order, a.To)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 3100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		var fault *request.Fault
		switch {
		case len(outcome) != 5 || !slices.Equal(order[3:], []string{"south", "west"}):
			t.Errorf("outcomes of %v", order)
		case outcome["north"].Result != 4 || outcome["north"].Err != nil || outcome["south"].Result != 5 || outcome["south"].Took != time.Second:
			t.Errorf("answers %+v and %+v", outcome["north"], outcome["south"])
		case !errors.As(outcome["east"].Err, &fault) || outcome["west"].Err == nil || !errors.Is(outcome["nowhere"].Err, request.ErrNoResponder):
			t.Errorf("failures %v, %v and %v", outcome["east"].Err, outcome["west"].Err, outcome["nowhere"].Err)
		}
	})
}

// Each call has an id of its own, whatever the options say, and the options stay the caller's.
func TestGatherAsksEachByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		var mu sync.Mutex
		ids := map[string]string{}
		var to []string
		for i := range 20 {
			name := fmt.Sprint("place-", i)
			to = append(to, name)
			serve(t, lane, request.ServeOptions{}, request.On(func(ctx context.Context, q Length) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				ids[sixfold.InfoFrom(ctx).Envelope.ID] = name
				return len(name), nil
			}).At(name))
		}
		client := newClient(t, lane, nil)
		opts := append(make([]request.Option, 0, 8), request.ID(sixfold.NewID()), request.To("elsewhere"), request.Timeout(time.Second))
		for a := range request.Gather(t.Context(), client, Length{}, to, opts...) {
			if a.Err != nil || a.Result != len(a.To) {
				t.Errorf("%+v", a)
			}
		}
		if len(ids) != len(to) {
			t.Errorf("%d ids for %d destinations", len(ids), len(to))
		}
		for _, rest := range opts[3:cap(opts)] {
			if rest != nil {
				t.Error("the caller's array was written to")
			}
		}
		for a := range request.Gather(t.Context(), client, Length{}, to[:3]) {
			if a.Err != nil {
				t.Error(a.Err)
			}
			break
		}
		if n := client.Stats().InFlight; n != 0 {
			t.Errorf("%d calls are open after the loop", n)
		}
	})
}

// Who has enough leaves the loop: the other responders' contexts end.
func TestGatherUntilEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		to, ended := gatherers(t, lane)
		client := newClient(t, lane, nil)
		begun := time.Now()
		for a := range request.Gather(t.Context(), client, Length{Text: "four"}, to, request.Timeout(time.Minute)) {
			if a.Err == nil {
				break
			}
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("leaving took %v", took)
		}
		if got := []string{<-ended, <-ended}; !slices.Contains(got, "south") || !slices.Contains(got, "west") || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("ended: %v after %v", got, time.Since(begun))
		}
		for a := range request.Gather[Length](t.Context(), client, Length{}, nil) {
			if !errors.Is(a.Err, sixfold.ErrInvalid) || !strings.Contains(a.Err.Error(), "no destination") {
				t.Errorf("of nobody: %+v", a)
			}
		}
	})
}
