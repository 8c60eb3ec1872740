package request_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/request"
)

// Words is a streaming query.
type Words struct {
	sixfold.Returns[iter.Seq2[string, error]] `json:"-"`
	Text                                      string
}

func (Words) MessageName() string { return "text.words" }

func words(_ context.Context, q Words) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for word := range strings.FieldsSeq(q.Text) {
			if !yield(word, nil) {
				return
			}
		}
	}
}

func join(s iter.Seq2[string, error]) (all string, err error) {
	for word, e := range s {
		if err = e; e == nil {
			all += word + "."
		}
	}
	return all, err
}

func TestStreamOfMediator(t *testing.T) {
	var around atomic.Int64
	counting := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			defer around.Add(1)
			return next(ctx, env)
		}
	}
	m, err := mediator.New(&mediator.Options{Queries: []sixfold.Middleware{counting}}, mediator.OnStream(words))
	if err != nil {
		t.Fatal(err)
	}
	lane := newLane(t)
	serve(t, lane, request.ServeOptions{Middleware: []sixfold.Middleware{counting}}, request.Mediated(m, Words{}))
	c := newClient(t, lane, nil)
	if got, err := join(request.Stream(t.Context(), c, Words{Text: "one two three"})); got != "one.two.three." || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for range request.Stream(t.Context(), c, Words{Text: strings.Repeat("x ", 1000)}) {
		break
	}
	synced := time.After(time.Minute)
	for around.Load() < 4 {
		select {
		case <-synced:
			t.Fatalf("%d middlewares ended", around.Load())
		case <-time.After(time.Millisecond):
		}
	}
	other, err := mediator.New(nil, mediator.OnQuery(func(context.Context, Length) (int, error) { return 0, nil }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := request.Serve(lane, nil, request.Mediated(other, Words{})); !errors.Is(err, sixfold.ErrInvalid) && !errors.Is(err, mediator.ErrNoHandler) {
		t.Errorf("a mediator without the handler: %v", err)
	}
}

func TestStreamIsRefused(t *testing.T) {
	lane := newLane(t)
	c := newClient(t, lane, nil)
	for name, s := range map[string]iter.Seq2[string, error]{
		"window":      request.Stream(t.Context(), c, Words{}, request.Window(0)),
		"retry":       request.Stream(t.Context(), c, Words{}, request.Retry(time.Second)),
		"client":      request.Stream(t.Context(), nil, Words{}),
		"destination": request.Stream(t.Context(), c, Words{}, request.To("not a destination\n")),
	} {
		if got, err := join(s); got != "" || !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := join(request.Stream(t.Context(), c, Words{})); !errors.Is(err, request.ErrNoResponder) {
		t.Errorf("where nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := join(request.Stream(ctx, c, Words{})); !errors.Is(err, request.ErrCancelled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	var none func(context.Context, Words) iter.Seq2[string, error]
	once := request.On(func(context.Context, Words) (iter.Seq2[string, error], error) { return nil, nil })
	for name, route := range map[string]request.Route{"nil": request.OnStream(none), "once": once} {
		if _, err := request.Serve(lane, nil, route); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A stream of rare items to a slow reader lasts, since both sides say that they are there.
//
// guarantees: Q1
func TestStreamOutlivesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		serve(t, lane, request.ServeOptions{}, request.OnStream(func(ctx context.Context, q Words) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for word := range strings.FieldsSeq(q.Text) {
					time.Sleep(5 * time.Minute)
					if !yield(word, nil) {
						return
					}
				}
			}
		}))
		c := newClient(t, lane, nil)
		got := ""
		for word, err := range request.Stream(t.Context(), c, Words{Text: "a b c d e f g"}, request.Window(1), request.Timeout(100*time.Hour)) {
			if err != nil {
				t.Fatal(err)
			}
			got += word
			time.Sleep(7 * time.Minute)
		}
		if got != "abcdefg" {
			t.Errorf("%q came", got)
		}
	})
}

// guarantees: Q1
func TestStreamOfSilentResponderIsLost(t *testing.T) {
	for _, silence := range []time.Duration{0, 3 * time.Second, 45 * time.Second} {
		t.Run(silence.String(), func(t *testing.T) { silentResponder(t, silence) })
	}
}

func silentResponder(t *testing.T, silence time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		packets := make(chan *request.Packet, 100)
		ear, err := lane.Listen(t.Context(), []string{"text.words"}, request.Requests{Take: func(_ string, p *request.Packet) { packets <- p }, Lost: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer ear.Close(t.Context())
		c := newClient(t, lane, &request.ClientOptions{Silence: silence})
		if silence == 0 {
			silence = 15 * time.Second
		}
		go func() {
			asked := <-packets
			p := &request.Packet{Protocol: "item/1", Request: asked.Request, Number: "1"}
			p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: "test", Type: "text.words.item", ContentType: "application/json", Body: []byte(`"one"`)}
			if err := ear.Answer(t.Context(), asked, p); err != nil {
				t.Error(err)
			}
		}()
		begin := time.Now()
		got, err := join(request.Stream(t.Context(), c, Words{}, request.Timeout(time.Hour)))
		if took := time.Since(begin); got != "one." || !errors.Is(err, request.ErrLost) || took < silence || took > silence+silence/3 {
			t.Errorf("%q came, then %v after %v", got, err, took)
		}
		asked := 0
		for len(packets) > 0 {
			if p := <-packets; p.Protocol == "credit/1" && p.Number == "64" {
				asked++
			}
		}
		if asked < 2 || asked > 3 {
			t.Errorf("it was asked %d times", asked)
		}
	})
}

// A responder says that it is there when it is asked, in the middle of its handler too, and a caller that hears it asks no more.
//
// guarantees: Q1
func TestStreamOfBusyResponderLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		serve(t, lane, request.ServeOptions{}, request.OnStream(func(context.Context, Words) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				time.Sleep(time.Hour)
				yield("late", nil)
			}
		}))
		c := newClient(t, lane, &request.ClientOptions{Silence: 3 * time.Second})
		if got, err := join(request.Stream(t.Context(), c, Words{}, request.Timeout(2*time.Hour))); got != "late." || err != nil {
			t.Errorf("%q came, then %v", got, err)
		}
	})
}

// A process that has stood still knows nothing of the others' silence, and asks first.
//
// guarantees: Q1
func TestStreamOutlivesItsStandingStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := &standing{Lane: newLane(t)}
		serve(t, lane.Lane, request.ServeOptions{}, request.OnStream(func(context.Context, Words) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				if yield("early", nil) {
					time.Sleep(time.Hour)
					yield("late", nil)
				}
			}
		}))
		c := newClient(t, lane, nil)
		lane.still.Store(true)
		got, err := join(request.Stream(t.Context(), c, Words{}, request.Timeout(2*time.Hour)))
		if got != "early.late." || err != nil {
			t.Errorf("%q came, then %v", got, err)
		}
	})
}

// standing is a lane of a process that stands still when it sends its first credit: nothing is sent and no sign of life is taken for a while, and then it has the
// next beat before it takes what came.
type standing struct {
	request.Lane
	still atomic.Bool
	until time.Time // when it takes signs of life again
}

func (l *standing) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	take := in.Take
	in.Take = func(p *request.Packet) {
		if p.Protocol == "alive/1" && time.Now().Before(l.until) {
			time.AfterFunc(time.Until(l.until), func() { take(p) })
			return
		}
		take(p)
	}
	l.until = time.Now().Add(50*time.Second + time.Millisecond)
	port, err := l.Lane.Open(ctx, in)
	return standingPort{port, l}, err
}

type standingPort struct {
	request.Port
	l *standing
}

func (p standingPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	if packet.Protocol == "credit/1" && p.l.still.CompareAndSwap(true, false) {
		time.Sleep(40 * time.Second)
	}
	return p.Port.Ask(ctx, to, packet)
}

// guarantees: Q6
func TestStreamOfSilentCallerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		ended := make(chan time.Time, 1)
		r, _ := serve(t, lane, request.ServeOptions{}, request.OnStream(func(ctx context.Context, q Words) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for yield("word", nil) {
				}
				if ctx.Err() == nil {
					t.Error("the context goes on")
				}
				ended <- time.Now()
			}
		}))
		packets := make(chan *request.Packet, 100)
		port, err := lane.Open(t.Context(), request.Replies{Take: func(p *request.Packet) { packets <- p }, Undeliverable: func(string) {}, Lost: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer port.Close(t.Context())
		p := &request.Packet{Protocol: "request/1", Request: sixfold.NewID(), Timeout: "3600000", Number: "3"}
		p.Envelope = sixfold.Envelope{ID: p.Request, Source: "test", Type: "text.words", ContentType: "application/json", Body: []byte(`{}`)}
		begin := time.Now()
		if err := port.Ask(t.Context(), "text.words", p); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		if err := port.Ask(t.Context(), "text.words", &request.Packet{Protocol: "credit/1", Request: p.Request, Number: "5"}); err != nil {
			t.Fatal(err)
		}
		if took := (<-ended).Sub(begin); took < 90*time.Second || took > 110*time.Second {
			t.Errorf("it ended after %v", took)
		}
		synctest.Wait()
		items, alive := 0, 0
		for len(packets) > 0 {
			switch p := <-packets; p.Protocol {
			case "item/1":
				items++
			case "alive/1":
				alive++
			default:
				t.Errorf("there came %q %q", p.Protocol, p.Status)
			}
		}
		if s := r.Stats(); items != 5 || alive < 4 || s.Gone != 1 || s.Running != 0 {
			t.Errorf("%d items and %d signs of life came; the responder counts %+v", items, alive, s)
		}
	})
}

// guarantees: Q1
func TestStreamIsNotRepeated(t *testing.T) {
	lane := newLane(t)
	twice := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if err := next(ctx, env); err == nil {
				return err
			}
			return next(ctx, env)
		}
	}
	serve(t, lane, request.ServeOptions{Middleware: []sixfold.Middleware{sixfold.Repeats(twice)}}, request.OnStream(func(context.Context, Words) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if yield("once", nil) {
				yield("", errors.New("no"))
			}
		}
	}))
	c := newClient(t, lane, nil)
	if got, err := join(request.Stream(t.Context(), c, Words{})); got != "once." || !errors.Is(err, &request.Fault{Category: request.Internal}) {
		t.Errorf("%q came, then %v", got, err)
	}
}

// guarantees: Q1, Q5
func TestStreamWhoseLoopPanicsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		r, _ := serve(t, lane, request.ServeOptions{}, request.OnStream(words))
		c := newClient(t, lane, nil)
		func() {
			defer func() { _ = recover() }()
			for range request.Stream(t.Context(), c, Words{Text: strings.Repeat("x ", 1000)}) {
				panic("in the loop")
			}
		}()
		synctest.Wait()
		if s, n := r.Stats(), c.Stats().Streams; n != 0 || s.Running != 0 || s.Cancelled != 1 {
			t.Errorf("%d streams are left; the responder counts %+v", n, s)
		}
	})
}

// narrow is a lane that refuses an item.
type narrow struct{ request.Lane }

func (l narrow) Listen(ctx context.Context, at []string, in request.Requests) (request.Ear, error) {
	ear, err := l.Lane.Listen(ctx, at, in)
	return narrowEar{ear}, err
}

type narrowEar struct{ request.Ear }

func (e narrowEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if reply.Number == "3" {
		return fmt.Errorf("narrow: %w", bus.ErrTooLarge)
	}
	return e.Ear.Answer(ctx, asked, reply)
}

// What the lane cannot carry is a fault, and no silence.
//
// guarantees: Q1
func TestStreamWithAnItemTooLarge(t *testing.T) {
	lane := newLane(t)
	serve(t, narrow{lane}, request.ServeOptions{}, request.OnStream(words))
	c := newClient(t, lane, nil)
	if got, err := join(request.Stream(t.Context(), c, Words{Text: "a b c d"})); got != "a.b." || !errors.Is(err, &request.Fault{Category: request.Internal}) {
		t.Errorf("%q came, then %v", got, err)
	}
}
