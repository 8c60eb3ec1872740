package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// settleBatch bounds the rows of one settling statement.
const settleBatch = 10_000

// waitForConfirms takes flights in the order of their sends and sorts their rows into confirmed, blocked and given up.
func (p *pump) waitForConfirms(ctx context.Context, sent <-chan *flight, confirmed chan<- *flight) {
	defer close(confirmed)
	for f := range sent {
		errs := f.pending.Wait(ctx)
		p.judge(ctx, f, errs)
		confirmed <- f
	}
}

// judge notes what of f is confirmed, or counts as such, and what becomes of the rest.
func (p *pump) judge(ctx context.Context, f *flight, errs []error) {
	seqs := make([]int64, 0, len(f.rows))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range f.rows {
		err := errBadPending
		if i < len(errs) {
			err = errs[i]
		}
		switch {
		case err == nil:
		case errors.Is(err, bus.ErrUnroutable) && r.out.MayMiss:
			p.missed(r)
		case isPoison(err):
			p.poison(r, err)
			p.putBack(p.keys.failed(r.out.Key))
			continue
		case errors.Is(err, bus.ErrBehindFailed):
			p.putBack(append(p.keys.failed(r.out.Key), r))
			continue
		default: // an outage: nobody's fault, and no attempt is spent on it
			if p.down == nil {
				p.down = err
				if h := p.opts.Hooks.Failed; h != nil && ctx.Err() == nil {
					h(p.class, nil, err)
				}
			}
			p.keys.failed(r.out.Key)
			p.giveUpRow(r.seq)
			p.doubt(r, err)
			continue
		}
		seqs = append(seqs, r.seq)
		p.arrived = true
		if len(p.blocks.by) > 0 {
			p.blocks.settled(r)
		}
		if !p.ordered {
			p.keys.confirmed(r.out.Key)
		}
		if len(p.doubtful) > 0 {
			delete(p.doubtful, r.seq)
		}
	}
	f.confirmed = seqs
}

// isPoison tells what the broker does not take of one row from an outage, which is none of its business.
func isPoison(err error) bool {
	return errors.Is(err, bus.ErrUnroutable) || errors.Is(err, bus.ErrTooLarge) || errors.Is(err, bus.ErrRefused)
}

// putBack makes rows that were not sent be read again, under mu: at once, or with the failed row of their key that they
// come after.
func (p *pump) putBack(rows []outRow) {
	for _, r := range rows {
		if !p.blocks.hold(r.out.Key, r.seq) {
			p.giveUpRow(r.seq) // it comes before the failed row, or that one has got through meanwhile
		}
	}
}

var errBadPending = errors.New("outbox: the driver answered fewer results than it was handed envelopes; run bustest on it")

// poison blocks, under mu, the key of a row that the broker does not take.
func (p *pump) poison(r outRow, err error) {
	known := p.blocks.by[blockOf(r.out.Key, r.seq)] != nil
	f := p.blocks.add(r, time.Now(), err)
	if !known {
		p.log.Warn("outbox relay: the broker does not take a message; its key waits until it does", "id", r.out.ID, "topic", r.out.Topic, "type", r.out.Type, "err", err)
	}
	if h := p.opts.Hooks.Failed; h != nil {
		row := *f
		h(p.class, &row, err)
	}
}

func (p *pump) missed(r outRow) {
	if h := p.opts.Hooks.Missed; h != nil {
		h(p.class, r.out.Topic, r.out.Type)
	}
	if _, known := p.misses[r.out.Type]; !known {
		if p.misses == nil {
			p.misses = make(map[string]int64)
		}
		p.log.Warn("outbox relay: the broker has no place for a message that may miss; it is counted, and not sent again", "topic", r.out.Topic, "type", r.out.Type)
	}
	p.misses[r.out.Type]++
}

// settleConfirmed removes confirmed rows, as many at once as have been confirmed meanwhile.
func (p *pump) settleConfirmed(ctx context.Context, n *tenure, confirmed <-chan *flight) {
	b := backoff{log: p.log, what: "outbox relay cannot settle what the broker has confirmed"}
	for f := range confirmed {
		all, seqs := []*flight{f}, f.confirmed
	more:
		for len(seqs) < settleBatch {
			select {
			case f, open := <-confirmed:
				if !open {
					break more
				}
				all, seqs = append(all, f), append(seqs, f.confirmed...)
			default:
				break more
			}
		}
		if p.settle(ctx, n, seqs, &b) {
			p.land(all)
		}
		p.nudge()
	}
}

// settle removes seqs, whatever it takes, until ctx ends or the node is lost (false).
func (p *pump) settle(ctx context.Context, n *tenure, seqs []int64, b *backoff) bool {
	for len(seqs) > 0 {
		if ctx.Err() != nil || n.lost() {
			return false
		}
		_, err := p.reader.queue.Settle(ctx, n.node, seqs)
		switch {
		case err == nil:
			b.over()
			return true
		case errors.Is(err, ErrFenced):
			n.fence()
			return false
		}
		b.wait(ctx, err)
	}
	return true
}

// land marks flights as done.
func (p *pump) land(all []*flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range all {
		f.done = true
		p.inFlight -= len(f.rows)
		if h := p.opts.Hooks.Settled; h != nil && len(f.confirmed) > 0 {
			h(p.class, len(f.confirmed), time.Since(f.at))
		}
	}
}
