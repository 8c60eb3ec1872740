package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// pump relays one class of destination. One goroutine reads and sends (pump_work.go); one waits for confirms in the
// order of the sends, and one settles what was confirmed, as much at once as there is (pump_settle.go); and one keeps
// the node alive. So reading, the broker's round trip and settling overlap, and no transaction is open meanwhile.
type pump struct {
	class     string
	store     Store
	transport bus.Transport
	opts      *RelayOptions
	log       *slog.Logger
	ordered   bool          // the transport keeps prefixes, so many of one key may be in flight
	wake      chan struct{} // something changed for the reading goroutine

	// The reading goroutine's own.
	reader     reader
	sender     bus.Sender
	outage     backoff
	hard       context.Context // of the incarnation; outlives the run by the drain
	sweepAt    time.Time
	unblockAt  time.Time
	lastReadAt time.Time

	mu       sync.Mutex
	flights  []*flight // not settled yet, in the order of their sends
	inFlight int       // rows in them
	keys     oneByOne
	blocks   blocks
	down     error           // of the sender, which is of no more use then
	lowest   int64           // of the rows that were given up and must be read again; 0: none
	highest  int64           // seq read, for the node row
	arrived  bool            // something was confirmed since the last look
	doubtful map[int64]int16 // rows whose confirm an outage took, by seq with their partition: they may have arrived
	doubtBy  error           // the last of these outages
	misses   map[string]int64
	node     string
	held     int
}

// flight is a batch between its send and its settling.
type flight struct {
	rows    []outRow
	pending bus.Pending
	at      time.Time

	// Under pump.mu:
	confirmed []int64 // seqs, since its fate is known
	done      bool    // settled or given up
}

// outRow is a row as it is sent.
type outRow struct {
	seq       int64
	partition int16
	out       bus.Outgoing
}

func newPump(st Store, class string, t bus.Transport, o *RelayOptions) *pump {
	return &pump{class: class, store: st, transport: t, opts: o, log: o.Logger.With("class", class), ordered: t.Capabilities().PrefixPerKey,
		wake: make(chan struct{}, 1), reader: reader{queue: st.Queue(ToBroker)}, blocks: blocks{retry: o.Retry}}
}

// nudge wakes the reading goroutine.
func (p *pump) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run works, one incarnation after the other, until ctx ends.
func (p *pump) run(ctx context.Context) (err error) {
	if h := p.opts.Hooks.Started; h != nil {
		h(p.class)
	}
	defer func() {
		if h := p.opts.Hooks.Stopped; h != nil {
			h(p.class, err)
		}
	}()
	b := backoff{log: p.log, what: "outbox relay cannot join the nodes of its class"}
	for ctx.Err() == nil {
		n, err := join(ctx, p.store.Leases(), p.class, ToBroker, p.opts.Lease, p.mark, p.log)
		if err != nil {
			b.wait(ctx, err)
			continue
		}
		b.over()
		if err := p.incarnate(ctx, n); err != nil || ctx.Err() != nil {
			return err
		}
		p.log.Warn("outbox relay was taken over by another; it begins again", "node", n.node)
	}
	return nil
}

func (p *pump) mark() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.highest
}

// incarnate works as n until ctx ends or n is taken over. All its goroutines have ended when it returns.
func (p *pump) incarnate(ctx context.Context, n *tenure) error {
	hard, kill := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by the drain
	defer kill()
	beating, stopBeating := context.WithCancel(hard)
	var heart, tail sync.WaitGroup
	heart.Go(func() { n.run(beating, p.nudge) })
	sent := make(chan *flight, p.opts.MaxInFlight+1)
	confirmed := make(chan *flight, p.opts.MaxInFlight+1)
	tail.Go(func() { p.waitForConfirms(hard, sent, confirmed) })
	tail.Go(func() { p.settleConfirmed(hard, n, confirmed) })

	p.hard = hard
	p.reader.reset()
	working, ended := context.WithCancel(ctx)
	drained := make(chan struct{})
	var late atomic.Bool
	heart.Go(func() {
		killAfter(working, p.opts.DrainTimeout, drained, func() {
			late.Store(true)
			kill()
		})
	})
	err := p.work(working, n, sent)
	ended()
	close(sent)
	if n.lost() {
		kill() // nothing can be settled any more
	}
	tail.Wait()
	close(drained)
	p.closeSender(context.WithoutCancel(ctx))
	stopBeating()
	heart.Wait()
	inDoubt, outage := p.giveUp()
	p.lease(nil, n.held)
	if n.lost() && ctx.Err() == nil {
		return err
	}
	if inDoubt > 0 {
		doubt := &sixfold.DrainError{What: fmt.Sprintf("relay to %q", p.class), InDoubt: inDoubt, After: p.opts.DrainTimeout}
		switch {
		case n.lost():
			doubt.Cause = errTakenOver
		case !late.Load() && outage != nil:
			doubt.Cause = fmt.Errorf("an outage took their confirms: %w", outage)
		}
		err = errors.Join(err, doubt)
	}
	if n.lost() {
		return err
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.DrainTimeout)
	defer cancel()
	if lerr := n.leave(leaving); lerr != nil {
		p.log.Warn("outbox relay could not give its partitions back; others take them over when its lease ends", "err", lerr)
	}
	return err
}

// killAfter calls kill when limit has passed since ctx ended, unless drained is closed before. The limit counts from
// there, and not from the end of work, since work itself may be stuck in a send or a settlement.
func killAfter(ctx context.Context, limit time.Duration, drained <-chan struct{}, kill func()) {
	select {
	case <-ctx.Done():
	case <-drained:
		return
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-t.C:
		kill()
	case <-drained:
	}
}

// errTakenOver is why something is in doubt although the drain limit has not passed.
var errTakenOver = fmt.Errorf("%w while this one stopped (it stood still, or did not reach the database, for longer than its lease)", ErrFenced)

// giveUp forgets what is in flight and answers how many rows may have reached the broker and are not settled: they will
// be sent again. outage is what took the confirms of some, if anything did. The fate of all flights is known.
func (p *pump) giveUp() (n int, outage error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, outage = len(p.doubtful), p.doubtBy
	for _, f := range p.flights {
		if !f.done {
			n += len(f.confirmed)
		}
	}
	p.flights, p.inFlight, p.keys, p.blocks.by, p.lowest, p.down, p.held, p.doubtful, p.doubtBy = nil, 0, oneByOne{}, nil, 0, nil, 0, nil, nil
	return n, outage
}

// doubt notes, under mu, a row that may have reached the broker, and what took its confirm.
func (p *pump) doubt(r outRow, err error) {
	p.doubtBy = err
	if p.doubtful == nil {
		p.doubtful = make(map[int64]int16)
	}
	p.doubtful[r.seq] = r.partition
}

func (p *pump) closeSender(ctx context.Context) {
	if p.sender == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.DrainTimeout)
	defer cancel()
	if err := p.sender.Close(ctx); err != nil {
		p.log.Debug("outbox sender did not close cleanly", "err", err)
	}
	p.sender = nil
}

// lease tells the hooks of partitions that changed hands.
func (p *pump) lease(gained []Lease, lost int) {
	if h := p.opts.Hooks.LeaseGained; h != nil && len(gained) > 0 {
		h(p.class, gained)
	}
	if h := p.opts.Hooks.LeaseLost; h != nil && lost > 0 {
		h(p.class, lost)
	}
}
