package sqlqueue

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold/outbox"
)

// batch is what one Send was given. It implements bus.Pending.
type batch struct {
	early []error // what was known before anything was sent; not changed after Send
	rows  []sending
	size  int

	errs []error // the sender's goroutine's until done is closed
	done chan struct{}
}

// sending is a row on its way, with its place in the batch.
type sending struct {
	outbox.Row
	at      int
	mayMiss bool
}

func (r *sending) size() int { return len(r.Attrs) + len(r.Body) + len(r.Key) + 64 }

func newBatch(n int) *batch {
	return &batch{early: make([]error, n), rows: make([]sending, 0, n), done: make(chan struct{})}
}

func (b *batch) add(at int, r outbox.Row, mayMiss bool) {
	b.rows = append(b.rows, sending{r, at, mayMiss})
	b.size += b.rows[len(b.rows)-1].size()
}

// finish lets Wait answer.
func (b *batch) finish() {
	b.rows = nil // with the bodies, which are the caller's again
	close(b.done)
}

// Wait implements bus.Pending.
func (b *batch) Wait(ctx context.Context) []error {
	select {
	case <-b.done: // also where ctx has ended
		return b.answer()
	default:
	}
	select {
	case <-b.done:
		return b.answer()
	case <-ctx.Done():
	}
	errs := make([]error, len(b.early))
	for i, err := range b.early {
		if errs[i] = err; err == nil {
			errs[i] = fmt.Errorf("sqlqueue: send: the database has not answered yet: %w", ctx.Err())
		}
	}
	return errs
}

func (b *batch) answer() []error {
	if b.errs == nil {
		return b.early
	}
	return b.errs
}

// place is a row of a batch.
type place struct {
	batch *batch
	i     int
}

func (p place) row() *sending { return &p.batch.rows[p.i] }

// fail notes why a row was not sent.
func (p place) fail(err error) {
	if p.batch.errs == nil {
		p.batch.errs = append([]error(nil), p.batch.early...)
	}
	p.batch.errs[p.row().at] = err
}
