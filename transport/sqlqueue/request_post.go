package sqlqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
)

// requestPost is what ports and ears have in common: a place in the database that is kept while they are there, and the
// goroutine that reads what comes to it.
type requestPost struct {
	l     *RequestLane
	place string
	take  func(address string, p *request.Packet)
	now   chan struct{} // has one: look now, and again soon
	ctx   context.Context
	end   context.CancelFunc
	over  sync.WaitGroup

	reading sync.Mutex // held while something is read and handed over

	keeping   sync.Mutex // held while the place is kept
	addresses []string   // that are, guarded by keeping

	mu     sync.Mutex
	closed bool // guarded by mu
}

// takeRows is how much is read at once.
const takeRows = 64

// requestBinding does not change.
var requestBinding = cloudevents.NATS()

func newRequestPost(l *RequestLane, place string, addresses []string, take func(string, *request.Packet)) *requestPost {
	return &requestPost{l: l, place: place, addresses: addresses, take: take, now: make(chan struct{}, 1)}
}

// begin enters the place and lets the reading begin.
func (p *requestPost) begin(ctx context.Context) error {
	if err := p.l.store.Stay(ctx, p.place, p.addresses, p.l.o.Lease); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("sqlqueue: %w", outage(err))
	}
	p.ctx, p.end = context.WithCancel(context.WithoutCancel(ctx))
	p.over.Go(p.read)
	p.over.Go(p.beat)
	return nil
}

// put writes a packet.
func (p *requestPost) put(ctx context.Context, to string, all bool, packet *request.Packet, replyTo string, keep time.Duration) (int, error) {
	if n := len(packet.Envelope.Body); n > p.l.o.MaxBody {
		return 0, fmt.Errorf("sqlqueue: %w: %d bytes of body, the limit is %d; send less, or raise MaxBody", bus.ErrTooLarge, n, p.l.o.MaxBody)
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return 0, fmt.Errorf("sqlqueue: %w", bus.ErrClosed)
	}
	head, err := RequestHead(packet, replyTo)
	if err != nil {
		return 0, err
	}
	n, err := p.l.store.Put(ctx, to, all, head, packet.Envelope.Body, keep)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("sqlqueue: %w", outage(err))
	}
	return n, nil
}

// RequestHead is the head of a packet's row: a JSON array of names and values, those of the binding of NATS and the protocol's
// own, and "reply-to" with the address for answers, if there is one. It is for who writes such rows without a lane.
func RequestHead(packet *request.Packet, replyTo string) ([]byte, error) {
	heads, err := packet.AppendHeaders(nil, requestBinding)
	if err != nil {
		return nil, fmt.Errorf("sqlqueue: %w: %w", bus.ErrRefused, err)
	}
	named := make([][2]string, 0, len(heads)+1)
	for _, h := range heads {
		named = append(named, [2]string{h.Name, h.Value})
	}
	if replyTo != "" {
		named = append(named, [2]string{headerReplyTo, replyTo})
	}
	head, err := json.Marshal(named)
	if err != nil {
		return nil, fmt.Errorf("sqlqueue: %w: %w", bus.ErrRefused, err)
	}
	return head, nil
}

// headerReplyTo has the address for answers.
const headerReplyTo = "reply-to"

// packet reads a row.
func packet(head, body []byte, waited time.Duration) *request.Packet {
	var named [][2]string
	_ = json.Unmarshal(head, &named) // what is no list of headers is a packet without any, which says what is wrong
	replyTo := ""
	p := request.ReadPacket(requestBinding, func(yield func(string, string) bool) {
		for _, h := range named {
			if h[0] == headerReplyTo {
				replyTo = h[1]
			} else if !yield(h[0], h[1]) {
				return
			}
		}
	}, body)
	p.ReplyTo, p.Waited = replyTo, waited
	return p
}

// hurry has the reader look now, and again soon.
func (p *requestPost) hurry() {
	select {
	case p.now <- struct{}{}:
	default:
	}
}

// collect hands over what has come.
func (p *requestPost) collect(ctx context.Context) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	return p.l.store.Take(ctx, p.place, takeRows, func(at string, head, body []byte, waited time.Duration) {
		p.take(at, packet(head, body, waited))
	})
}

// read looks for what comes until Close: at once when the bell rings, else a millisecond after the last event and then half
// as often each time.
func (p *requestPost) read() {
	rings, stop := p.l.store.Bell().Listen()
	defer stop()
	wait, away := time.Millisecond, false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		n, err := p.collect(p.ctx)
		switch {
		case p.ctx.Err() != nil:
			return
		case err != nil:
			if !away {
				p.l.o.Logger.Warn("sqlqueue: requests cannot be read; it is tried again", "err", err)
			}
			away, wait = true, max(wait, 50*time.Millisecond)
		default:
			away = false
		}
		if n > 0 {
			wait = time.Millisecond
		}
		if n == takeRows {
			continue
		}
		timer.Reset(wait)
		wait = min(2*wait, p.l.o.Poll)
		for waiting := true; waiting; {
			select {
			case r := <-rings:
				waiting = r == outbox.Soon // of somebody's transaction: it is none of ours
			case <-p.now:
				wait, waiting = time.Millisecond, false
			case <-timer.C:
				waiting = false
			case <-p.ctx.Done():
				return
			}
		}
	}
}

// beat keeps the place until Close.
func (p *requestPost) beat() {
	every := p.l.o.Lease / 3
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return
		}
		p.keeping.Lock()
		err := p.l.store.Stay(p.ctx, p.place, p.addresses, p.l.o.Lease)
		p.keeping.Unlock()
		next := every
		if err != nil && p.ctx.Err() == nil {
			p.l.o.Logger.Debug("sqlqueue: a place for requests cannot be kept; it is tried again", "err", err)
			next = min(every, time.Second)
		}
		t.Reset(next)
	}
}

// stopBeating keeps these addresses no longer.
func (p *requestPost) stopBeating(addresses []string) {
	p.keeping.Lock()
	defer p.keeping.Unlock()
	p.addresses = slices.DeleteFunc(slices.Clone(p.addresses), func(a string) bool { return slices.Contains(addresses, a) })
}

// Close implements request.Port and request.Ear.
func (p *requestPost) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	p.end()
	over := make(chan struct{})
	go func() {
		p.over.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !first {
		return nil
	}
	p.keeping.Lock()
	defer p.keeping.Unlock()
	if err := p.l.store.Leave(ctx, p.place, p.addresses); err != nil { // it goes with its lease
		p.l.o.Logger.Debug("sqlqueue: a place for requests could not be left in order", "err", err)
	}
	return nil
}
