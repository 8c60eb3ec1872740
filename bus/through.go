package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
)

// Through answers a transport on which everything that is sent passes through mws, the first of them outermost: what relays
// and publishers send with it has the same pipeline as handlers have. Subscriptions are t's own. Closing it closes t.
//
// The part of a middleware before next runs in the order of the sends, and holds up what follows (which is how a rate limit
// works); next answers when the broker has, and the part after it runs then. A middleware may give next a changed envelope, but with
// the same ID and Key: it gets a copy, whose Body it must not write to. One that answers without having called next refuses the
// message: its error wraps ErrRefused unless it is one of this package's, and what follows of the key fails with ErrBehindFailed.
// The broker's answer stands, whatever a middleware makes of it, and a message is handed over once: a middleware that repeats gets
// the answer again. A panic is a refusal. With middleware each message in flight costs a goroutine.
func Through(t Transport, mws ...sixfold.Middleware) Transport {
	any := false
	for _, mw := range mws {
		any = any || mw != nil
	}
	if t == nil || !any {
		return t
	}
	return &through{Transport: t, chain: sixfold.Chain(handOver, mws...), senders: make(map[*throughSender]struct{})}
}

type through struct {
	Transport
	chain sixfold.Handler

	mu      sync.Mutex
	senders map[*throughSender]struct{}
}

// String is the transport's own, where it has one.
func (t *through) String() string {
	if s, ok := t.Transport.(fmt.Stringer); ok {
		return s.String()
	}
	return t.Capabilities().Name
}

// Open implements Transport.
func (t *through) Open(ctx context.Context) (Sender, error) {
	inner, err := t.Transport.Open(ctx)
	if err != nil {
		return nil, err
	}
	s := &throughSender{of: t, inner: inner, failed: make(map[string]bool), closed: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.senders[s] = struct{}{}
	return s, nil
}

// Close implements Transport.
func (t *through) Close(ctx context.Context) error {
	t.mu.Lock()
	all := t.senders
	t.senders = make(map[*throughSender]struct{})
	t.mu.Unlock()
	for s := range all {
		s.end.Do(func() { close(s.closed) })
	}
	return t.Transport.Close(ctx)
}

type throughSender struct {
	of     *through
	inner  Sender
	failed map[string]bool // keys of which one was refused here; the sending goroutine's own
	end    sync.Once
	closed chan struct{}
}

// passage is one message on its way through the chain.
type passage struct {
	id, key string
	begun   atomic.Bool
	env     *sixfold.Envelope // as it was handed over
	handed  chan struct{}     // closed when it is
	answer  chan error        // of the broker
	last    error             // the same, for those who ask again
	done    chan error        // of the chain
	closed  <-chan struct{}
}

type passageKey struct{}

var (
	errOtherContext = errors.New("bus: a middleware called next with a context that is not from the one it was called with; pass that one on")
	errOtherMessage = errors.New("bus: a middleware changed the message's ID or Key, by which it is sent once and in order; leave them")
	errNotPassedOn  = errors.New("bus: a middleware answered nil and did not call next; call it, or answer an error")
)

// handOver is the end of the chain: it says that the message may be sent, and waits for the broker's answer.
func handOver(ctx context.Context, env *sixfold.Envelope) error {
	p, _ := ctx.Value(passageKey{}).(*passage)
	switch {
	case p == nil:
		return errOtherContext
	case !p.begun.CompareAndSwap(false, true): // one that Repeats, after the answer
		return p.last
	case env == nil || env.ID != p.id || env.Key != p.key:
		p.begun.Store(false)
		return errOtherMessage
	}
	p.env = env
	close(p.handed)
	select {
	case p.last = <-p.answer:
	case <-p.closed:
		p.last = ErrUnavailable
	}
	return p.last
}

// pass runs the chain for one message until it is handed over (nil) or refused.
func (s *throughSender) pass(ctx context.Context, o *Outgoing) (*passage, error) {
	own := *o.Envelope
	own.Headers = maps.Clone(own.Headers)
	p := &passage{id: own.ID, key: own.Key, handed: make(chan struct{}), answer: make(chan error, 1), done: make(chan error, 1), closed: s.closed}
	go func() {
		err := errors.New("bus: a middleware ended its goroutine (runtime.Goexit); answer an error instead")
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("bus: a middleware panicked: %v\n%s", r, debug.Stack())
			}
			p.done <- err
		}()
		err = s.of.chain(context.WithValue(ctx, passageKey{}, p), &own)
	}()
	select {
	case <-p.handed:
		return p, nil
	case err := <-p.done:
		if p.begun.Load() { // handed over and ended, for the sender is closed
			return p, nil
		}
		if err == nil {
			err = errNotPassedOn
		}
		for _, kind := range []error{ErrUnavailable, ErrUnroutable, ErrTooLarge, ErrRefused} {
			if errors.Is(err, kind) {
				return nil, err
			}
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
}

// Send implements Sender.
func (s *throughSender) Send(ctx context.Context, batch []Outgoing) Pending {
	w := &throughPending{errs: make([]error, len(batch)), at: make([]int, 0, len(batch))}
	outs := make([]Outgoing, 0, len(batch))
	for i := range batch {
		o := batch[i]
		if o.Key != "" && s.failed[o.Key] {
			w.errs[i] = ErrBehindFailed
			continue
		}
		p, err := s.pass(ctx, &o)
		if err != nil {
			w.errs[i] = err
			if o.Key != "" {
				s.failed[o.Key] = true
			}
			continue
		}
		o.Envelope = p.env
		outs = append(outs, o)
		w.at = append(w.at, i)
		w.passages = append(w.passages, p)
	}
	w.inner = s.inner.Send(ctx, outs)
	return w
}

// Close implements Sender.
func (s *throughSender) Close(ctx context.Context) error {
	s.of.mu.Lock()
	delete(s.of.senders, s)
	s.of.mu.Unlock()
	s.end.Do(func() { close(s.closed) })
	return s.inner.Close(ctx)
}

type throughPending struct {
	inner Pending
	at    []int // where the answers of inner belong

	mu       sync.Mutex
	errs     []error
	passages []*passage // nil where it has ended
}

// Wait implements Pending.
func (w *throughPending) Wait(ctx context.Context) []error {
	answers := w.inner.Wait(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range w.passages {
		if i >= len(answers) {
			break
		}
		err := answers[i]
		w.errs[w.at[i]] = err
		if p == nil || err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) { // in doubt: it is asked again
			continue
		}
		p.answer <- err
		<-p.done // what the chain makes of it changes nothing
		w.passages[i] = nil
	}
	return append([]error(nil), w.errs...)
}
