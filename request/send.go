package request

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
)

// An Option changes one call.
type Option func(*call)

// call is what is known of a call before it is made.
type call struct {
	to      string
	timeout time.Duration
	headers map[string]string
	id      string        // that the caller gave; empty: none
	again   time.Duration // between two tries; 0: there is one
	window  int           // of a stream
	want    int           // of a scattered request
	err     error
}

// To sends the request to another destination than its message's name.
func To(destination string) Option { return func(c *call) { c.to = destination } }

// Timeout bounds the call, within the deadline of its context.
func Timeout(d time.Duration) Option {
	return func(c *call) {
		if d <= 0 || d > maxTimeout {
			c.err = errors.Join(c.err, invalid("option Timeout: it is %v; give 1ms to %v, or leave it out", d, maxTimeout))
		}
		c.timeout = d
	}
}

// Headers adds user headers to the request's envelope.
func Headers(h map[string]string) Option {
	return func(c *call) {
		if c.headers == nil {
			c.headers = make(map[string]string, len(h))
		}
		maps.Copy(c.headers, h)
	}
}

// ID gives the request an id of the caller's choice, a UUID: a responder whose route is made with Once runs what has one source,
// message and id once, and answers all of it alike. So a call of unknown outcome can be made again with the same id and message.
func ID(id string) Option {
	return func(c *call) {
		if _, err := sixfold.ParseID(id); err != nil {
			c.err = errors.Join(c.err, fmt.Errorf("request: option ID: %w", err))
		}
		c.id = id
	}
}

// Retry asks again, with the same id, whenever no reply has come for so long, within the deadline of the call: also where nobody listened,
// the connection was lost, or the responder could not serve it (Unavailable). Use it for what Once answers, or what may
// happen several times. After the deadline the outcome is ErrTimeout.
func Retry(every time.Duration) Option {
	return func(c *call) {
		if every < time.Millisecond || every > maxTimeout {
			c.err = errors.Join(c.err, invalid("option Retry: it is %v; give 1ms to %v, or leave it out", every, maxTimeout))
		}
		c.again = every
	}
}

// Send asks the responder of m's name and answers what its handler answers: the type of the result is inferred from m,
// which embeds sixfold.Returns. One deadline, that of ctx or the default, is over connecting, sending and waiting; it goes with
// the request. Correlation, causation and trace are carried on from ctx.
//
// The call has exactly one outcome, at most 100 ms after its deadline: the reply; a *Fault; ErrTimeout, ErrCancelled or ErrLost,
// after which it is unknown whether the handler ran; ErrDecode, when it ran; or, when it did not, ErrNoResponder, ErrAtCapacity, ErrClosed (which can come
// during the call too, and then says nothing about the handler), ErrEncode, bus.ErrUnavailable, bus.ErrTooLarge, bus.ErrRefused or sixfold.ErrInvalid.
func Send[C sixfold.Command[R], R any](ctx context.Context, client *Client, m C, opts ...Option) (R, error) {
	var result R
	if client == nil {
		return result, invalid("send %T: the client is nil; make one with request.NewClient, and look at its error", m)
	}
	packet, name, to, err := client.call(ctx, m, opts)
	if err == nil {
		err = client.decode(packet, &result)
		packet.release() // nobody else has it
	}
	if err != nil {
		var none R
		if f := (*Fault)(nil); errors.As(err, &f) {
			return none, err
		}
		return none, about(name, to, err)
	}
	return result, nil
}

// call makes the call and answers the reply's packet.
func (c *Client) call(ctx context.Context, m sixfold.Message, opts []Option) (reply *Packet, name, to string, err error) {
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer {
		return nil, fmt.Sprintf("%T", m), "", invalid("a message is a plain value; pass the %s itself", v.Type().Elem())
	}
	name = m.MessageName()
	o := call{to: name}
	if len(opts) > 0 {
		o = chosen(o, opts)
	}
	to = o.to
	if err := errors.Join(o.err, sixfold.CheckHeaders(o.headers), c.lane.Check(to)); err != nil {
		return nil, name, to, err
	}
	caller := ctx
	ctx, own := c.bound(ctx, o.timeout)
	if own != nil {
		defer own.end()
	}
	if caller.Err() != nil {
		return nil, name, to, ended(caller)
	}
	p := packets.Get().(*Packet)
	if err := c.encode(ctx, p, m, &o); err != nil { // before it has a slot, which a codec that panics would keep
		return nil, name, to, err
	}
	t := try{ctx: ctx, caller: caller, name: name, to: to, again: o.again}
	if o.again == 0 {
		reply, err = c.attempt(&t, p)
	} else {
		reply, err = c.attempts(&t, p)
	}
	p.release() // no lane keeps it
	return reply, name, to, err
}

// try is what each try of a call has.
type try struct {
	ctx      context.Context
	caller   context.Context // ctx without the deadline of the call, for which there is the client's alarm
	name, to string
	again    time.Duration // after which another try follows; 0: none does
}

// errAgain is the outcome of a try that another one follows.
var errAgain = errors.New("no reply came yet")

// attempts tries until there is an outcome that another try would not change, or the call's context has ended.
func (c *Client) attempts(t *try, p *Packet) (*Packet, error) {
	for n := 0; ; n++ {
		begun := time.Now()
		reply, err := c.attempt(t, p)
		switch {
		case errors.Is(err, errAgain), errors.Is(err, ErrLost), errors.Is(err, ErrNoResponder), errors.Is(err, bus.ErrUnavailable),
			errors.Is(err, &Fault{Category: Unavailable}), n > 0 && errors.Is(err, ErrAtCapacity): // which would say that nothing was sent
		default:
			return reply, err
		}
		if !wait(t.ctx, time.Until(begun.Add(t.again))) {
			return nil, ended(t.ctx)
		}
		p.Request = sixfold.NewID() // what comes for the earlier one is late
	}
}

// attempt sends a request and waits for its outcome; errAgain is that of a try that took too long.
func (c *Client) attempt(t *try, p *Packet) (*Packet, error) {
	id := p.Request
	until, _ := t.ctx.Deadline()
	wait, ok := c.waiters.Get().(waiter)
	if !ok {
		wait = make(waiter, 1)
	}
	port, err := c.enter(id, t.name, until, wait)
	if err != nil {
		c.waiters.Put(wait)
		return nil, err
	}
	defer c.calls.Done()
	c.ask(t, port, p)
	out := c.await(t, id, wait)
	c.waiters.Put(wait) // it had its one outcome
	if out.port != nil && errors.Is(out.err, ErrCancelled) {
		c.cancel(t.ctx, out.port, id, t.to)
	}
	if out.err != nil {
		return nil, out.err
	}
	if out.reply.Status != statusOK {
		return nil, &Fault{Category: Category(out.reply.Status), Request: id, Message: t.name, Versions: quoteless(out.reply.Versions)}
	}
	return out.reply, nil
}

// await waits for the outcome of a try.
func (c *Client) await(t *try, id string, wait waiter) outcome {
	if t.again > 0 {
		timer := time.NewTimer(t.again)
		defer timer.Stop()
		select {
		case out := <-wait:
			return out
		case <-timer.C:
			c.leave(id, errAgain)
		case <-t.caller.Done():
			c.leave(id, ended(t.caller))
		}
		return <-wait // the outcome may have come at the same moment
	}
	select {
	case out := <-wait:
		return out
	case <-t.caller.Done():
		c.leave(id, ended(t.caller))
	}
	return <-wait
}

// chosen applies opts. It is apart so that a call without them allocates nothing for them.
func chosen(o call, opts []Option) call {
	for _, option := range opts {
		if option != nil {
			option(&o)
		}
	}
	return o
}

// bound makes the deadline of a call: the only one that it has. own is the context that was made for that, and has to be ended.
func (c *Client) bound(ctx context.Context, timeout time.Duration) (bounded context.Context, own *limited) {
	deadline, ok := ctx.Deadline()
	if timeout == 0 {
		if ok {
			return ctx, nil
		}
		timeout = c.o.Timeout
	}
	at := time.Now().Add(timeout)
	if ok && deadline.Before(at) {
		return ctx, nil
	}
	own = &limited{Context: ctx, deadline: at}
	return own, own
}

// encode makes the packet of a request, all but the time that is left.
func (c *Client) encode(ctx context.Context, p *Packet, m sixfold.Message, o *call) error {
	env := &p.Envelope
	if err := sixfold.InitEnvelope(ctx, env, c.o.Source, c.o.Codec, m); err != nil {
		return fmt.Errorf("%w: %w", ErrEncode, err)
	}
	env.Headers = o.headers
	if o.id != "" {
		if env.CorrelationID == env.ID {
			env.CorrelationID = o.id // the first of a chain is its own correlation
		}
		env.ID = o.id
	}
	if deadline, ok := ctx.Deadline(); ok {
		env.Expires = deadline.UTC().Round(0)
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		return fmt.Errorf("%w: %w", ErrEncode, err)
	}
	if most := c.lane.Capabilities().MaxBody; most > 0 && len(env.Body) > most {
		return fmt.Errorf("%w: %w", ErrEncode, tooLarge(len(env.Body), most))
	}
	p.Protocol, p.Request = requestV1, env.ID
	if o.id != "" {
		p.Request = sixfold.NewID() // that of this try
	}
	return nil
}

// ask sends the request of a slot, whose port this is; nil: there was none. What goes wrong is the slot's outcome.
func (c *Client) ask(t *try, port *port, p *Packet) {
	ctx, id := t.ctx, p.Request
	var err error
	if port == nil {
		if port, err = c.open(ctx); err == nil && !c.bind(id, port) {
			err = ErrLost
		}
	}
	if err == nil {
		deadline, _ := ctx.Deadline()
		if planted.Is(planted.DeadlineRestarted) {
			deadline = time.Now().Add(c.o.Timeout)
		}
		if p.Timeout = timeLeft(time.Until(deadline)); p.Timeout == "" { // connecting took it all, or it was less than a millisecond
			<-ctx.Done()
			err = ended(ctx)
		} else if err = c.sign(p, t.to); err != nil {
			err = fmt.Errorf("%w: %w", ErrEncode, err)
		} else if err = port.Ask(ctx, t.to, p); err != nil && ctx.Err() != nil {
			err = ended(ctx)
		}
	}
	if err != nil {
		c.leave(id, err)
	}
}

// cancel tells the responder that nobody waits any more: best effort, and the caller does not wait for it.
func (c *Client) cancel(ctx context.Context, port *port, id, to string) {
	const limit = time.Second
	if !c.lane.Capabilities().Cancels {
		return
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if closed {
		return
	}
	go func() {
		defer c.wg.Done()
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer stop()
		p := &Packet{Protocol: cancelV1, Request: id}
		err := c.sign(p, to)
		if err == nil {
			err = port.Ask(ctx, to, p)
		}
		if err != nil {
			c.o.Logger.Debug("request: a cancellation could not be sent", "err", err)
		}
	}()
}

// decode makes the result of a reply.
func (c *Client) decode(p *Packet, result any) error {
	if err := decodeBody(c.o.Codecs, &p.Envelope, result); err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return nil
}
