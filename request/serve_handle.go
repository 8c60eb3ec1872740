package request

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/inctx"
	"github.com/sixfold-go/sixfold/internal/pass"
	"github.com/sixfold-go/sixfold/internal/planted"
)

// serving is one request at its handler, and the context of that.
type serving struct {
	limited
	pass.Pass
	info      sixfold.Info
	responder *Responder
	out       *outflow // nil: it is no stream
	result    any
	set       bool        // result is
	through   bool        // it has middleware
	cancelled atomic.Bool // by its caller
}

type servingKey struct{}

// Value implements context.Context.
func (s *serving) Value(key any) any {
	switch key.(type) {
	case inctx.Info:
		return &s.info
	case inctx.Pass:
		if s.through { // else somebody else's chain would take it
			return &s.Pass
		}
	case servingKey:
		return s
	}
	return s.limited.Value(key)
}

var (
	errNoServing = errors.New("request: a middleware handed on a context that is not made of the one it was given; pass that on, or one made of it")
	errNoResult  = errors.New("request: a middleware answered nil without calling next, and there is no result; let it call next, or answer an error")
)

// inside is what the middleware of a route is around.
func (e *entry) inside(ctx context.Context, env *sixfold.Envelope) error {
	s, ok := ctx.Value(servingKey{}).(*serving)
	if !ok {
		return errNoServing
	}
	result, err := e.handle(ctx, env)
	s.result, s.set = result, err == nil
	return err
}

// run runs a job unless its time has passed or its caller has cancelled it, and answers it.
func (r *Responder) run(j *job) {
	if planted.Is(planted.GoneCallerServed) {
		j.limited.deadline = time.Now().Add(time.Hour)
		j.cancelled.Store(false)
	}
	if time.Until(j.deadline) <= 0 { // which reads one clock, not two
		r.count(&r.stats.Expired)
		r.refuse(j.from, j.request, Expired)
		return
	}
	if j.cancelled.Load() {
		return
	}
	defer j.end()
	env := &j.envelope
	env.ReplyTo, env.Expires = j.request.ReplyTo, j.deadline
	s := &j.serving
	s.through, s.responder = j.entry.through != nil, r
	s.info = sixfold.Info{Envelope: env, Topic: j.destination, Consumer: "request", Attempt: 1}
	if j.out != nil {
		r.flow(j)
		return
	}
	result, err := r.call(s, j.entry, env)
	if err == nil {
		var reply *Packet
		if reply, err = r.reply(j, result); err == nil {
			r.answer(j.from, j.request, reply)
			reply.release() // no lane keeps it
			j.request.release()
			j.request = nil
			return
		}
	}
	c := categoryOf(s, err)
	if j.cancelled.Load() {
		return // nobody waits
	}
	r.o.Logger.Error("request: a request failed", "message", env.Type, "request", j.request.Request, "category", string(c), "err", err)
	r.answer(j.from, j.request, fault(r.o.Source, c))
}

// call calls the handler through its middleware. A panic is an error.
func (r *Responder) call(s *serving, e *entry, env *sixfold.Envelope) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("request: handler of %.64q: %w", env.Type, sixfold.NewPanicError(p))
		}
	}()
	if e.through == nil {
		return e.handle(s, env)
	}
	if err = e.through(s, env); err == nil && !s.set {
		err = errNoResult
	}
	return s.result, err
}

// reply makes the packet of an answer, in the codec of the request where that is known.
func (r *Responder) reply(j *job, result any) (*Packet, error) {
	out, ok := result.(kept) // that of Once has been encoded
	if !ok {
		var err error
		if out, err = r.encode(&j.envelope, result); err != nil {
			return nil, err
		}
	}
	p := packets.Get().(*Packet)
	p.Status = statusOK
	p.Envelope = sixfold.Envelope{ID: r.ids.next(), Source: r.o.Source, Type: j.entry.reply, ContentType: out.contentType, Body: out.body}
	return p, nil
}

// encode makes the body of an answer.
func (r *Responder) encode(request *sixfold.Envelope, result any) (kept, error) {
	c := codecOf(r.o.Codecs, request.ContentType)
	if c == nil {
		c = r.o.Codec
	}
	body, err := c.Marshal(result)
	if err != nil {
		return kept{}, fmt.Errorf("request: answer %.64q: %w: the result cannot be encoded: %w", request.Type, ErrEncode, err)
	}
	if most := r.lane.Capabilities().MaxBody; most > 0 && len(body) > most {
		return kept{}, fmt.Errorf("request: answer %.64q: %w", request.Type, tooLarge(len(body), most))
	}
	return kept{c.ContentType(), body}, nil
}

// answer sends a reply. Whatever becomes of it, the request does not run again.
func (r *Responder) answer(to *hearing, request, reply *Packet) {
	reply.Request = request.Request
	reply.Protocol = replyV1
	if _, version, ok := request.kind(); ok && version != Version { // the fault that tells versions apart is the same in all
		_, asked, _ := strings.Cut(request.Protocol, "/")
		reply.Protocol = KindReply + "/" + asked
	}
	select {
	case <-to.ready: // nearly always, and without a lock
	default:
		<-to.ready
	}
	err := r.sign(reply)
	switch {
	case err != nil:
	case to.ear == nil:
		err = errors.New("it does not listen")
	default:
		err = to.ear.Answer(to.ctx, request, reply)
	}
	if err == nil && reply.Status == statusOK {
		r.answered.Add(1)
		return
	}
	r.mu.Lock()
	switch {
	case errors.Is(err, ErrGone):
		r.stats.Gone++
	case err != nil:
		r.stats.Unsent++
	default:
		r.stats.Faults++
	}
	r.mu.Unlock()
	if err != nil && !errors.Is(err, ErrGone) {
		r.o.Logger.Warn("request: a reply could not be sent", "request", request.Request, "err", err)
	}
}

// ids are those of what a responder answers: no two of them are the same, and they cost less than UUIDs.
type ids struct {
	prefix string
	last   atomic.Uint64
}

func (i *ids) next() string {
	var room [48]byte
	return string(strconv.AppendUint(append(room[:0], i.prefix...), i.last.Add(1), 10))
}
