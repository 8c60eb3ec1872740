package request_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
)

// tearing is a lane on which a responder can lose its connection alone.
type tearing struct {
	request.Lane
	mu   sync.Mutex
	torn atomic.Bool // nobody can listen
	ears []*tornEar
}

type tornEar struct {
	request.Ear
	torn atomic.Bool
	lost func(error)
}

func (l *tearing) Listen(ctx context.Context, at []string, in request.Requests) (request.Ear, error) {
	if l.torn.Load() {
		return nil, bus.ErrUnavailable
	}
	ear, err := l.Lane.Listen(ctx, at, in)
	e := &tornEar{Ear: ear, lost: in.Lost}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ears = append(l.ears, e)
	return e, err
}

func (e *tornEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if e.torn.Load() {
		return bus.ErrUnavailable
	}
	return e.Ear.Answer(ctx, asked, reply)
}

// tear loses the last connection, which can be made again after so long.
func (l *tearing) tear(away time.Duration) {
	l.torn.Store(true)
	time.AfterFunc(away, func() { l.torn.Store(false) })
	l.mu.Lock()
	e := l.ears[len(l.ears)-1]
	l.mu.Unlock()
	e.torn.Store(true)
	e.lost(bus.ErrUnavailable)
}

// A responder that has lost its connection in the middle of a stream says so over the next one, wherever its handler was: in its yield, or
// busy with something that looks at its context. After so long that the caller has given up it says nothing.
//
// guarantees: Q1
func TestStreamOfATornResponderIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		busy    bool
		away    time.Duration
		want    error
		at, end time.Duration // when it is told
	}{
		"in its yield":          {false, time.Second, &request.Fault{Category: request.Unavailable}, time.Second, 5 * time.Second},
		"busy":                  {true, time.Second, &request.Fault{Category: request.Unavailable}, time.Second, 5 * time.Second},
		"away for half an hour": {true, 30 * time.Minute, request.ErrLost, 15 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lane := &tearing{Lane: newLane(t)}
				ended := make(chan struct{}, 1)
				r, stop := serve(t, lane, request.ServeOptions{}, request.OnStream(func(ctx context.Context, _ Words) iter.Seq2[string, error] {
					return func(yield func(string, error) bool) {
						defer func() { ended <- struct{}{} }()
						for n := 0; yield("word", nil); n++ {
							if c.busy && n == 2 {
								<-ctx.Done()
								return
							}
						}
					}
				}))
				other, _ := serve(t, lane.Lane, request.ServeOptions{}, request.OnStream(words)) // which hears the caller's credit, and says nothing
				client := newClient(t, lane.Lane, nil)
				var late uint64 // of the streams that were left
				for {           // until it is this one's turn
					next, leave := iter.Pull2(request.Stream(t.Context(), client, Words{Text: "a b c d"}, request.Timeout(time.Hour), request.Window(4)))
					if word, err, _ := next(); err != nil {
						t.Fatal(err)
					} else if word != "word" {
						leave()
						continue
					}
					synctest.Wait()
					late = client.Stats().Late
					begin := time.Now()
					lane.tear(c.away)
					synctest.Wait()
					if len(ended) != 1 {
						t.Error("the handler goes on")
					}
					var end error
					for ends := 0; ; {
						_, err, more := next()
						if !more {
							if ends != 1 {
								t.Errorf("the stream has %d ends", ends)
							}
							break
						}
						if err != nil {
							ends++
							end = err
						}
					}
					leave()
					if took := time.Since(begin); !errors.Is(end, c.want) || took < c.at || took > c.end {
						t.Errorf("it ended with %v after %v", end, took)
					}
					break
				}
				time.Sleep(time.Hour)
				if s := client.Stats(); s.Streams != 0 || s.Late != late {
					t.Errorf("the client counts %+v", s)
				}
				if s := r.Stats(); s.Running != 0 || s.Unsent != 1 || s.Lost != 1 || other.Stats().Running != 0 {
					t.Errorf("the responder counts %+v", s)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
