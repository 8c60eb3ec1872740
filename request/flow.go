package request

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// A flow is what a caller waits for where one request has many answers: a stream's items, one after the other and then their end, or the
// replies of all who listen. It holds at most window packets, whoever sends them.
type flow struct {
	id, name, to string
	many         bool // the replies of all who listen
	window       int
	wake         chan struct{} // room for one: something has changed

	mu       sync.Mutex // guards what follows
	port     *port      // to which the packets have to come; nil while there is none
	queue    []*Packet  // that came and were not read
	read     int        // items that were read
	last     int        // the number of the item that came last
	allowed  int        // the number up to which items may come
	seen     map[string]struct{}
	heard    time.Time // when something valid came; zero: never
	told     bool      // more was sent than the request
	said     time.Time // when that was the last time
	asked    int       // how often the responder was asked whether it is there, since it was heard
	answered bool      // the responder has nothing more to do
	over     bool
	err      error // how it ended; nil: as it should
}

// mark is what a packet was found to be.
type mark uint8

const (
	markRight mark = iota
	markLate
	markDuplicate
	markForged
	markMalformed
	markWrongVersion
)

// lostStream is how a stream ends whose items do not all come.
type lostStream struct{ why string }

func (e lostStream) Error() string {
	return "the stream was lost: " + e.why + "; it is not known how far its handler came"
}

func (e lostStream) Is(target error) bool { return target == ErrLost }

// take looks at a packet of the flow.
func (f *flow) take(from *port, p *Packet, kind string, version int, proven bool) mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.over:
		return markLate
	case version != Version:
		return markWrongVersion
	case f.port != from:
		return markForged
	case p.Damaged != nil:
		return markMalformed
	case !proven:
		return markForged
	case kind == KindReply && (f.many || p.Status != statusOK):
		return f.takeReply(p)
	case f.many:
		return markForged
	}
	return f.takeNumbered(p, kind)
}

// takeReply takes a fault, or anybody's reply.
func (f *flow) takeReply(p *Packet) mark {
	switch {
	case p.Status == statusOK && p.Envelope.Type != f.name+ReplySuffix, p.Status != statusOK && p.Envelope.Type != FaultType:
		return markForged
	case p.Status != statusOK && !Category(p.Status).known():
		return markMalformed
	case !f.many:
		f.answered = true
		f.finish(f.fault(p))
		return markRight
	}
	key := p.Envelope.Source + "\x00" + p.Envelope.ID
	if _, again := f.seen[key]; again {
		return markDuplicate
	}
	f.seen[key] = struct{}{}
	f.heard = time.Now()
	f.queue = append(f.queue, p)
	if len(f.seen) == f.window {
		f.finish(nil)
	}
	f.signal()
	return markRight
}

func (f *flow) fault(p *Packet) error {
	return &Fault{Category: Category(p.Status), Request: f.id, Message: f.name, Versions: quoteless(p.Versions)}
}

// takeNumbered takes what says how far a stream has come: an item, a sign of life, or the end. What is beyond the credit cannot be the
// responder's. A number that was left out will not come any more, since a lane keeps the order.
func (f *flow) takeNumbered(p *Packet, kind string) mark {
	n, ok := digits(p.Number)
	switch {
	case !ok, kind == KindItem && n == 0, kind == KindReply && n < f.last:
		return markMalformed
	case kind == KindItem && p.Envelope.Type != f.name+ItemSuffix, kind == KindReply && p.Envelope.Type != f.name+ReplySuffix, n > f.allowed:
		return markForged
	}
	f.heard, f.asked = time.Now(), 0
	if kind == KindItem {
		if n <= f.last {
			return markDuplicate
		}
		n-- // those before it
	}
	if kind == KindReply && planted.Is(planted.EndUncounted) || kind == KindItem && planted.Is(planted.GapUnnoticed) {
		f.last = n
	}
	switch {
	case n > f.last:
		f.finish(lostStream{"items that were sent did not come"})
	case kind == KindItem:
		f.last++
		f.queue = append(f.queue, p)
		f.signal()
	case kind == KindReply:
		f.answered = true
		f.finish(nil)
	}
	return markRight
}

// signal says that something has changed.
func (f *flow) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// finish decides how the flow ended, once. mu is held.
func (f *flow) finish(err error) {
	if !f.over {
		f.over, f.err = true, err
		f.signal()
	}
}

// end is finish for others.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(err)
}

// next waits for the packet that comes next. Nil: there is none, and err is how the flow ended. What has come is handed out before its end,
// unless the caller itself ended it.
func (f *flow) next(ctx context.Context) (*Packet, error) {
	for {
		if p, ok, err := f.look(ctx); ok {
			return p, err
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
		}
	}
}

// look answers what there is now, or ok false.
func (f *flow) look(ctx context.Context) (p *Packet, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !(f.over && len(f.queue) == 0) && ctx.Err() != nil {
		err := ended(ctx)
		if !f.many || !errors.Is(err, ErrTimeout) {
			f.queue, f.over, f.err = nil, true, err
		}
		f.finish(err)
	}
	if errors.Is(f.err, ErrClosed) {
		f.queue = nil
	}
	switch {
	case len(f.queue) > 0:
		p, f.queue[0] = f.queue[0], nil
		f.queue = f.queue[1:]
		return p, true, nil
	case f.over:
		return nil, true, f.err
	}
	return nil, false, nil
}

// consumed notes that an item was read, and reports whether it is time for more credit: when half of it is used up.
func (f *flow) consumed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read++
	if f.many || f.over || f.allowed-f.read > f.window/2 {
		return false
	}
	f.allowed, f.told, f.said = min(f.read+f.window, maxNumber), true, time.Now()
	return true
}

// maxNumber is what nine digits hold.
const maxNumber = 999_999_999

// undeliverable takes the lane's word that what was sent reached nobody.
func (f *flow) undeliverable(from *port) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.port != from:
	case f.heard.IsZero() && !f.told:
		f.finish(ErrNoResponder)
	case !f.many:
		f.finish(lostStream{"nobody listens at the destination any more"})
	}
}

// lost ends the flow if p is its port.
func (f *flow) lost(p *port) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.port == p {
		f.finish(ErrLost)
	}
}

// leave ends the flow for good, and answers the port over which a responder that may still be at work can be told.
func (f *flow) leave() *port {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := f.answered || f.over && (errors.Is(f.err, ErrTimeout) || errors.Is(f.err, ErrNoResponder))
	f.over, f.queue = true, nil
	if done {
		return nil
	}
	return f.port
}
