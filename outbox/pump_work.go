package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/planted"
)

const (
	// gapPoll is the longest wait while gaps are open.
	gapPoll = writersEvery
	// unblockEvery bounds how often blocked keys are tried: each try begins the sender anew.
	unblockEvery = 500 * time.Millisecond
)

// work reads and sends until ctx ends or n was taken over. An error is final.
func (p *pump) work(ctx context.Context, n *tenure, sent chan<- *flight) error {
	bell, stop := p.store.Bell(ToBroker).Listen()
	defer stop()
	reading := backoff{log: p.log, what: "outbox relay cannot read the outbox"}
	idle := idler{most: p.opts.Poll}
	p.outage = backoff{log: p.log, what: "outbox relay does not reach the broker"}
	p.sweepAt = time.Now().Add(p.opts.Sweep)
	for ctx.Err() == nil && !n.lost() {
		if err := p.share(ctx, n); err != nil {
			reading.wait(ctx, err)
			continue
		}
		if n.held == 0 || !n.valid() {
			p.sleep(ctx, bell, &idle, n.every())
			continue
		}
		if err := p.mend(ctx, n); err != nil {
			return err
		}
		if p.sender == nil { // the broker is away, or ctx has ended
			continue
		}
		room := p.opts.MaxInFlight - p.load()
		if room < max(1, min(p.opts.Batch, p.opts.MaxInFlight/2)) && !p.hasReady() {
			p.sleep(ctx, nil, &idle, n.every())
			continue
		}
		count, err := p.turn(ctx, n, min(room, p.opts.Batch), sent)
		if err != nil {
			reading.wait(ctx, err)
			continue
		}
		reading.over()
		switch {
		case p.reader.backlog: // there is more, also behind rows of other classes and of what is in flight
			idle.reset()
		case count == 0:
			p.sleep(ctx, bell, &idle, p.idleLimit())
		default:
			idle.reset()
			p.linger(ctx)
		}
	}
	return nil
}

// share brings the partitions to a fair share. Newly taken ones are read from the start; those that are too many are
// drained before others get them.
func (p *pump) share(ctx context.Context, n *tenure) error {
	if err := n.tidy(ctx); err != nil {
		return fmt.Errorf("give partitions back: %w", err)
	}
	count := n.claim()
	switch {
	case count > 0:
		got, err := n.take(ctx, count, false)
		if err != nil {
			return fmt.Errorf("take partitions over: %w", err)
		}
		if len(got) > 0 {
			p.reader.rewind(0)
			p.lease(got, 0)
			p.holding(n)
		}
	case count < 0:
		ps := n.release(-count)
		if !p.quiet(ctx, n) {
			return nil
		}
		p.requeue()
		p.mu.Lock()
		p.blocks.drop(ps)
		maps.DeleteFunc(p.doubtful, func(_ int64, partition int16) bool { return slices.Contains(ps, partition) })
		p.mu.Unlock()
		p.holding(n)
		p.lease(nil, len(ps))
		if err := n.giveBack(ctx, ps); err != nil {
			return fmt.Errorf("give partitions back: %w", err)
		}
	}
	return nil
}

// mend makes the sender usable. After an outage, and when rows were given up or blocked keys are due, it waits until
// nothing is in flight, begins a new sender, since the old one is closed to the keys that failed, and reads again from
// the lowest row that was given up.
func (p *pump) mend(ctx context.Context, n *tenure) error {
	now := time.Now()
	p.mu.Lock()
	down, due := p.down, p.blocks.next()
	repair := down != nil || p.lowest > 0 || !due.IsZero() && !now.Before(due) && !now.Before(p.unblockAt)
	arrived := p.arrived
	p.arrived = false
	p.mu.Unlock()
	if arrived && down == nil {
		p.outage.over()
	}
	if repair {
		if down != nil {
			p.closeSender(ctx) // so that what is in flight fails at once
		}
		if !p.quiet(ctx, n) {
			return nil
		}
		p.closeSender(ctx)
		p.mu.Lock()
		p.giveUpRow(p.blocks.try(now))
		p.mu.Unlock()
		p.unblockAt = now.Add(unblockEvery)
		p.requeue()
	}
	if now.After(p.sweepAt) {
		p.reader.rewind(0)
		p.sweepAt = now.Add(p.opts.Sweep)
	}
	if p.sender == nil {
		return p.open(ctx, n, down)
	}
	return nil
}

// open opens a sender, after a pause when the last one was lost.
func (p *pump) open(ctx context.Context, n *tenure, down error) error {
	if down != nil {
		p.outage.wait(ctx, down)
	}
	s, err := p.transport.Open(ctx)
	p.mu.Lock()
	p.down = err
	p.mu.Unlock()
	switch {
	case err == nil:
		p.sender = s
		if p.opts.OnPoison == DeadLetter {
			return p.deadLetter(ctx, n)
		}
	case ctx.Err() == nil && (errors.Is(err, bus.ErrRefused) || errors.Is(err, bus.ErrClosed)):
		return fmt.Errorf("outbox: relay to %q: open a sender: %w", p.class, err)
	}
	return nil
}

// holding notes what is held, for Health.
func (p *pump) holding(n *tenure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.node, p.held = n.node, n.held
}

// giveUpRow notes, under mu, that everything from seq on must be read again.
func (p *pump) giveUpRow(seq int64) {
	if seq > 0 && (p.lowest == 0 || seq < p.lowest) {
		p.lowest = seq
	}
}

// requeue makes the reader read again what was given up. Nothing may be in flight.
func (p *pump) requeue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys.each(func(r outRow) { p.giveUpRow(r.seq) })
	p.keys = oneByOne{}
	if p.lowest > 0 {
		p.reader.rewind(p.lowest - 1)
		p.lowest = 0
	}
}

// turn reads once, where limit leaves room for that, and sends what was found and what became ready; it answers the
// number of rows sent.
func (p *pump) turn(ctx context.Context, n *tenure, limit int, sent chan<- *flight) (int, error) {
	p.prune()
	var rows []Row
	if limit > 0 {
		p.lastReadAt = time.Now()
		var err error
		if rows, err = p.reader.next(ctx, limit, &n.own, p.inHands()); err != nil {
			return 0, err
		}
	}
	if h := p.opts.Hooks.Read; h != nil && len(rows) > 0 {
		h(p.class, len(rows), p.reader.late)
	}
	batch := p.prepare(rows)
	if len(batch) == 0 {
		return 0, nil
	}
	if !n.valid() || ctx.Err() != nil { // the lease ran out while we read
		p.mu.Lock()
		for _, r := range batch {
			p.giveUpRow(r.seq)
		}
		p.mu.Unlock()
		return 0, nil
	}
	p.send(batch, sent)
	return len(batch), nil
}

// prepare makes envelopes of rows and keeps back what may not be sent yet. What became ready goes first.
func (p *pump) prepare(rows []Row) []outRow {
	batch := make([]outRow, 0, len(rows))
	outs, bad := decode(rows)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(rows) > 0 {
		p.highest = max(p.highest, rows[len(rows)-1].Seq)
	}
	if p.down != nil || p.lowest > 0 {
		// Something failed since mend: what is sent now could overtake it where the sender keeps no prefix.
		for i := range rows {
			p.giveUpRow(rows[i].Seq)
		}
		return nil
	}
	if !p.ordered {
		batch = append(batch, p.keys.take()...)
	}
	for i := range rows {
		r := &rows[i]
		if len(p.blocks.by) > 0 && p.blocks.hold(r.Key, r.Seq) {
			continue
		}
		if err := bad[i]; err != nil {
			p.poison(outs[i], err)
			continue
		}
		if p.ordered || p.keys.admit(outs[i]) {
			batch = append(batch, outs[i])
		}
	}
	return batch
}

// decode makes envelopes of rows; bad says by index what is wrong with some. It needs no lock, so that those who judge
// and settle need not wait for it.
func decode(rows []Row) (outs []outRow, bad map[int]error) {
	outs, envs := make([]outRow, len(rows)), make([]sixfold.Envelope, len(rows))
	for i := range rows {
		r := &rows[i]
		flags, err := fill(&envs[i], r)
		if err != nil {
			if bad == nil {
				bad = make(map[int]error)
			}
			bad[i] = err
		}
		outs[i] = outRow{seq: r.Seq, partition: r.Partition, out: bus.Outgoing{Topic: r.Topic, MayMiss: !flags.MustReach, Epoch: flags.Epoch, Envelope: &envs[i]}}
	}
	return outs, bad
}

// fill makes env of a row.
func fill(env *sixfold.Envelope, r *Row) (Flags, error) {
	env.ID, env.Key, env.Body = r.ID, r.Key, r.Body
	flags, err := DecodeAttrs(r.Attrs, env)
	seq := make([]byte, 0, 24)
	seq = strconv.AppendInt(seq, int64(r.Partition), 10)
	seq = append(seq, '/')
	env.Sequence = string(strconv.AppendInt(seq, r.Seq, 10))
	return flags, err
}

// send hands a batch to the sender, which may block while the connection is full.
func (p *pump) send(batch []outRow, sent chan<- *flight) {
	outs := make([]bus.Outgoing, len(batch))
	for i := range batch {
		outs[i] = batch[i].out
	}
	f := &flight{rows: batch, at: time.Now()}
	p.mu.Lock()
	p.flights = append(p.flights, f)
	p.inFlight += len(batch)
	p.mu.Unlock()
	if planted.Is(planted.SettleBeforeConfirm) {
		seqs := make([]int64, len(batch))
		for i := range batch {
			seqs[i] = batch[i].seq
		}
		_, _ = p.reader.queue.Settle(p.hard, p.node, seqs)
	}
	f.pending = p.sender.Send(p.hard, outs)
	if h := p.opts.Hooks.Sent; h != nil {
		h(p.class, len(batch))
	}
	sent <- f // never blocks: it has room for MaxInFlight flights of one row
}

// prune forgets flights that were settled before now, so before the next read begins: its snapshot does not show their
// rows any more, while those settled during the read may still be in it.
func (p *pump) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.flights[:0]
	for _, f := range p.flights {
		if !f.done {
			kept = append(kept, f)
		}
	}
	clear(p.flights[len(kept):])
	p.flights = kept
}

// inHands reports of a row that was read before whether it is in flight or waits behind its key. The set is made when
// it is first asked, since in the common case of a rising cursor nobody asks.
func (p *pump) inHands() func(int64) bool {
	var set map[int64]struct{}
	return func(seq int64) bool {
		if set == nil {
			set = make(map[int64]struct{})
			p.mu.Lock()
			for _, f := range p.flights {
				for i := range f.rows {
					set[f.rows[i].seq] = struct{}{}
				}
			}
			p.keys.each(func(r outRow) { set[r.seq] = struct{}{} })
			p.mu.Unlock()
		}
		_, in := set[seq]
		return in
	}
}

// load counts the rows in flight and those kept behind their keys.
func (p *pump) load() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight + p.keys.held
}

func (p *pump) hasReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys.ready) > 0
}

// quiet waits until nothing is in flight; false: ctx ended or n was lost first.
func (p *pump) quiet(ctx context.Context, n *tenure) bool {
	for {
		p.mu.Lock()
		left := p.inFlight
		p.mu.Unlock()
		if left == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-p.wake:
			if n.lost() {
				return false
			}
		}
	}
}

// idleLimit is how long the relay may wait for nothing.
func (p *pump) idleLimit() time.Duration {
	d := p.opts.Poll
	if p.reader.gaps.open() {
		d = min(d, gapPoll)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.blocks.next(); !at.IsZero() {
		d = min(d, max(time.Until(at), unblockEvery/8))
	}
	return d
}

// linger spaces reads that find little, so that a stream of small transactions is read in batches.
func (p *pump) linger(ctx context.Context) {
	d := p.opts.Linger - time.Since(p.lastReadAt)
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// sleep waits for a nudge, the bell, or the idler's next poll, at most limit. A nil bell is not heard.
func (p *pump) sleep(ctx context.Context, bell <-chan Ring, idle *idler, limit time.Duration) {
	d := limit
	if bell != nil {
		d = min(limit, idle.next())
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.wake:
	case r := <-bell:
		idle.ring(r)
	case <-t.C:
	}
}
