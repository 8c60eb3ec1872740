package request_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// Length is a query.
type Length struct {
	sixfold.Returns[int] `json:"-"`
	Text                 string
}

func (Length) MessageName() string { return "text.length" }

// Shout is a command.
type Shout struct {
	sixfold.Returns[string] `json:"-"`
	Text                    string
}

func (Shout) MessageName() string { return "text.shout" }

func newLane(t testing.TB) *memory.RequestLane {
	t.Helper()
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	return lane
}

// newClient makes one whose calls have a minute where nothing else is said, since the machine may stand still for a while.
func newClient(t testing.TB, lane request.Lane, o *request.ClientOptions) *request.Client {
	t.Helper()
	var co request.ClientOptions
	if o != nil {
		co = *o
	}
	if co.Timeout == 0 {
		co.Timeout = time.Minute
	}
	c, err := request.NewClient(lane, &co)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// serve runs a responder until the test ends, or stop is called.
func serve(t testing.TB, lane request.Lane, o request.ServeOptions, routes ...request.Route) (r *request.Responder, stop func() error) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	r, err := request.Serve(lane, &o, routes...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	<-r.Listening()
	return r, stop
}

// slow is a lane that needs a while to connect.
type slow struct {
	request.Lane
	open time.Duration
}

func (l slow) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	select {
	case <-time.After(l.open):
		return l.Lane.Open(ctx, in)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// guarantees: Q3
func TestConnectingIsUnderTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		packets := make(chan *request.Packet, 1)
		ear, err := lane.Listen(t.Context(), []string{"text.length"}, request.Requests{Take: func(_ string, p *request.Packet) { packets <- p }, Lost: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer ear.Close(t.Context())
		c := newClient(t, slow{lane, 700 * time.Millisecond}, nil)
		begin := time.Now()
		_, err = request.Send(t.Context(), c, Length{Text: "four"}, request.Timeout(time.Second))
		if took := time.Since(begin); !errors.Is(err, request.ErrTimeout) || took > 1100*time.Millisecond {
			t.Errorf("the call answered %v after %v", err, took)
		}
		if p := <-packets; p.Timeout != "300" {
			t.Errorf("the request says that %q ms are left, 300 are", p.Timeout)
		}
		c = newClient(t, slow{lane, time.Hour}, &request.ClientOptions{Timeout: 2 * time.Second})
		begin = time.Now()
		if _, err = request.Send(t.Context(), c, Length{}); !errors.Is(err, request.ErrTimeout) || time.Since(begin) > 2100*time.Millisecond {
			t.Errorf("the call answered %v after %v", err, time.Since(begin))
		}
		if s := c.Stats(); s.InFlight != 0 {
			t.Errorf("%d slots are left", s.InFlight)
		}
	})
}

// guarantees: Q1, Q5
func TestCloseWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, slow{newLane(t), time.Hour}, nil)
		out := make(chan error, 2)
		for range 2 { // one opens, the other waits for it
			go func() {
				_, err := request.Send(t.Context(), c, Length{}, request.Timeout(time.Minute))
				out <- err
			}()
		}
		synctest.Wait()
		begin := time.Now()
		if err := c.Close(t.Context()); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Close answered %v after %v", err, time.Since(begin))
		}
		for range 2 {
			if err := <-out; !errors.Is(err, request.ErrClosed) {
				t.Errorf("a call answered %v", err)
			}
		}
	})
}

func TestMediatedHandlersWithMiddleware(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	note := func(name string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				mu.Lock()
				calls = append(calls, name+" "+env.Type)
				mu.Unlock()
				return next(ctx, env)
			}
		}
	}
	m, err := mediator.New(&mediator.Options{Middleware: []sixfold.Middleware{note("mediator")}},
		mediator.OnQuery(func(_ context.Context, q Length) (int, error) { return len(q.Text), nil }),
		mediator.OnCommand(func(_ context.Context, c Shout) (string, error) { return strings.ToUpper(c.Text), nil }))
	if err != nil {
		t.Fatal(err)
	}
	lane := newLane(t)
	serve(t, lane, request.ServeOptions{Middleware: []sixfold.Middleware{note("responder")}},
		request.Mediated(m, Length{}).With(note("route")), request.Mediated(m, Shout{}))
	c := newClient(t, lane, nil)
	if n, err := request.Send(t.Context(), c, Length{Text: "four"}); n != 4 || err != nil {
		t.Errorf("the query answered %d, %v", n, err)
	}
	if s, err := request.Send(t.Context(), c, Shout{Text: "hey"}); s != "HEY" || err != nil {
		t.Errorf("the command answered %q, %v", s, err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := "responder text.length, route text.length, mediator text.length, responder text.shout, mediator text.shout"
	if got := strings.Join(calls, ", "); got != want {
		t.Errorf("the calls are %s, not %s", got, want)
	}
}

func TestWhatCannotServe(t *testing.T) {
	m, err := mediator.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var none *mediator.Mediator
	on := request.On(func(context.Context, Length) (int, error) { return 0, nil })
	_, err = request.Serve(newLane(t), &request.ServeOptions{MaxConcurrent: -1, MaxWaiting: 1 << 30, DrainTimeout: -1, Middleware: []sixfold.Middleware{nil}, Codecs: []sixfold.Codec{nil}},
		on, on, request.Mediated(m, Shout{}), request.Mediated(none, Shout{}), request.Route{}, on.At("with space"), request.On[Shout](nil), on.With(nil))
	if err == nil || !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"MaxConcurrent", "MaxWaiting", "DrainTimeout", "option Middleware number 1", "Codecs", `"text.length" has two routes`, "it has no handler",
		"the mediator is nil", "is empty", `"with space"`, "the handler is nil", "middleware number 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not name %s: %v", want, err)
		}
	}
	if _, err := request.Serve(nil, nil); err == nil || !strings.Contains(err.Error(), "lane is nil") || !strings.Contains(err.Error(), "no route") {
		t.Error(err)
	}
	var lane *memory.RequestLane
	if _, err := request.NewClient(lane, &request.ClientOptions{Timeout: -1, MaxInFlight: -1, Silence: time.Second}); err == nil || !strings.Contains(err.Error(), "Silence") || !strings.Contains(err.Error(), "lane is nil") || !strings.Contains(err.Error(), "Timeout") || !strings.Contains(err.Error(), "MaxInFlight") {
		t.Error(err)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	c := newClient(t, newLane(t), nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	for _, try := range []struct {
		ctx  context.Context
		opts []request.Option
		want error
	}{
		{t.Context(), []request.Option{request.To("with space")}, sixfold.ErrInvalid},
		{t.Context(), []request.Option{request.To("")}, sixfold.ErrInvalid},
		{t.Context(), []request.Option{request.Timeout(-1)}, sixfold.ErrInvalid},
		{t.Context(), []request.Option{request.Headers(map[string]string{"sixfold-protocol": "reply/1"})}, sixfold.ErrInvalid},
		{t.Context(), []request.Option{request.Headers(map[string]string{"a": "b\r\nc"})}, sixfold.ErrInvalid},
		{ended, nil, request.ErrCancelled},
		{late, nil, request.ErrTimeout},
	} {
		if _, err := request.Send(try.ctx, c, Length{}, try.opts...); !errors.Is(err, try.want) {
			t.Errorf("it answered %v, not %v", err, try.want)
		}
	}
	if s := c.Stats(); s.Calls != 0 || s.InFlight != 0 {
		t.Errorf("the client counts %+v", s)
	}
	if _, err := request.Send(t.Context(), nil, Length{}); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
}

// A handler that ends its goroutine costs its own call, not the responder.
func TestGoexit(t *testing.T) {
	lane := newLane(t)
	r, stop := serve(t, lane, request.ServeOptions{MaxConcurrent: 1}, request.On(func(_ context.Context, q Length) (int, error) {
		if q.Text == "" {
			runtime.Goexit()
		}
		return len(q.Text), nil
	}))
	c := newClient(t, lane, nil)
	for range 3 {
		if _, err := request.Send(t.Context(), c, Length{}); !errors.Is(err, &request.Fault{Category: request.Internal}) {
			t.Errorf("it answered %v", err)
		}
	}
	if n, err := request.Send(t.Context(), c, Length{Text: "four"}); n != 4 || err != nil {
		t.Errorf("it answered %d, %v", n, err)
	}
	if err := stop(); err != nil || r.Stats().Running != 0 {
		t.Errorf("Run answered %v, %+v", err, r.Stats())
	}
}

func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := newLane(t)
		release := make(chan struct{})
		defer close(release)
		_, stop := serve(t, lane, request.ServeOptions{DrainTimeout: time.Second}, request.On(func(context.Context, Length) (int, error) {
			<-release
			return 0, nil
		}))
		c := newClient(t, lane, nil)
		go request.Send(t.Context(), c, Length{}, request.Timeout(time.Minute))
		synctest.Wait()
		begin := time.Now()
		if err := stop(); !errors.Is(err, sixfold.ErrDrainTimeout) || time.Since(begin) != time.Second {
			t.Errorf("Run answered %v after %v", err, time.Since(begin))
		}
	})
}

// Bomb cannot be encoded, and says so by a panic.
type Bomb struct {
	sixfold.Returns[int] `json:"-"`
}

func (Bomb) MessageName() string          { return "text.bomb" }
func (Bomb) MarshalJSON() ([]byte, error) { panic("a bug of the message's") }

// guarantees: Q1
func TestAPanicWhileEncodingKeepsNoSlot(t *testing.T) {
	c := newClient(t, newLane(t), &request.ClientOptions{MaxInFlight: 1})
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not come through")
				}
			}()
			request.Send(t.Context(), c, Bomb{})
		}()
	}
	if s := c.Stats(); s.InFlight != 0 {
		t.Errorf("%d slots are left", s.InFlight)
	}
}
