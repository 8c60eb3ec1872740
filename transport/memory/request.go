package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
)

// RequestLane carries requests and replies inside the process. It is safe for concurrent use. Nothing runs in the
// background: what is handed over is taken by the goroutine that hands it over.
type RequestLane struct {
	maxBody int
	prefix  string // of addresses: those of two lanes differ

	mu    sync.RWMutex // guards what follows
	last  uint64
	ports map[string]*requestPort
	ears  map[string]*audience
	down  bool
}

var _ request.Lane = (*RequestLane)(nil)

// RequestLaneOptions are optional; nil and the zero value mean the defaults.
type RequestLaneOptions struct {
	// MaxBody in bytes of a request or a reply. 0: 1 MiB.
	MaxBody int
}

// audience is who listens at a destination.
type audience struct {
	ears    []*requestEar // guarded by RequestLane.mu; what was read of it stays as it is
	stopped []*requestEar // likewise: those that take no more requests, but hear what belongs to theirs
	turn    atomic.Uint64
}

// NewRequestLane makes a lane. It has nothing to close: ports and ears are closed by who opened them.
func NewRequestLane(opts *RequestLaneOptions) (*RequestLane, error) {
	l := &RequestLane{maxBody: 1 << 20, prefix: "memory/" + sixfold.NewID() + "/", ports: make(map[string]*requestPort), ears: make(map[string]*audience)}
	if opts != nil && opts.MaxBody != 0 {
		l.maxBody = opts.MaxBody
	}
	if l.maxBody < 0 {
		return nil, fmt.Errorf("memory: option MaxBody: %w: it is %d; give 1 or more, or 0 for 1 MiB", sixfold.ErrInvalid, l.maxBody)
	}
	return l, nil
}

// Capabilities implements request.Lane.
func (l *RequestLane) Capabilities() request.Capabilities {
	return request.Capabilities{Name: "memory", DetectsLoss: true, DetectsGoneCaller: true, DetectsNoResponder: true, Cancels: true,
		Streams: true, Scatters: true, MaxBody: l.maxBody}
}

// Check implements request.Lane.
func (l *RequestLane) Check(destination string) error { return sixfold.CheckTopic(destination) }

// SetDown plays an outage: what is open is lost, and nothing can be opened until SetDown(false).
func (l *RequestLane) SetDown(down bool) {
	l.mu.Lock()
	l.down = down
	var lost []func(error)
	if down {
		for _, p := range l.ports {
			p.live.Store(false)
			lost = append(lost, p.in.Lost)
		}
		heard := map[*requestEar]bool{}
		for _, a := range l.ears {
			for _, e := range a.ears {
				if !heard[e] {
					heard[e] = true
					lost = append(lost, e.in.Lost)
				}
			}
		}
		l.ports, l.ears = make(map[string]*requestPort), make(map[string]*audience)
	}
	l.mu.Unlock()
	for _, f := range lost {
		f(errDown)
	}
}

// Put hands p to who listens at a destination as it is, with the address for answers that it states. It is for tests that
// play a hostile peer.
func (l *RequestLane) Put(destination string, p *request.Packet) {
	l.deliver(destination, p, p.ReplyTo)
}

// Open implements request.Lane.
func (l *RequestLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	l.last++
	p := &requestPort{l: l, in: in, address: l.prefix + strconv.FormatUint(l.last, 10)}
	p.live.Store(true)
	l.ports[p.address] = p
	return p, nil
}

// Listen implements request.Lane.
func (l *RequestLane) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	e := &requestEar{l: l, in: in}
	for _, d := range destinations {
		a := l.ears[d]
		if a == nil {
			a = new(audience)
			l.ears[d] = a
		}
		a.ears = append(a.ears, e)
	}
	return e, nil
}

// deliver hands a copy of p to one of those who listen, or to all. It reports whether there was one.
func (l *RequestLane) deliver(to string, p *request.Packet, replyTo string) bool {
	all := p.ToAll()
	l.mu.RLock()
	a := l.ears[to]
	var ears []*requestEar
	switch {
	case a == nil:
	case all && !strings.HasPrefix(p.Protocol, request.KindScatter+"/"):
		ears = slices.Concat(a.ears, a.stopped)
	default:
		ears = a.ears
	}
	l.mu.RUnlock()
	if len(ears) > 1 && !all {
		at := a.turn.Add(1) % uint64(len(ears))
		ears = ears[at : at+1]
	}
	for _, e := range ears {
		q := p.Clone()
		q.ReplyTo = replyTo
		if !strings.HasPrefix(replyTo, l.prefix) {
			q.ReplyTo = "" // none of ours
		}
		e.take(to, whole(q))
	}
	return len(ears) > 0
}

// whole notes what other lanes would not be able to read.
func whole(p *request.Packet) *request.Packet {
	if p.Damaged == nil && !p.Bare() && (p.Envelope.ID == "" || p.Envelope.Type == "") {
		p.Damaged = fmt.Errorf("memory: %w envelope: it has no id or no type", sixfold.ErrInvalid)
	}
	return p
}

var (
	errDown       = fmt.Errorf("memory: %w", bus.ErrUnavailable)
	errPortClosed = fmt.Errorf("memory: %w", bus.ErrClosed)
)

// requestPort is a caller.
type requestPort struct {
	l       *RequestLane
	in      request.Replies
	address string
	live    atomic.Bool // it is one of the lane's ports

	mu     sync.RWMutex // held for reading while something is handed over, so that Close waits for it
	closed bool
}

// Ask implements request.Port.
func (p *requestPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := len(packet.Envelope.Body); n > p.l.maxBody {
		return fmt.Errorf("memory: %w: %d bytes, the limit is %d", bus.ErrTooLarge, n, p.l.maxBody)
	}
	if !p.live.Load() { // and Lost says so, unless it was closed
		return errDown
	}
	if !p.l.deliver(to, packet, p.address) {
		p.in.Undeliverable(packet.Request)
	}
	return nil
}

func (p *requestPort) take(packet *request.Packet) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	p.in.Take(packet)
	return true
}

// Close implements request.Port.
func (p *requestPort) Close(context.Context) error {
	p.live.Store(false)
	p.l.mu.Lock()
	if p.l.ports[p.address] == p {
		delete(p.l.ports, p.address)
	}
	p.l.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// requestEar is a responder.
type requestEar struct {
	l  *RequestLane
	in request.Requests

	mu     sync.RWMutex // as that of requestPort
	closed atomic.Bool
}

func (e *requestEar) take(destination string, p *request.Packet) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.closed.Load() {
		e.in.Take(destination, p)
	}
}

// Answer implements request.Ear.
func (e *requestEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := len(reply.Envelope.Body); n > e.l.maxBody {
		return fmt.Errorf("memory: %w: %d bytes, the limit is %d", bus.ErrTooLarge, n, e.l.maxBody)
	}
	e.l.mu.RLock()
	p, down := e.l.ports[asked.ReplyTo], e.l.down
	e.l.mu.RUnlock()
	switch {
	case e.closed.Load():
		return errPortClosed
	case down:
		return errDown
	case p == nil:
		return request.ErrGone
	}
	if !p.take(whole(reply.Clone())) {
		return request.ErrGone
	}
	return nil
}

// StopListening implements request.Ear.
func (e *requestEar) StopListening(context.Context) error {
	e.leave(false)
	e.mu.Lock() // when nobody hands anything over
	defer e.mu.Unlock()
	return nil
}

// Close implements request.Ear.
func (e *requestEar) Close(context.Context) error {
	e.leave(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed.Store(true)
	return nil
}

// leave hears no more requests at any destination, and nothing at all if it does so altogether.
func (e *requestEar) leave(altogether bool) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	other := func(ears []*requestEar) []*requestEar { // deliver may have the old ones
		return slices.DeleteFunc(slices.Clone(ears), func(ear *requestEar) bool { return ear == e })
	}
	for d, a := range e.l.ears {
		listened := slices.Contains(a.ears, e)
		a.ears = other(a.ears)
		switch {
		case altogether:
			a.stopped = other(a.stopped)
		case listened:
			a.stopped = append(other(a.stopped), e)
		}
		if len(a.ears)+len(a.stopped) == 0 {
			delete(e.l.ears, d)
		}
	}
}
