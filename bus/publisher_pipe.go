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

// line is one Sender of a pipe.
type line struct {
	sender Sender
	open   int             // batches without an answer
	bad    map[string]bool // keys that failed
	worn   bool            // takes no more; closed when open is 0
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

// handOver sends what waits, batch after batch; it waits for the answers of the last one itself.
func (p *pipe) handOver() {
	defer p.work.Done()
	for {
		p.mu.Lock()
		batch := p.takeBatch()
		if len(batch) == 0 {
			p.busy = false
			p.mu.Unlock()
			return
		}
		ln, err := p.lineFor(batch) // unlocks
		if err != nil {
			p.refuse(batch, err)
			continue
		}
		batch, outs := p.launch(batch)
		pending := ln.sender.Send(p.ctx, outs)
		p.mu.Lock()
		for _, x := range batch {
			if x.state == flying {
				x.call.unsent--
				x.call.check()
			}
		}
		more := p.sendable()
		p.busy = more
		p.mu.Unlock()
		if !more {
			p.await(ln, pending, batch)
			return
		}
		p.work.Add(1)
		go func() {
			defer p.work.Done()
			p.await(ln, pending, batch)
		}()
	}
}

// launch answers what is left of a batch, whose callers may have given up meanwhile, as it is sent.
func (p *pipe) launch(batch []*parcel) ([]*parcel, []Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []*parcel
	var outs []Outgoing
	for _, x := range batch {
		if x.state == chosen {
			x.state = flying
			left = append(left, x)
			outs = append(outs, x.out)
		} else {
			delete(p.flying, x.out.Key)
		}
	}
	return left, outs
}

// lineFor answers the line that the batch goes to, with the batch entered, and unlocks the pipe.
func (p *pipe) lineFor(batch []*parcel) (*line, error) {
	ln := p.line
	var old *line
	if ln != nil && (ln.worn || slices.ContainsFunc(batch, func(x *parcel) bool { return ln.bad[x.out.Key] })) {
		ln.worn = true
		if ln.open == 0 {
			old = ln
		}
		ln, p.line = nil, nil
	}
	if ln != nil {
		ln.open++
		p.mu.Unlock()
		return ln, nil
	}
	p.mu.Unlock()
	p.hangUp(old)
	s, err := p.opener.Open(p.ctx)
	if err == nil && s == nil {
		err = fmt.Errorf("%w: the transport opened nothing", ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	ln = &line{sender: s, open: 1, bad: make(map[string]bool)}
	p.mu.Lock()
	p.line = ln
	p.mu.Unlock()
	return ln, nil
}

func (p *pipe) hangUp(ln *line) {
	if ln == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 5*time.Second)
	defer cancel()
	if err := ln.sender.Close(ctx); err != nil && !errors.Is(err, ErrClosed) {
		p.log.Warn("bus: closing a sender failed", "error", err)
	}
}

// refuse answers a batch that was not sent.
func (p *pipe) refuse(batch []*parcel, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range batch {
		delete(p.flying, x.out.Key)
		p.answer(x, fmt.Errorf("bus: open a sender: it was not sent: %w", err))
	}
}

// await waits for the broker's answers to a batch.
func (p *pipe) await(ln *line, pending Pending, batch []*parcel) {
	errs := pending.Wait(p.ctx)
	for len(errs) < len(batch) {
		errs = append(errs, fmt.Errorf("%w: the driver gave no answer", ErrUnavailable))
	}
	p.mu.Lock()
	var repeat []*parcel
	lost := 0
	var example error
	for i, x := range batch {
		err := errs[i]
		key := x.out.Key
		delete(p.flying, key)
		switch {
		case err == nil, errors.Is(err, ErrUnroutable) && x.out.MayMiss:
		case errors.Is(err, ErrBehindFailed) && !x.call.failed[key] && x.repeats < maxRepeats:
			ln.bad[key] = true
			x.repeats++
			x.state = waiting
			x.call.unsent++
			repeat = append(repeat, x)
			continue
		default:
			ln.worn = ln.worn || !certain(err)
			if key != "" {
				ln.bad[key] = true
			}
			if !certain(err) {
				err = fmt.Errorf("bus: send: %w: %w", ErrInDoubt, err)
			}
			if x.call.unconfirmed {
				lost++
				example = err
			}
		}
		p.answer(x, err)
	}
	p.queue = append(repeat, p.queue...)
	ln.open--
	var old *line
	if ln.worn && ln.open == 0 {
		old = ln
		if p.line == ln {
			p.line = nil
		}
	}
	p.start()
	p.mu.Unlock()
	if lost > 0 {
		p.log.Warn("bus: unconfirmed messages were not taken by the broker", "messages", lost, "error", example)
	}
	p.hangUp(old)
}

// certain reports whether err says that the broker did not take the envelope.
func certain(err error) bool {
	return !errors.Is(err, ErrUnavailable) && (errors.Is(err, ErrTooLarge) || errors.Is(err, ErrUnroutable) || errors.Is(err, ErrRefused) || errors.Is(err, ErrBehindFailed))
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
