package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// errOpen stands for an answer that has not come.
var errOpen = errors.New("open")

// pending is a batch.
type pending struct {
	s    *sender
	errs []error       // guarded by s.mu until done is closed
	open int           // answers that have not come, and one for Send while it runs
	done chan struct{} // closed when every envelope has its answer
}

// settle gives one envelope its answer; i of -1 stands for Send itself. s.mu is held.
func (p *pending) settle(i int, err error) {
	if i >= 0 {
		p.errs[i] = err
	}
	if p.open--; p.open == 0 {
		close(p.done)
	}
}

// Wait implements bus.Pending.
func (p *pending) Wait(ctx context.Context) []error {
	select {
	case <-p.done:
		return slices.Clone(p.errs)
	default:
	}
	select {
	case <-p.done:
		return slices.Clone(p.errs)
	case <-ctx.Done():
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	out := slices.Clone(p.errs)
	for i, err := range out {
		if err == errOpen {
			out[i] = fmt.Errorf("sqs: wait: the message is in doubt: %w", ctx.Err())
		}
	}
	return out
}
