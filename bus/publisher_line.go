package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// line is one Sender of a pipe.
type line struct {
	sender Sender
	open   int             // batches without an answer
	bad    map[string]bool // keys that failed
	worn   bool            // takes no more; closed when open is 0
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
		errs = append(errs, fmt.Errorf("%w: %w", ErrUnavailable, errNoAnswer))
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
