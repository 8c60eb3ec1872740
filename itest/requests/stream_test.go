package requests

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// pings is a stream without end.
type pings struct {
	sixfold.Returns[iter.Seq2[int, error]] `json:"-"`
	Fail                                   bool
}

func (pings) MessageName() string { return "requests.pings" }

// A thousand streams at once, which end in every way that there is.
//
// guarantees: Q1, Q5
func TestThousandStreamsLeaveNothing(t *testing.T) {
	before := goleak.IgnoreCurrent() // the thread from which other tests started processes
	const streams = 1000
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	responder, err := request.Serve(lane, &request.ServeOptions{MaxConcurrent: streams}, request.OnStream(func(_ context.Context, q pings) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := 0; yield(n, nil); n++ {
				if q.Fail && n == 100 {
					yield(0, request.Fail(request.Unavailable, errors.New("enough")))
					return
				}
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- responder.Run(ctx) }()
	<-responder.Listening()
	client, err := request.NewClient(lane, nil)
	if err != nil {
		t.Fatal(err)
	}
	// read reads a stream in the i-th way, and says what is wrong with its end.
	read := func(i int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var wanted error
		switch i % 4 {
		case 1:
			wanted = request.ErrCancelled
		case 2:
			wanted = &request.Fault{Category: request.Unavailable}
		case 3:
			wanted = request.ErrTimeout
			ctx, cancel = context.WithTimeout(ctx, time.Second)
			defer cancel()
		}
		n, ended := 0, 0
		for _, err := range request.Stream(ctx, client, pings{Fail: i%4 == 2}) {
			switch n++; {
			case err != nil:
				ended++
				if !errors.Is(err, wanted) && !(i%4 == 3 && errors.Is(err, &request.Fault{Category: request.Expired})) {
					return fmt.Errorf("it ended with %w", err)
				}
			case i%4 == 0 && n == 80:
				return nil
			case i%4 == 1 && n == 80:
				cancel()
			case i%4 == 3 && n == 80:
				<-ctx.Done()
			}
		}
		if ended != 1 {
			return fmt.Errorf("it ended %d times", ended)
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			if err := read(i); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if s := client.Stats(); s.Streams != 0 || s.InFlight != 0 {
		t.Errorf("the client counts %+v", s)
	}
	stop()
	if err := errors.Join(<-ran, client.Close(context.Background())); err != nil {
		t.Error(err)
	}
	if s := responder.Stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("the responder counts %+v", s)
	}
	leaks.None(t, before)
}
