package bus_test

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// fake is a broker of one subscription. What it delivers is what the test says.
type fake struct {
	caps bus.Capabilities

	mu       sync.Mutex
	waiting  []*bus.Delivery
	held     map[*bus.Delivery]bool
	acked    []string
	released []string
	extended map[string]int
	out      []bus.Outgoing
	closed   bool
	more     chan struct{}

	subscribe func() error
	receive   func() error
	closes    time.Duration // that a source takes to be given back
	settle    func(bus.Settlement) error
	send      func(bus.Outgoing) error
	open      func() error
	settling  chan struct{} // settlements wait for it, where not nil
	mute      int           // settlements that get no answer at all
	block     chan struct{} // confirms wait for it, where not nil
}

func newFake() *fake {
	return &fake{caps: bus.Capabilities{Name: "fake", OrderPerKey: true, PrefixPerKey: true, Confirms: true, Copies: true},
		held: map[*bus.Delivery]bool{}, extended: map[string]int{}, more: make(chan struct{}, 1)}
}

func (f *fake) consumer(t *testing.T, o *bus.Options, routes ...sixfold.Route) *bus.Consumer {
	t.Helper()
	if o == nil {
		o = &bus.Options{}
	}
	if o.Logger == nil {
		o.Logger = quiet()
	}
	c, err := bus.NewConsumer(f, bus.Subscription{Topics: []string{"orders"}, Group: "g", Ordered: true}, o, routes...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fake) deliver(ds ...*bus.Delivery) {
	f.mu.Lock()
	f.waiting = append(f.waiting, ds...)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
}

func (f *fake) Capabilities() bus.Capabilities { return f.caps }
func (f *fake) Subscribe(context.Context, bus.Subscription) (bus.Source, error) {
	if f.subscribe != nil {
		if err := f.subscribe(); err != nil {
			return nil, err
		}
	}
	return &source{f}, nil
}
func (f *fake) Open(context.Context) (bus.Sender, error) {
	if f.open != nil {
		if err := f.open(); err != nil {
			return nil, err
		}
	}
	return &sender{f: f}, nil
}
func (f *fake) Close(context.Context) error { return nil }

type source struct{ *fake }

func (s *source) Receive(ctx context.Context, most int) ([]*bus.Delivery, error) {
	for {
		if s.receive != nil {
			if err := s.receive(); err != nil {
				return nil, err
			}
		}
		s.mu.Lock()
		if n := min(most, len(s.waiting)); n > 0 {
			ds := s.waiting[:n:n]
			s.waiting = s.waiting[n:]
			for _, d := range ds {
				s.held[d] = true
			}
			s.mu.Unlock()
			return ds, nil
		}
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *source) Settle(_ context.Context, ss []bus.Settlement) []error {
	if s.settling != nil {
		<-s.settling
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mute > 0 {
		s.mute--
		return nil
	}
	errs := make([]error, len(ss))
	for i, one := range ss {
		if s.settle != nil {
			if errs[i] = s.settle(one); errs[i] != nil {
				continue
			}
		}
		if !s.held[one.Delivery] {
			errs[i] = bus.ErrLost
			continue
		}
		delete(s.held, one.Delivery)
		if one.Release {
			s.released = append(s.released, one.ID)
		} else {
			s.acked = append(s.acked, one.ID)
		}
	}
	return errs
}

func (s *source) Extend(_ context.Context, ds []*bus.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		s.extended[d.ID]++
	}
	return nil
}

func (s *source) Close(ctx context.Context) error {
	if s.closes > 0 {
		select {
		case <-time.After(s.closes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

type sender struct{ f *fake }

func (s *sender) Send(_ context.Context, batch []bus.Outgoing) bus.Pending {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	p := &pending{block: s.f.block}
	for _, o := range batch {
		var err error
		if s.f.send != nil {
			err = s.f.send(o)
		}
		if err == nil {
			s.f.out = append(s.f.out, o)
		}
		p.errs = append(p.errs, err)
	}
	return p
}
func (s *sender) Close(context.Context) error { return nil }

type pending struct {
	block chan struct{}
	errs  []error
}

func (p *pending) Wait(ctx context.Context) []error {
	if p.block != nil {
		select {
		case <-p.block:
		case <-ctx.Done():
			errs := make([]error, len(p.errs))
			for i := range errs {
				errs[i] = ctx.Err()
			}
			return errs
		}
	}
	return p.errs
}

func (f *fake) sent() []bus.Outgoing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]bus.Outgoing(nil), f.out...)
}

// wantAcked compares without regard to order between keys.
func (f *fake) wantAcked(t *testing.T, want string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	wantSame(t, "acknowledged", f.acked, want)
}

func (f *fake) wantReleased(t *testing.T, want string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	wantSame(t, "released", f.released, want)
}

func wantSame(t *testing.T, what string, got []string, want string) {
	t.Helper()
	left := map[string]int{}
	for _, id := range got {
		left[id]++
	}
	for _, id := range strings.Fields(want) {
		left[id]--
	}
	for id, n := range left {
		if n != 0 {
			t.Errorf("%s: %v, want %s (%s: %+d)", what, got, want, id, n)
		}
	}
}

func msg(id, key string) *bus.Delivery {
	d := &bus.Delivery{Topic: "orders"}
	d.ID, d.Key, d.Type, d.Source, d.Body = id, key, "orders.placed", "test", []byte("{}")
	return d
}

func raw(h sixfold.Handler) sixfold.Route { return sixfold.RawNamed("orders.placed", h) }

// start runs c; the function that it answers stops it and answers what Run did.
func start(t *testing.T, c *bus.Consumer) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// trace is what handlers did.
type trace struct {
	mu  sync.Mutex
	got []string
}

func (x *trace) add(s string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.got = append(x.got, s)
}

func (x *trace) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Join(x.got, " ")
}

func (x *trace) want(t *testing.T, want string) {
	t.Helper()
	if got := x.String(); got != want {
		t.Errorf("handled %s, want %s", got, want)
	}
}

func (f *fake) releasedInOrder() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.released, " ")
}

func exit() { runtime.Goexit() }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (f *fake) wantAckedSoFar(t *testing.T, id string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.acked, id) {
		t.Errorf("%s is not acknowledged", id)
	}
}

// pass lets time pass in a synctest bubble, and everything settle that it sets off.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
