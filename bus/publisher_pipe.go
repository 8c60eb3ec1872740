package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// pipe lets many goroutines send through one Sender. What waits while a batch is handed over becomes the next batch.
// When the Sender has lost its connection, or a key that failed in it is needed again, the pipe opens another one and
// closes the old one after its last answer. Nothing is repeated whose fate is unknown.
type pipe struct {
	opener Opener
	prefix bool // many envelopes of one key may be unconfirmed
	log    *slog.Logger
	ctx    context.Context // of all sending; ends when close gives up
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines, each with envelopes on their way

	mu     sync.Mutex
	queue  []*parcel
	busy   bool // a goroutine hands over
	line   *line
	flying map[string]bool // keys with an unconfirmed envelope, where prefix is false
	closed bool
}

// parcel is one envelope of a call.
type parcel struct {
	out     Outgoing
	call    *call
	state   parcelState
	err     error
	repeats int
}

type parcelState int

const (
	waiting parcelState = iota // in the queue
	chosen                     // for the next batch
	flying                     // handed over, as far as the caller can know
	answered
)

// call is one call of send.
type call struct {
	parcels     []parcel
	unconfirmed bool
	unsent      int             // still waiting
	left        int             // not answered
	failed      map[string]bool // keys
	ready       chan struct{}
	isReady     bool
}

// maxRepeats of an envelope that was not taken because an earlier one of its key, of another caller, failed.
const maxRepeats = 5

func newPipe(o Opener, prefix bool, log *slog.Logger) *pipe {
	p := &pipe{opener: o, prefix: prefix, log: log, flying: make(map[string]bool)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// send answers one error per envelope when the broker has answered for all of them; with unconfirmed, when they are
// handed over. An error that leaves the envelope's fate open wraps ErrInDoubt; with any other it was not taken.
func (p *pipe) send(ctx context.Context, outs []Outgoing, unconfirmed bool) []error {
	c := &call{parcels: make([]parcel, len(outs)), unconfirmed: unconfirmed, unsent: len(outs), left: len(outs), ready: make(chan struct{})}
	p.mu.Lock()
	for i, out := range outs {
		x := &c.parcels[i]
		x.out, x.call = out, c
		if p.closed {
			p.answer(x, fmt.Errorf("bus: send: %w", ErrClosed))
		} else {
			p.queue = append(p.queue, x)
		}
	}
	p.start()
	p.mu.Unlock()
	select {
	case <-c.ready:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.isReady {
		p.queue = slices.DeleteFunc(p.queue, func(x *parcel) bool { return x.call == c })
	}
	errs := make([]error, len(outs))
	for i := range c.parcels {
		x := &c.parcels[i]
		switch {
		case x.state == waiting || x.state == chosen:
			errs[i] = fmt.Errorf("bus: send: it was not sent: %w", ctx.Err())
			p.answer(x, errs[i])
		case x.state == flying && !unconfirmed:
			errs[i] = fmt.Errorf("bus: send: %w: %w", ErrInDoubt, ctx.Err())
		default:
			errs[i] = x.err
		}
	}
	return errs
}

// start makes a goroutine hand over what can be sent, if none does. The pipe is locked.
func (p *pipe) start() {
	if !p.busy && p.sendable() {
		p.busy = true
		p.work.Add(1)
		go p.handOver()
	}
}

func (p *pipe) sendable() bool {
	if p.prefix {
		return len(p.queue) > 0
	}
	return slices.ContainsFunc(p.queue, func(x *parcel) bool { return !p.flying[x.out.Key] })
}

// takeBatch takes what can be sent now out of the queue. The pipe is locked.
func (p *pipe) takeBatch() []*parcel {
	if p.prefix {
		batch := p.queue
		p.queue = nil
		for _, x := range batch {
			x.state = chosen
		}
		return batch
	}
	var batch, rest []*parcel
	for _, x := range p.queue {
		switch key := x.out.Key; {
		case key != "" && x.call.failed[key]:
			p.answer(x, fmt.Errorf("bus: send: %w", ErrBehindFailed))
		case p.flying[key]:
			rest = append(rest, x)
		default:
			if key != "" {
				p.flying[key] = true
			}
			x.state = chosen
			batch = append(batch, x)
		}
	}
	p.queue = rest
	return batch
}

// answer notes the end of one envelope. The pipe is locked.
func (p *pipe) answer(x *parcel, err error) {
	c := x.call
	if x.state == answered {
		return
	}
	if x.state == waiting || x.state == chosen {
		c.unsent--
	}
	x.state, x.err = answered, err
	if err != nil && x.out.Key != "" && !(x.out.MayMiss && errors.Is(err, ErrUnroutable)) {
		if c.failed == nil {
			c.failed = make(map[string]bool)
		}
		c.failed[x.out.Key] = true
	}
	c.left--
	c.check()
}

// check wakes the caller when there is nothing left to wait for. The pipe is locked.
func (c *call) check() {
	if !c.isReady && (c.left == 0 || c.unconfirmed && c.unsent == 0) {
		c.isReady = true
		close(c.ready)
	}
}

// close takes no more, waits for the answers of what was sent while ctx lasts, and closes the sender. Calling it
// again waits again.
func (p *pipe) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		p.work.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("bus: close: %w: messages have no answer yet: %w", ErrInDoubt, ctx.Err())
		p.cancel()
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-idle:
		case <-t.C:
		}
	}
	p.mu.Lock()
	ln := p.line
	p.line = nil
	p.mu.Unlock()
	p.hangUp(ln)
	p.cancel()
	return err
}
