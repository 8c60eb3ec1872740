package request

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/planted"
)

// flows are those of a client. The zero value has none.
type flows struct {
	used atomic.Bool // there was one: replies have to be looked at

	mu     sync.Mutex // guards what follows; no other lock is taken under it but a flow's
	of     map[string]*flow
	left   map[string]struct{} // ids of those that ended lately
	ring   []string            // the same, from the oldest on
	oldest int
	closed bool
}

// enter takes a place, or says why there is none.
func (fs *flows) enter(f *flow, most int) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case fs.closed:
		return ErrClosed
	case len(fs.of) >= most:
		return ErrAtCapacity
	case fs.of == nil:
		fs.of, fs.left, fs.ring = make(map[string]*flow), make(map[string]struct{}), make([]string, 4*most)
	}
	fs.used.Store(true)
	fs.of[f.id] = f
	return nil
}

func (fs *flows) leave(f *flow) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.of, f.id)
	delete(fs.left, fs.ring[fs.oldest])
	fs.left[f.id] = struct{}{}
	fs.ring[fs.oldest] = f.id
	fs.oldest = (fs.oldest + 1) % len(fs.ring)
}

// find answers the flow of an id, or whether there was one.
func (fs *flows) find(id string) (f *flow, left bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	_, left = fs.left[id]
	return fs.of[id], left
}

// all answers those that are open.
func (fs *flows) all() []*flow {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	open := make([]*flow, 0, len(fs.of))
	for _, f := range fs.of {
		open = append(open, f)
	}
	return open
}

func (fs *flows) count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.of)
}

// lost ends the flows of a port.
func (fs *flows) lost(p *port) {
	for _, f := range fs.all() {
		f.lost(p)
	}
}

// close ends all flows, and lets none begin.
func (fs *flows) close() {
	fs.mu.Lock()
	fs.closed = true
	fs.mu.Unlock()
	for _, f := range fs.all() {
		f.end(ErrClosed)
	}
}

// takeFlow takes what came to a port if it belongs to a flow, or can belong to nothing else.
func (c *Client) takeFlow(from *port, p *Packet, kind string, version int) bool {
	if kind != KindReply && kind != KindItem && kind != KindAlive {
		return false
	}
	f, left := c.flows.find(p.Request)
	var found mark
	switch {
	case f != nil:
		proven := c.o.Verifier == nil || version == Version && p.Damaged == nil && c.signedRight(p)
		found = f.take(from, p, kind, version, proven)
	case left:
		found = markLate
	case kind == KindReply:
		return false
	default:
		found = markForged
	}
	if found != markRight {
		c.countMark(found)
	}
	return true
}

func (c *Client) countMark(found mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch found {
	case markLate:
		c.stats.Late++
	case markDuplicate:
		c.stats.Duplicate++
	case markForged:
		c.stats.Forged++
	case markMalformed:
		c.stats.Malformed++
	case markWrongVersion:
		c.stats.WrongVersion++
	}
}

// newFlow makes a flow and its first packet.
func (c *Client) newFlow(m sixfold.Message, many bool, opts []Option) (*flow, *call, error) {
	f := &flow{name: fmt.Sprintf("%T", m), many: many, wake: make(chan struct{}, 1)}
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer {
		return f, nil, invalid("a message is a plain value; pass the %s itself", v.Type().Elem())
	}
	f.name = m.MessageName()
	o := chosen(call{to: f.name, window: defaultWindow, want: maxWant}, opts)
	f.to = o.to
	errs := []error{o.err, sixfold.CheckHeaders(o.headers), c.lane.Check(f.to)}
	if o.again != 0 {
		errs = append(errs, invalid("option Retry: it is for calls with one answer; ask again when this one has ended"))
	}
	switch lane := c.lane.Capabilities(); {
	case many && !lane.Scatters:
		errs = append(errs, invalid("the lane %q does not carry a request to all who listen; use one whose Capabilities say Scatters, or Gather with a destination for each", lane.Name))
	case !many && !lane.Streams:
		errs = append(errs, invalid("the lane %q carries no streams; use one whose Capabilities say Streams, or answer pages", lane.Name))
	case many:
		f.window, f.seen = o.want, make(map[string]struct{})
	default:
		f.window, f.allowed = o.window, o.window
	}
	return f, &o, errors.Join(errs...)
}

// flow asks, and calls each with what comes until there is no more or each wants no more. It answers how that ended.
func (c *Client) flow(ctx context.Context, m sixfold.Message, many bool, opts []Option, each func(f *flow, p *Packet) (more bool, err error)) (*flow, error) {
	f, o, err := c.newFlow(m, many, opts)
	if err != nil {
		return f, err
	}
	ctx, cancel := c.until(ctx, o.timeout)
	defer cancel()
	if ctx.Err() != nil {
		return f, ended(ctx)
	}
	p := new(Packet)
	if err := c.encode(ctx, p, m, o); err != nil {
		return f, err
	}
	if f.id = p.Request; many {
		p.Protocol = scatterV1
	} else {
		p.Number = strconv.Itoa(f.window)
	}
	if err := c.flows.enter(f, c.o.MaxInFlight); err != nil {
		if errors.Is(err, ErrAtCapacity) {
			c.mu.Lock()
			c.stats.AtCapacity++
			c.mu.Unlock()
		}
		return f, err
	}
	defer func() { // also when each panics
		if port := f.leave(); port != nil && !planted.Is(planted.LeavingUnsaid) {
			c.cancel(ctx, port, f.id, f.to)
		}
		c.flows.leave(f)
	}()
	c.askFlow(ctx, f, p)
	if !many {
		f.said = time.Now() // what was said is the request
		heart := startPulse(ctx, c.o.Silence/3, func(ctx context.Context) { c.beat(ctx, f) })
		defer heart.stop()
	}
	for {
		p, err := f.next(ctx)
		if p == nil {
			return f, err
		}
		more, err := each(f, p)
		if p.release(); !more { // nobody else has it
			return f, err
		}
		if f.consumed() {
			c.credit(ctx, f)
		}
	}
}

// until is the context of a flow, with its only deadline.
func (c *Client) until(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		if _, ok := ctx.Deadline(); ok {
			return context.WithCancel(ctx)
		}
		timeout = c.o.Timeout
	}
	return context.WithTimeout(ctx, timeout)
}

// askFlow sends the request of a flow. What goes wrong is the flow's outcome.
func (c *Client) askFlow(ctx context.Context, f *flow, p *Packet) {
	port, err := c.open(ctx)
	if err == nil && !c.bindFlow(f, port) {
		err = ErrLost
	}
	if err == nil {
		deadline, _ := ctx.Deadline()
		if p.Timeout = timeLeft(time.Until(deadline)); p.Timeout == "" {
			<-ctx.Done()
			err = ended(ctx)
		} else if err = c.sign(p, f.to); err != nil {
			err = fmt.Errorf("%w: %w", ErrEncode, err)
		} else if err = port.Ask(ctx, f.to, p); err != nil && ctx.Err() != nil {
			err = ended(ctx)
		}
	}
	if err != nil {
		f.end(err)
	}
}

// bindFlow says to which port the flow's packets have to come. It reports false when the port was lost.
func (c *Client) bindFlow(f *flow, p *port) bool {
	f.mu.Lock()
	f.port = p
	f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return !p.lost // or it is lost later, and finds the flow
}

// beat looks whether a stream's responder is there, asks one of which nothing was heard since the last beat, and tells it that the caller is. Where
// the lane sees that nobody listens any more, it says so to that.
func (c *Client) beat(ctx context.Context, f *flow) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if closed {
		return
	}
	defer c.wg.Done()
	f.mu.Lock()
	now := time.Now()
	if !f.heard.IsZero() && now.Sub(f.heard) >= c.o.Silence && f.asked >= 2 { // else it is this process that has stood still
		f.finish(lostStream{"nothing was heard of its responder for " + c.o.Silence.String()})
	}
	every := c.o.Silence / 3
	ask := now.Sub(f.heard) >= every
	talk := !f.over && f.port != nil && (ask || now.Sub(f.said) > pulseEvery-every)
	if talk {
		f.told, f.said = true, now
	}
	if talk && ask {
		f.asked++
	}
	f.mu.Unlock()
	if talk {
		c.credit(ctx, f)
	}
}

// credit says how far a stream may go. What is lost of it is made good by the next.
func (c *Client) credit(ctx context.Context, f *flow) {
	f.mu.Lock()
	port, allowed := f.port, f.allowed
	f.mu.Unlock()
	p := &Packet{Protocol: creditV1, Request: f.id, Number: strconv.Itoa(allowed)}
	err := c.sign(p, f.to)
	if err == nil {
		err = port.Ask(ctx, f.to, p)
	}
	if err != nil {
		c.o.Logger.Debug("request: credit could not be sent", "request", f.id, "err", err)
	}
}
