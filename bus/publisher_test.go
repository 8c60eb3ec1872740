package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// wire is a broker whose answers the test gives.
type wire struct {
	caps bus.Capabilities

	mu      sync.Mutex
	senders []*wireSender
	openErr error
	opening chan struct{} // Open waits for it, where not nil
}

type wireSender struct {
	w       *wire
	batches []*wireBatch
	closed  bool
	bad     map[string]bool
}

// wireBatch is answered by the test.
type wireBatch struct {
	s    *wireSender
	outs []bus.Outgoing
	errs []error
	done chan struct{}
}

func newWire() *wire {
	return &wire{caps: bus.Capabilities{Name: "wire", Confirms: true, PrefixPerKey: true}}
}

func (w *wire) Capabilities() bus.Capabilities { return w.caps }
func (w *wire) Close(context.Context) error    { panic("the transport is the caller's") }
func (w *wire) Subscribe(context.Context, bus.Subscription) (bus.Source, error) {
	return nil, bus.ErrRefused
}
func (w *wire) Open(ctx context.Context) (bus.Sender, error) {
	if w.opening != nil {
		select {
		case <-w.opening:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.openErr != nil {
		return nil, w.openErr
	}
	s := &wireSender{w: w, bad: map[string]bool{}}
	w.senders = append(w.senders, s)
	return s, nil
}

func (s *wireSender) Send(_ context.Context, outs []bus.Outgoing) bus.Pending {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	b := &wireBatch{s: s, outs: slices.Clone(outs), done: make(chan struct{})}
	s.batches = append(s.batches, b)
	return b
}

func (s *wireSender) Close(context.Context) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, b := range s.batches {
		if b.errs == nil {
			panic("closed with an answer outstanding")
		}
	}
	s.closed = true
	return nil
}

func (b *wireBatch) Wait(ctx context.Context) []error {
	select {
	case <-b.done:
		return b.errs
	case <-ctx.Done():
		b.s.w.mu.Lock()
		defer b.s.w.mu.Unlock()
		b.errs = slices.Repeat([]error{ctx.Err()}, len(b.outs))
		return b.errs
	}
}

// answer answers the oldest batch without an answer, as a driver does: behind a failed envelope all of its key fail. It
// reports what was in it.
func (w *wire) answer(fail map[string]error) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.senders {
		for _, b := range s.batches {
			if b.errs != nil {
				continue
			}
			var ids []string
			b.errs = make([]error, len(b.outs))
			for i, o := range b.outs {
				ids = append(ids, o.Subject)
				switch err := fail[o.Subject]; {
				case s.bad[o.Key]:
					b.errs[i] = bus.ErrBehindFailed
				case err != nil:
					b.errs[i] = err
					if o.Key != "" {
						s.bad[o.Key] = true
					}
				}
			}
			close(b.done)
			return strings.Join(ids, " ")
		}
	}
	return ""
}

func (w *wire) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.senders {
		out = append(out, map[bool]string{true: "closed", false: "open"}[s.closed])
	}
	return strings.Join(out, " ")
}

func publisher(t *testing.T, w *wire, o *bus.PublisherOptions) *bus.Publisher {
	t.Helper()
	p, err := bus.NewPublisher(w, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func envelope(subject, key string) *sixfold.Envelope {
	return &sixfold.Envelope{ID: sixfold.NewID(), Source: "test", Type: "orders.placed", Subject: subject, Key: key}
}

// publish sends in a goroutine; the answer can be asked for later.
func publish(p *bus.Publisher, opts []bus.PublishOption, envs ...*sixfold.Envelope) func() error {
	done := make(chan error, 1)
	go func() { done <- p.PublishEnvelopes(context.Background(), "orders", envs, opts...) }()
	return func() error {
		select {
		case err := <-done:
			done <- err
			return err
		default:
			return errWaiting
		}
	}
}

var errWaiting = errors.New("it waits")

func TestPublishReturnsWithTheConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		p := publisher(t, w, &bus.PublisherOptions{Source: "shop"})
		var id string
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			ctx := sixfold.WithCorrelation(context.Background(), "request-7")
			id, err = p.Publish(ctx, "orders", placed{7}, bus.With(func(env *sixfold.Envelope) { env.Subject, env.Key = "1", "k" }))
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait for the confirm")
		default:
		}
		b := w.senders[0].batches[0].outs[0]
		w.answer(nil)
		<-done
		if err != nil || id != b.ID || b.Topic != "orders" || b.Key != "k" || b.Source != "shop" || b.CorrelationID != "request-7" || string(b.Body) != `{"N":7}` || b.MayMiss {
			t.Errorf("%q %v %v", id, err, b)
		}
		if err := p.Close(context.Background()); err != nil || w.state() != "closed" {
			t.Errorf("close: %v, %s", err, w.state())
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := p.Publish(context.Background(), "orders", placed{}); !errors.Is(err, bus.ErrClosed) || errors.Is(err, bus.ErrInDoubt) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestWaitingCallersShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.opening = make(chan struct{})
		p := publisher(t, w, nil)
		var all []func() error
		for i := range 50 {
			all = append(all, publish(p, nil, envelope(fmt.Sprint(i), "k")))
			synctest.Wait() // the first one opens, the others wait
		}
		close(w.opening)
		synctest.Wait()
		if n := len(w.senders[0].batches); n != 2 {
			t.Errorf("%d batches", n)
		}
		for w.answer(nil) != "" {
		}
		synctest.Wait()
		for _, err := range all {
			if err() != nil {
				t.Error(err())
			}
		}
		p.Close(context.Background())
	})
}

// Encode errors, errors before the hand-over and unknown fates are told apart.
func TestPublishErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		p := publisher(t, w, nil)
		ctx := context.Background()
		check := func(what string, err error, is, not error) {
			t.Helper()
			if !errors.Is(err, is) || not != nil && errors.Is(err, not) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := p.Publish(ctx, "orders", unencodable{})
		check("encode", err, sixfold.ErrInvalid, bus.ErrInDoubt)
		_, err = p.Publish(ctx, "or ders", placed{})
		check("topic", err, sixfold.ErrInvalid, bus.ErrInDoubt)
		check("nil", p.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{nil}), sixfold.ErrInvalid, bus.ErrInDoubt)
		if err := p.PublishEnvelopes(ctx, "orders", nil); err != nil {
			t.Error(err)
		}
		if w.state() != "" {
			t.Error("it connected for nothing")
		}
		w.openErr = fmt.Errorf("dial: %w", bus.ErrUnavailable)
		_, err = p.Publish(ctx, "orders", placed{})
		check("open", err, bus.ErrUnavailable, bus.ErrInDoubt)
		w.openErr = nil
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err = p.Publish(gone, "orders", placed{})
		check("cancelled", err, context.Canceled, bus.ErrInDoubt)

		large := publish(p, nil, envelope("large", "k"), envelope("behind", "k"), envelope("other", "o"))
		synctest.Wait()
		w.answer(map[string]error{"large": fmt.Errorf("%w: 2 of 1", bus.ErrTooLarge)})
		synctest.Wait()
		check("too large", large(), bus.ErrTooLarge, bus.ErrInDoubt)
		check("behind", large(), bus.ErrBehindFailed, nil)
		if n := len(large().(interface{ Unwrap() []error }).Unwrap()); n != 2 {
			t.Errorf("%d errors", n)
		}

		next := publish(p, nil, envelope("next", "k")) // the key has failed in the sender: another one
		synctest.Wait()
		if w.state() != "closed open" {
			t.Error(w.state())
		}
		w.answer(map[string]error{"next": bus.ErrUnavailable})
		synctest.Wait()
		check("lost", next(), bus.ErrInDoubt, nil)
		check("lost", next(), bus.ErrUnavailable, nil)
		if w.state() != "closed closed" {
			t.Error(w.state())
		}

		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err = p.PublishEnvelopes(short, "orders", []*sixfold.Envelope{envelope("slow", "k")})
		check("impatient", err, bus.ErrInDoubt, nil)
		check("impatient", err, context.DeadlineExceeded, nil)
		w.answer(nil)

		miss := publish(p, []bus.PublishOption{bus.MayMiss()}, envelope("miss", "m"))
		synctest.Wait()
		w.answer(map[string]error{"miss": bus.ErrUnroutable})
		synctest.Wait()
		if err := miss(); err != nil {
			t.Errorf("may miss: %v", err)
		}
		p.Close(ctx)
	})
}

type unencodable struct{ C chan int }

func (unencodable) MessageName() string { return "x" }

// What was not taken because another caller's envelope failed before it is sent again; nothing else is.
func TestOthersFailuresAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		p := publisher(t, w, nil)
		bad := publish(p, nil, envelope("bad", "k"))
		synctest.Wait()
		good := publish(p, nil, envelope("good", "k"), envelope("good2", "k"))
		synctest.Wait()
		w.answer(map[string]error{"bad": bus.ErrUnroutable})
		synctest.Wait()
		if got := w.answer(nil); got != "good good2" {
			t.Errorf("batch %q", got)
		}
		synctest.Wait()
		if err := good(); err != errWaiting {
			t.Errorf("good: %v", err)
		}
		if got := w.answer(nil); got != "good good2" {
			t.Errorf("repeated %q", got)
		}
		synctest.Wait()
		if !errors.Is(bad(), bus.ErrUnroutable) || good() != nil || w.state() != "closed open" {
			t.Errorf("bad: %v, good: %v, senders: %s", bad(), good(), w.state())
		}
		p.Close(context.Background())
	})
}

// A sender that lost its connection is closed after its last answer, while others use a new one already.
func TestLostSenderIsClosedAfterItsLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		p := publisher(t, w, nil)
		var all []func() error
		for _, id := range []string{"1", "2"} {
			all = append(all, publish(p, nil, envelope(id, id)))
			synctest.Wait()
		}
		w.answer(map[string]error{"1": bus.ErrUnavailable})
		synctest.Wait()
		all = append(all, publish(p, nil, envelope("3", "3")))
		synctest.Wait()
		if got := w.state(); got != "open open" {
			t.Error(got)
		}
		w.answer(nil)
		synctest.Wait()
		if got := w.state(); got != "closed open" {
			t.Error(got)
		}
		w.answer(nil)
		synctest.Wait()
		if !errors.Is(all[0](), bus.ErrInDoubt) || all[1]() != nil || all[2]() != nil {
			t.Errorf("%v, %v, %v", all[0](), all[1](), all[2]())
		}
		p.Close(context.Background())
	})
}

func TestUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		var log lockedBuffer
		p := publisher(t, w, &bus.PublisherOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err := p.PublishEnvelopes(context.Background(), "orders", []*sixfold.Envelope{envelope("1", "a")}, bus.Unconfirmed()); err != nil {
			t.Error(err)
		}
		w.answer(map[string]error{"1": bus.ErrUnavailable})
		synctest.Wait()
		if !strings.Contains(log.String(), "not taken") {
			t.Errorf("log: %s", log.String())
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		w.caps.Confirms = false
		if _, err := bus.NewPublisher(w, nil); err == nil || !strings.Contains(err.Error(), "does not confirm") {
			t.Error(err)
		}
		if _, err := bus.NewPublisher(w, &bus.PublisherOptions{Unconfirmed: true}); err != nil {
			t.Error(err)
		}
		if _, err := bus.NewPublisher(nil, &bus.PublisherOptions{Source: "\n"}); err == nil || !strings.Contains(err.Error(), "Source") || !strings.Contains(err.Error(), "nil") {
			t.Error(err)
		}
	})
}

// Where the driver cannot keep the prefix of a key, one envelope of a key is unconfirmed at a time.
func TestOneUnconfirmedPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.caps.PrefixPerKey = false
		p := publisher(t, w, nil)
		first := publish(p, nil, envelope("a1", "a"), envelope("b1", "b"), envelope("a2", "a"), envelope("u1", ""), envelope("u2", ""))
		synctest.Wait()
		second := publish(p, nil, envelope("a3", "a"), envelope("b2", "b"))
		synctest.Wait()
		if got := w.answer(map[string]error{"a1": bus.ErrTooLarge}); got != "a1 b1 u1 u2" {
			t.Errorf("batch %q", got)
		}
		synctest.Wait()
		if got := w.answer(nil); got != "a3 b2" { // a2 is behind a1, a3 is somebody else's
			t.Errorf("batch %q", got)
		}
		synctest.Wait()
		if err := first(); !errors.Is(err, bus.ErrTooLarge) || !errors.Is(err, bus.ErrBehindFailed) {
			t.Errorf("first: %v", err)
		}
		if err := second(); err != nil {
			t.Errorf("second: %v", err)
		}
		p.Close(context.Background())
	})
}

func TestCloseWaitsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		p := publisher(t, w, nil)
		one := publish(p, nil, envelope("1", "a"))
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- p.Close(context.Background()) }()
		pass(time.Hour)
		w.answer(nil)
		synctest.Wait()
		if err := <-closed; err != nil || one() != nil {
			t.Errorf("close: %v, publish: %v", err, one())
		}

		p = publisher(t, w, nil)
		two := publish(p, nil, envelope("2", "a"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, bus.ErrInDoubt) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if err := two(); !errors.Is(err, bus.ErrInDoubt) {
			t.Errorf("publish: %v", err)
		}
	})
}
