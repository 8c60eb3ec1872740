package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// errOpen stands for an answer that has not come.
var errOpen = errors.New("open")

// A Batch is what Send hands back (a bus.Pending) while the broker's answers come in. Its sender's lock guards it.
type Batch struct {
	name string
	mu   *sync.Mutex   // the sender's
	errs []error       // guarded by mu until done is closed
	open int           // answers that have not come, and one for Send while it runs
	done chan struct{} // closed when every envelope has its answer
}

// NewBatch is the batch of n envelopes for a driver of that name, which its errors begin with. mu is the lock of the sender.
func NewBatch(name string, mu *sync.Mutex, n int) *Batch {
	return &Batch{name: name, mu: mu, errs: slices.Repeat([]error{errOpen}, n), open: n + 1, done: make(chan struct{})}
}

// Settle gives the envelope at index i its answer; it is called once for each. The sender's lock is held.
func (b *Batch) Settle(i int, err error) {
	b.errs[i] = err
	b.less()
}

// Handed says that Send has returned: Wait returns when the answers are there. The sender's lock is held.
func (b *Batch) Handed() { b.less() }

func (b *Batch) less() {
	if b.open--; b.open == 0 {
		close(b.done)
	}
}

// Wait implements bus.Pending: the answers in the order of the envelopes. When ctx ends first, those that have not come are
// in doubt.
func (b *Batch) Wait(ctx context.Context) []error {
	select {
	case <-b.done:
		return slices.Clone(b.errs)
	default:
	}
	select {
	case <-b.done:
		return slices.Clone(b.errs)
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.errs)
	for i, err := range out {
		if err == errOpen {
			out[i] = fmt.Errorf("%s: wait: the message is in doubt: %w", b.name, ctx.Err())
		}
	}
	return out
}
