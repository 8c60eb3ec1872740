package request

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
)

// OnStream makes a Route of a function that answers a sequence, for callers that use Stream. Both types are inferred: the query embeds
// sixfold.Returns[iter.Seq2[T, error]]. The sequence waits in its yield until the caller can take more, and is told to stop when the caller
// leaves; the first error that it yields ends it. The middleware is around the whole of it. A stream takes one of
// ServeOptions.MaxConcurrent for as long as it lasts.
func OnStream[Q sixfold.Query[iter.Seq2[T, error]], T any](h func(ctx context.Context, q Q) iter.Seq2[T, error]) Route {
	if h == nil {
		r := routeOf[Q]()
		r.err = errors.Join(r.err, invalid("route %.64q: the handler is nil; pass a function that takes a context and the query", r.name))
		return r
	}
	return streamRoute(func(ctx context.Context, q Q) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for item, err := range h(ctx, q) {
				if !yield(item, err) {
					return
				}
			}
		}
	})
}

// streamRoute makes the route of a stream with items of any type.
func streamRoute[Q sixfold.Message](h func(ctx context.Context, q Q) iter.Seq2[any, error]) Route {
	r := routeOf[Q]()
	r.stream = true
	r.handle = func(ctx context.Context, env *sixfold.Envelope) (any, error) {
		q, err := sixfold.Decode[Q](ctx, env)
		if err != nil {
			return nil, err
		}
		s, ok := ctx.Value(servingKey{}).(*serving)
		if !ok || s.out == nil {
			return nil, errNoServing
		}
		if s.out.begun.Swap(true) {
			return nil, errStreamRepeated
		}
		for item, err := range h(ctx, q) {
			if err == nil {
				err = s.out.emit(ctx, env, item)
			}
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return r
}

// outflow is a stream at its handler.
type outflow struct {
	r       *Responder
	j       *job
	allowed atomic.Int64 // the number up to which items may be sent
	heard   atomic.Int64 // when the caller was heard, in nanoseconds since began
	began   time.Time
	more    chan struct{}         // room for one: allowed has changed
	gone    atomic.Bool           // the caller has, or nothing reaches it
	torn    sync.Once             // the connection was lost
	begun   atomic.Bool           // the handler was called
	probed  atomic.Bool           // the caller asks whether it is there
	heart   atomic.Pointer[pulse] // nil: its handler does not run yet

	mu   sync.Mutex // held while something is sent, so that it is in order
	sent int
	said bool // since the last beat
}

var (
	errCallerSilent   = errors.New("the caller has gone: nothing was heard of it")
	errStreamRepeated = errors.New("request: a middleware called the handler of a stream again; what was sent cannot be taken back")
	errHearingOver    = errors.New("the connection was lost, and the stream with it")
)

func newOutflow(r *Responder, j *job, credit int) *outflow {
	o := &outflow{r: r, j: j, began: time.Now(), more: make(chan struct{}, 1)}
	o.allowed.Store(int64(credit))
	return o
}

// grant takes credit. It comes again, and may come late: the most counts. What grants nothing new asks for a sign of life.
func (o *outflow) grant(n int64) {
	o.heard.Store(int64(time.Since(o.began)))
	for {
		now := o.allowed.Load()
		if n <= now {
			if heart := o.heart.Load(); heart != nil {
				o.probed.Store(true)
				heart.soon()
			}
			return
		}
		if o.allowed.CompareAndSwap(now, n) {
			break
		}
	}
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// emit waits for credit and sends an item. After an error the stream is over.
func (o *outflow) emit(ctx context.Context, env *sixfold.Envelope, item any) error {
	if err := o.wait(ctx); err != nil {
		return err
	}
	out, err := o.r.encode(env, item)
	if err != nil {
		return err
	}
	p := packets.Get().(*Packet)
	defer p.release() // no lane keeps it
	p.Protocol = itemV1
	p.Envelope = sixfold.Envelope{ID: o.r.ids.next(), Source: o.r.o.Source, Type: env.Type + ItemSuffix, ContentType: out.contentType, Body: out.body}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent++
	return o.send(p)
}

// wait returns when an item may be sent. Only the handler sends them.
func (o *outflow) wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if int64(o.sent) < o.allowed.Load() || planted.Is(planted.CreditIgnored) {
			return nil
		}
		select {
		case <-o.more:
		case <-ctx.Done():
		case <-o.j.from.ctx.Done():
			o.tear(errHearingOver)
			return errHearingOver
		}
	}
}

// send sends p with the number of items that were sent. mu is held.
func (o *outflow) send(p *Packet) error {
	to := o.j.from
	p.Request, p.Number = o.j.request.Request, strconv.Itoa(o.sent)
	o.said = true
	<-to.ready
	err := o.r.sign(p)
	switch {
	case err != nil:
		return err
	case to.ear == nil:
		err = errHearingOver
	default:
		err = to.ear.Answer(to.ctx, o.j.request, p)
	}
	own := errors.Is(err, bus.ErrTooLarge) || errors.Is(err, bus.ErrRefused) // the item's: a fault can still be sent
	switch {
	case err == nil, own:
	case !errors.Is(err, ErrGone):
		o.tear(err)
	case !o.gone.Swap(true):
		o.r.count(&o.r.stats.Gone)
	}
	return err
}

// tear ends a stream whose connection was lost, and has the caller told over the next one: nothing else would until the caller takes the
// responder for dead.
func (o *outflow) tear(why error) {
	o.torn.Do(func() {
		o.gone.Store(true)
		o.j.end()
		o.r.count(&o.r.stats.Unsent)
		o.r.o.Logger.Warn("request: nothing more of a stream can be sent, and the stream ends", "request", o.j.request.Request, "err", why)
		o.r.tellTorn(o.j)
	})
}

// beat tells the caller that the stream goes on, and looks whether the caller is there.
func (o *outflow) beat(context.Context) {
	if time.Since(o.began)-time.Duration(o.heard.Load()) > silence {
		if !o.gone.Swap(true) {
			o.r.count(&o.r.stats.Gone)
			o.r.o.Logger.Info("request: a stream ends", "request", o.j.request.Request, "err", errCallerSilent)
		}
		o.j.end()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if probed := o.probed.Swap(false); (probed || !o.said) && o.send(&Packet{Protocol: aliveV1}) != nil {
		o.j.end()
	}
	o.said = false
}

// flow runs the handler of a stream and answers its end: nobody if the caller does not wait for it.
func (r *Responder) flow(j *job) {
	o, s := j.out, &j.serving
	heart := startPulse(s, pulseEvery, o.beat)
	o.heart.Store(heart)
	defer heart.stop() // also where the handler ends its goroutine
	defer context.AfterFunc(j.from.ctx, func() { o.tear(errHearingOver) })()
	_, err := r.call(s, j.entry, &j.envelope)
	heart.stop()
	if j.from.ctx.Err() != nil {
		o.tear(errHearingOver)
	}
	switch {
	case err == nil && o.gone.Load(), err != nil && (o.gone.Load() || j.cancelled.Load()):
		return
	case err == nil:
		p := &Packet{Status: statusOK, Number: strconv.Itoa(o.sent)}
		p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: r.o.Source, Type: j.envelope.Type + ReplySuffix}
		r.answer(j.from, j.request, p)
		return
	}
	c := categoryOf(s, err)
	r.o.Logger.Error("request: a stream failed", "message", j.envelope.Type, "request", j.request.Request, "category", string(c), "err", err)
	r.answer(j.from, j.request, fault(r.o.Source, c))
}

// takeCredit lets a stream go on, if it comes from who has asked.
func (r *Responder) takeCredit(p *Packet) {
	n, ok := digits(p.Number)
	if !ok {
		r.count(&r.stats.Dropped)
		return
	}
	r.mu.Lock()
	j := r.jobs[jobKey{p.ReplyTo, p.Request}]
	r.mu.Unlock()
	if j == nil || j.out == nil {
		return
	}
	if issuer, ok := r.proves(p, j.destination); ok && issuer == j.issuer {
		j.out.grant(int64(n))
	}
}

// torn is a stream that was lost with its connection, and when.
type torn struct {
	request *Packet
	at      time.Time
}

// tellTorn answers a stream that was lost by a fault, over the next connection: now if there is one, or when there is.
func (r *Responder) tellTorn(j *job) {
	p := &Packet{Protocol: j.request.Protocol, Request: j.request.Request, ReplyTo: j.request.ReplyTo}
	r.mu.Lock()
	next := r.hearing
	if next == j.from {
		next = nil
		r.torn = append(r.torn, torn{p, time.Now()})
	}
	r.mu.Unlock()
	if next != nil {
		r.refuse(next, p, Unavailable)
	}
}

// hears begins with a connection: callers of what was lost with those before are told, unless they have given up by now.
func (r *Responder) hears(h *hearing) {
	r.mu.Lock()
	lost := r.torn
	r.hearing, r.torn = h, nil
	r.mu.Unlock()
	for _, t := range lost {
		if time.Since(t.at) < silence {
			r.refuse(h, t.request, Unavailable)
		}
	}
}
