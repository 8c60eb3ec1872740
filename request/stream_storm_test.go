package request_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// Numbers is a stream of the numbers from 0 to Most-1.
type Numbers struct {
	sixfold.Returns[iter.Seq2[int, error]] `json:"-"`
	Most                                   int
}

func (Numbers) MessageName() string { return "numbers" }

// gale is a lane that drops, doubles and repeats what streams are made of. What it lets through keeps its order, but for credit.
type gale struct {
	request.Lane

	mu       sync.Mutex
	r        *rand.Rand
	items    bool            // items may be lost, too
	harmed   map[string]bool // ids of streams of which an item, or the end, was dropped
	withheld int             // credit that was dropped
	inARow   map[string]int  // by the id of its stream
}

func (g *gale) one(in int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.r.IntN(in) == 0
}

func (g *gale) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	port, err := g.Lane.Open(ctx, in)
	return galePort{port, g}, err
}

func (g *gale) Listen(ctx context.Context, at []string, in request.Requests) (request.Ear, error) {
	ear, err := g.Lane.Listen(ctx, at, in)
	return galeEar{ear, g}, err
}

type galePort struct {
	request.Port
	g *gale
}

func (p galePort) Ask(ctx context.Context, to string, asked *request.Packet) error {
	if strings.HasPrefix(asked.Protocol, "credit/") {
		if p.withhold(asked.Request) {
			return nil
		}
		if p.g.one(3) { // late, so that a later one overtakes it
			late := asked.Clone()
			time.AfterFunc(time.Second, func() { _ = p.Port.Ask(context.Background(), to, late) })
			return nil
		}
	}
	return p.Port.Ask(ctx, to, asked)
}

// withhold drops a third of the credit, but not for so long that the responder has to take the caller for dead.
func (p galePort) withhold(id string) bool {
	drop := p.g.one(3)
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if !drop || p.g.inARow[id] == 2 {
		p.g.inARow[id] = 0
		return false
	}
	p.g.inARow[id]++
	p.g.withheld++
	return true
}

type galeEar struct {
	request.Ear
	g *gale
}

func (e galeEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if e.g.items && e.g.one(300) && !strings.HasPrefix(reply.Protocol, "alive/") {
		e.g.mu.Lock()
		e.g.harmed[asked.Request] = true
		e.g.mu.Unlock()
		return nil
	}
	if err := e.Ear.Answer(ctx, asked, reply); err != nil {
		return err
	}
	if e.g.one(5) {
		_ = e.Ear.Answer(ctx, asked, reply)
	}
	return nil
}

// Whatever is dropped and doubled: each stream has one end, what came is in order, and one that ends well is whole. Credit that is lost is
// made good, so that streams whose items all come end well.
//
// guarantees: Q1, Q2, Q5
func TestStreamStorm(t *testing.T) {
	for _, items := range []bool{false, true} {
		t.Run(fmt.Sprint("items are lost: ", items), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				const streams = 100
				lane := &gale{Lane: newLane(t), r: rand.New(rand.NewPCG(seed, 1)), items: items, harmed: map[string]bool{}, inARow: map[string]int{}}
				r, _ := serve(t, lane, request.ServeOptions{}, request.OnStream(func(_ context.Context, q Numbers) iter.Seq2[int, error] {
					return func(yield func(int, error) bool) {
						for n := 0; n < q.Most && yield(n, nil); n++ {
						}
					}
				}))
				c := newClient(t, lane, nil)
				var wg sync.WaitGroup
				var mu sync.Mutex
				whole, lost := 0, 0
				for i := range streams {
					wg.Go(func() {
						most, n := 20+i, 0
						var end error
						for got, err := range request.Stream(t.Context(), c, Numbers{Most: most}, request.Window(1+i%9), request.Timeout(10*time.Hour)) {
							switch {
							case end != nil:
								t.Errorf("stream %d goes on behind its end: %d, %v", i, got, err)
							case err != nil:
								end = err
							case got != n:
								t.Errorf("stream %d, item %d is %d", i, n, got)
							default:
								n++
							}
						}
						mu.Lock()
						defer mu.Unlock()
						switch {
						case end == nil && n == most:
							whole++
						case end == nil:
							t.Errorf("stream %d ended well with %d of %d items", i, n, most)
						case errors.Is(end, request.ErrLost):
							lost++
						default:
							t.Errorf("stream %d ended with %v", i, end)
						}
					})
				}
				wg.Wait()
				if lost != len(lane.harmed) || whole+lost != streams || items && lost == 0 || lane.withheld == 0 {
					t.Errorf("of %d streams %d were harmed; %d were lost and %d whole; credit was dropped %d times", streams, len(lane.harmed), lost, whole, lane.withheld)
				}
				time.Sleep(time.Minute) // for handlers whose caller has gone
				synctest.Wait()
				if s := r.Stats(); s.Running+s.Waiting != 0 || c.Stats().Streams != 0 {
					t.Errorf("the client counts %+v, the responder %+v", c.Stats(), s)
				}
			})
		})
	}
}
