package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

const (
	// statementRows and statementBytes bound what goes to the database in one statement, as far as batches end there.
	statementRows  = 2000
	statementBytes = 4 << 20
	// waitingRows is how many messages may wait for the statement before them; then Send blocks.
	waitingRows = 20_000
)

// sender is a bus.Sender. Batches that are handed over while a statement runs go together in the next one, in their
// order. The goroutine that runs the statements lives while there is something to send.
type sender struct {
	t      *Transport
	ctx    context.Context // of the statements
	cancel context.CancelFunc

	mu      sync.Mutex
	failed  map[string]struct{} // keys of which an envelope failed, for what is handed over later
	waiting []*batch
	rows    int // in waiting
	busy    bool
	down    error         // why nothing is sent any more
	changed chan struct{} // closed, and made anew, when waiting or busy have changed

	lost map[string]struct{} // the goroutine's own: keys of which a row was not taken
}

func newSender(t *Transport) *sender {
	s := &sender{t: t, failed: make(map[string]struct{}), lost: make(map[string]struct{}), changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Send implements bus.Sender. It blocks while very much is waiting.
func (s *sender) Send(ctx context.Context, all []bus.Outgoing) bus.Pending {
	b := newBatch(len(all))
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.rows > waitingRows && s.down == nil && ctx.Err() == nil {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	for i := range all {
		o := &all[i]
		if err := s.admit(ctx, o); err != nil {
			b.early[i] = err
			if o.Envelope != nil && o.Key != "" {
				s.failed[o.Key] = struct{}{}
			}
			continue
		}
		row, err := rowOf(o, s.t.maxBody)
		if err != nil {
			b.early[i] = err
			if o.Key != "" {
				s.failed[o.Key] = struct{}{}
			}
			continue
		}
		b.add(i, row, o.MayMiss)
	}
	if len(b.rows) == 0 {
		b.finish()
		return b
	}
	s.waiting = append(s.waiting, b)
	s.rows += len(b.rows)
	if !s.busy {
		s.busy = true
		go s.run()
	}
	return b
}

// admit says, under mu, why an envelope is not sent.
func (s *sender) admit(ctx context.Context, o *bus.Outgoing) error {
	switch {
	case s.down != nil:
		return s.down
	case ctx.Err() != nil:
		return fmt.Errorf("sqlqueue: send: %w: %w", bus.ErrUnavailable, ctx.Err())
	case o.Envelope == nil:
		return fmt.Errorf("sqlqueue: send: %w: there is no envelope; give one", bus.ErrRefused)
	}
	if _, behind := s.failed[o.Key]; behind {
		return fmt.Errorf("sqlqueue: send to %.64q: %w; open another sender", o.Topic, bus.ErrBehindFailed)
	}
	return nil
}

// rowOf makes the row of an envelope. What the database would refuse must not look like an outage, which is tried again
// for ever.
func rowOf(o *bus.Outgoing, maxBody int) (outbox.Row, error) {
	refused := func(err error) (outbox.Row, error) {
		return outbox.Row{}, fmt.Errorf("sqlqueue: send: %w: %w", bus.ErrRefused, err)
	}
	size := len(o.Body)
	for k, v := range o.Headers {
		size += len(k) + len(v)
	}
	switch err := sixfold.CheckTopic(o.Topic); {
	case err != nil:
		return refused(err)
	case size > maxBody:
		return outbox.Row{}, fmt.Errorf("sqlqueue: send to %.64q: %w: %d bytes of body and headers, the limit is %d; send the address of the data", o.Topic, bus.ErrTooLarge, size, maxBody)
	case o.ID == "":
		return refused(errors.New("the message has no id; give one"))
	}
	if err := checkText("id", o.ID); err != nil {
		return refused(err)
	}
	if !utf8.ValidString(o.Key) || strings.ContainsRune(o.Key, 0) {
		return refused(fmt.Errorf("key %.64q: it is not valid UTF-8, or has a NUL, which no database takes as text; send another", o.Key))
	}
	attrs := outbox.EncodeAttrs(o.Envelope, outbox.Flags{Relayed: true, Epoch: o.Epoch})
	if !utf8.Valid(attrs) {
		return refused(errors.New("an attribute or a header is not valid UTF-8; encode it"))
	}
	partition := outbox.PartitionOf(o.Key)
	if o.Key == "" {
		partition = int16(rand.Uint32N(outbox.Partitions))
	}
	return outbox.Row{Partition: partition, ID: o.ID, Topic: o.Topic, Key: o.Key, Attrs: attrs, Body: o.Body}, nil
}

// run sends what waits until nothing does.
func (s *sender) run() {
	for {
		batches := s.take()
		if batches == nil {
			return
		}
		err := s.write(batches)
		s.mu.Lock()
		if err != nil && s.down == nil {
			s.down = err
		}
		s.mu.Unlock()
		for _, b := range batches {
			b.finish()
		}
	}
}

// take takes the batches of the next statement; nil ends the goroutine.
func (s *sender) take() (batches []*batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, rows, size := 0, 0, 0
	for n < len(s.waiting) && (n == 0 || rows+len(s.waiting[n].rows) <= statementRows && size+s.waiting[n].size <= statementBytes) {
		rows, size = rows+len(s.waiting[n].rows), size+s.waiting[n].size
		n++
	}
	batches = s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	s.rows -= rows
	if n == 0 {
		s.busy, batches, s.waiting = false, nil, nil
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return batches
}

// write sends the rows of batches in their order and notes what became of each. An error is the sender's end.
func (s *sender) write(batches []*batch) error {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	var flat []place
	for _, b := range batches {
		for i := range b.rows {
			flat = append(flat, place{b, i})
		}
	}
	for from := 0; from < len(flat); {
		to, size := from, 0
		for to < len(flat) && to-from < statementRows && (to == from || size < statementBytes) {
			size += flat[to].row().size()
			to++
		}
		if down == nil {
			down = s.statement(flat[from:to])
		}
		if down != nil {
			for _, p := range flat[from:] {
				p.fail(down)
			}
			return down
		}
		from = to
	}
	return nil
}

// statement sends rows that fit into one, and leaves out what cannot be routed and what is behind that.
func (s *sender) statement(flat []place) error {
	flat = s.without(flat, nil)
	for len(flat) > 0 {
		rows := make([]outbox.Row, len(flat))
		for i, p := range flat {
			rows[i] = p.row().Row
		}
		missing, err := s.t.store.Send(s.ctx, rows)
		switch {
		case err != nil && s.ctx.Err() != nil:
			return errClosed
		case err != nil:
			return fmt.Errorf("sqlqueue: send: %w", outage(err))
		case len(missing) == 0:
			return nil
		}
		flat = s.without(flat, missing)
	}
	return nil
}

// outage is err as an outage unless it says what it is.
func outage(err error) error {
	if errors.Is(err, bus.ErrRefused) || errors.Is(err, bus.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// without fails the rows whose topics nobody wants, and those of their keys behind them, and answers the rest. What comes
// before a row that fails is not behind it, so the keys that fail here are new.
func (s *sender) without(flat []place, missing []string) (rest []place) {
	unwanted := make(map[string]bool, len(missing))
	for _, topic := range missing {
		unwanted[topic] = true
	}
	var fresh map[string]struct{}
	for _, p := range flat {
		r := p.row()
		_, behind := fresh[r.Key]
		if missing == nil {
			_, behind = s.lost[r.Key]
		}
		switch {
		case behind:
			p.fail(fmt.Errorf("sqlqueue: send to %.64q: %w; open another sender", r.Topic, bus.ErrBehindFailed))
		case unwanted[r.Topic]:
			p.fail(fmt.Errorf("sqlqueue: send to %.64q: %w: no group has subscribed to it and nothing is kept; start its consumer once, or call Keep", r.Topic, bus.ErrUnroutable))
			if !r.mayMiss && r.Key != "" {
				if fresh == nil {
					fresh = make(map[string]struct{})
				}
				fresh[r.Key], s.lost[r.Key] = struct{}{}, struct{}{}
				s.mu.Lock()
				s.failed[r.Key] = struct{}{}
				s.mu.Unlock()
			}
		default:
			rest = append(rest, p)
		}
	}
	return rest
}

// errClosed is what a sender answers once it was closed.
var errClosed = fmt.Errorf("sqlqueue: send: %w: the sender is %w", bus.ErrUnavailable, bus.ErrClosed)

// Close implements bus.Sender. It ends a statement that runs and waits for it: what the database answered yet counts.
func (s *sender) Close(ctx context.Context) error {
	s.t.drop(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = errClosed
	s.cancel()
	for s.busy {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			return fmt.Errorf("sqlqueue: close: a statement has not ended: %w", ctx.Err())
		}
	}
	return nil
}
