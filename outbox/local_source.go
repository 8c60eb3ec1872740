package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// localSource is a bus.Source over the local table: the reader of one consumer's class. Receive's goroutine reads and
// changes partitions; Settle's goroutine deletes; the heart beats in one of its own.
type localSource struct {
	local *Local
	class string
	most  int
	queue Queue
	log   *slog.Logger
	wake  chan struct{}

	reader  reader // Receive's goroutine, like all up to mu
	tenure  *tenure
	owned   context.Context
	heart   sync.WaitGroup
	beating context.CancelFunc
	sweepAt time.Time
	idle    idler
	bell    <-chan Ring
	unbell  func()
	surplus []*bus.Delivery // read and not handed out yet
	leaving []int16         // partitions to give back when nothing of them is out

	mu      sync.Mutex
	batches []*localBatch
	out     [Partitions]int // deliveries not settled
	total   int
	lowest  int64 // of the released rows; 0: none
	node    string
	live    *tenure // of that node
	disown  context.CancelFunc
	highest int64
	closed  bool
}

// localBatch are the rows of one read.
type localBatch struct {
	rows []localRow
	left int
}

// localRow is the token of a delivery.
type localRow struct {
	batch     *localBatch
	seq       int64
	partition int16
	node      string
	gone      bool // settled or released
	released  bool
}

func openLocal(ctx context.Context, l *Local, s bus.Subscription) (*localSource, error) {
	src := &localSource{local: l, class: s.Group, most: s.MaxInFlight, queue: l.store.Queue(ToLocal), log: l.log.With("consumer", s.Group),
		wake: make(chan struct{}, 1), reader: reader{queue: l.store.Queue(ToLocal)}, idle: idler{most: l.opts.Poll}}
	src.bell, src.unbell = l.store.Bell(ToLocal).Listen()
	if err := src.begin(ctx); err != nil {
		src.unbell()
		return nil, fmt.Errorf("outbox: local: %w: %w", bus.ErrUnavailable, err)
	}
	return src, nil
}

// begin starts an incarnation.
func (s *localSource) begin(ctx context.Context) error {
	t, err := join(ctx, s.local.store.Leases(), s.class, ToLocal, s.local.opts.Lease, s.mark, s.log)
	if err != nil {
		return err
	}
	s.tenure = t
	owned, disown := context.WithCancel(context.WithoutCancel(ctx))
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.owned, s.beating = owned, stop
	s.heart.Go(func() { t.run(beating, func() { s.beaten(t, disown) }) })
	s.heart.Go(func() { purge(beating, s.local.store.Keeper(), s.log) })
	s.reader.reset()
	s.sweepAt = time.Now().Add(s.local.opts.Sweep)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node, s.live, s.disown = t.node, t, disown
	return nil
}

// beaten looks, after a beat, whether the deliveries are still ours. Receive may be waiting for handlers meanwhile.
func (s *localSource) beaten(t *tenure, disown context.CancelFunc) {
	if t.lost() {
		disown()
	}
	s.nudge()
}

// fenced ends the deliveries of a node that was found to be taken over.
func (s *localSource) fenced(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == node && node != "" {
		s.live.fence()
		s.disown()
	}
	s.nudge()
}

// end gives an incarnation up: its deliveries are no longer ours.
func (s *localSource) end() {
	s.beating()
	s.heart.Wait()
	s.surplus, s.leaving = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disown()
	s.batches, s.out, s.total, s.lowest, s.node, s.highest = nil, [Partitions]int{}, 0, 0, "", 0
}

func (s *localSource) mark() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.highest
}

func (s *localSource) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Receive implements bus.Source.
func (s *localSource) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	failing := backoff{log: s.log, what: "local consumer cannot read its messages"}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s.isClosed() {
			return nil, fmt.Errorf("outbox: local: receive: %w", bus.ErrClosed)
		}
		if s.hasReleased() {
			s.letGo() // what was released comes before what was read behind it
		}
		if len(s.surplus) > 0 {
			n := min(max, len(s.surplus))
			ds := s.surplus[:n:n]
			s.surplus = s.surplus[n:]
			return ds, nil
		}
		found, err := s.turn(ctx, max)
		if err != nil {
			failing.wait(ctx, err)
			continue
		}
		failing.over()
		if found {
			s.idle.reset()
			continue
		}
		s.sleep(ctx)
	}
}

// turn reads once into surplus; it reports whether there is something, or more to read.
func (s *localSource) turn(ctx context.Context, max int) (bool, error) {
	if s.tenure.lost() {
		s.log.Warn("local consumer was taken over by another; it begins again")
		s.end()
		if err := s.begin(ctx); err != nil {
			s.beating = func() {}
			return false, err
		}
	}
	if err := s.share(ctx); err != nil {
		return false, err
	}
	room := min(s.room(), s.local.opts.Batch)
	if room <= 0 || s.tenure.held == 0 || !s.tenure.valid() {
		return false, nil
	}
	s.back()
	rows, err := s.reader.next(ctx, room, &s.tenure.own, s.inHands())
	if err != nil || len(rows) == 0 {
		return err == nil && s.reader.backlog, err // behind rows of others, and of what is out, there is more
	}
	s.hold(rows)
	// The mark is durable before a handler can crash on one of the rows, so that whoever takes over knows the suspects.
	if err := s.tenure.beat(ctx); err != nil || !s.tenure.valid() {
		s.letGo()
		return false, err
	}
	return true, nil
}

// share brings the partitions to a fair share.
func (s *localSource) share(ctx context.Context) error {
	if len(s.leaving) > 0 {
		s.mu.Lock()
		left := 0
		for _, p := range s.leaving {
			left += s.out[p]
		}
		s.mu.Unlock()
		if left > 0 {
			return nil
		}
		if err := s.tenure.giveBack(ctx, s.leaving); err != nil {
			return fmt.Errorf("give partitions back: %w", err)
		}
		s.leaving = nil
	}
	if err := s.tenure.tidy(ctx); err != nil {
		return fmt.Errorf("give partitions back: %w", err)
	}
	switch count := s.tenure.claim(); {
	case count > 0:
		got, err := s.tenure.take(ctx, count, true)
		if err != nil {
			return fmt.Errorf("take partitions over: %w", err)
		}
		if len(got) > 0 {
			s.reader.rewind(0)
		}
	case count < 0:
		s.leaving = s.tenure.release(-count)
	}
	return nil
}

func (s *localSource) hasReleased() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lowest > 0
}

func (s *localSource) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most - s.total
}

// back goes back for released rows and for the sweep, and forgets batches that are settled.
func (s *localSource) back() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lowest > 0 {
		s.reader.rewind(s.lowest - 1)
		s.lowest = 0
	}
	if now := time.Now(); now.After(s.sweepAt) {
		s.reader.rewind(0)
		s.sweepAt = now.Add(s.local.opts.Sweep)
	}
	kept := s.batches[:0]
	for _, b := range s.batches {
		if b.left > 0 {
			kept = append(kept, b)
		}
	}
	clear(s.batches[len(kept):])
	s.batches = kept
}

// inHands reports whether a row is out, or was settled since the read began.
func (s *localSource) inHands() func(int64) bool {
	var set map[int64]struct{}
	return func(seq int64) bool {
		if set == nil {
			set = make(map[int64]struct{})
			s.mu.Lock()
			for _, b := range s.batches {
				for i := range b.rows {
					if !b.rows[i].released {
						set[b.rows[i].seq] = struct{}{}
					}
				}
			}
			s.mu.Unlock()
		}
		_, in := set[seq]
		return in
	}
}

// hold makes deliveries of rows.
func (s *localSource) hold(rows []Row) {
	b := &localBatch{rows: make([]localRow, len(rows)), left: len(rows)}
	ds := make([]bus.Delivery, len(rows))
	s.surplus = make([]*bus.Delivery, len(rows))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rows {
		r, d := &rows[i], &ds[i]
		b.rows[i] = localRow{batch: b, seq: r.Seq, partition: r.Partition, node: s.tenure.node}
		d.Topic, d.Token, d.Owned, d.Attempts, d.Redelivered = s.class, &b.rows[i], s.owned, int(r.Attempts), r.Attempts > 0
		flags, err := fill(&d.Envelope, r)
		d.Damaged = err
		if !flags.Relayed {
			d.Claims = s
		}
		s.surplus[i] = d
		s.out[r.Partition]++
	}
	s.batches = append(s.batches, b)
	s.total += len(rows)
	s.highest = max(s.highest, rows[len(rows)-1].Seq)
}

// letGo takes back what was read and not handed out.
func (s *localSource) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.surplus {
		s.drop(d.Token.(*localRow), true)
	}
	s.surplus = nil
}

// drop ends, under mu, a delivery.
func (s *localSource) drop(r *localRow, release bool) {
	if r.gone || r.node != s.node {
		return
	}
	r.gone, r.released = true, release
	r.batch.left--
	s.out[r.partition]--
	s.total--
	if release && (s.lowest == 0 || r.seq < s.lowest) {
		s.lowest = r.seq
	}
}

// sleep waits for anything that may bring a row.
func (s *localSource) sleep(ctx context.Context) {
	d := s.idle.next()
	if s.reader.gaps.open() {
		d = min(d, gapPoll)
	}
	bell := s.bell
	if s.room() <= 0 || s.tenure.held == 0 {
		d, bell = s.local.opts.Lease/4, nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.wake:
	case r := <-bell:
		s.idle.ring(r)
	case <-t.C:
	}
}

// Settle implements bus.Source. It tries until ctx ends.
func (s *localSource) Settle(ctx context.Context, all []bus.Settlement) []error {
	errs := make([]error, len(all))
	s.mu.Lock()
	node, live, closed := s.node, s.live, s.closed
	s.mu.Unlock()
	seqs := make([]int64, 0, len(all))
	for i, x := range all {
		r, ok := x.Token.(*localRow)
		switch {
		case closed:
			errs[i] = fmt.Errorf("outbox: local: settle: %w", bus.ErrClosed)
		case !ok || r.node != node:
			errs[i] = fmt.Errorf("outbox: local: settle: %w", bus.ErrLost)
		case !x.Release && !x.Claimed:
			seqs = append(seqs, r.seq)
		}
	}
	err := s.delete(ctx, live, seqs)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.nudge()
	for i, x := range all {
		if errs[i] != nil {
			continue
		}
		deleting := !x.Release && !x.Claimed
		if deleting {
			errs[i] = err
		}
		s.drop(x.Token.(*localRow), x.Release || deleting && err != nil)
	}
	return errs
}

func (s *localSource) delete(ctx context.Context, live *tenure, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	b := backoff{log: s.log, what: "local consumer cannot settle"}
	for {
		_, err := s.queue.Settle(ctx, live.node, seqs)
		switch {
		case err == nil:
			b.over()
			return nil
		case errors.Is(err, ErrFenced):
			s.fenced(live.node)
			return fmt.Errorf("outbox: local: settle: %w: %w", bus.ErrLost, err)
		case ctx.Err() != nil:
			return fmt.Errorf("outbox: local: settle: %w: %w", bus.ErrUnavailable, err)
		}
		b.wait(ctx, err)
	}
}

// Claim implements bus.Claims.
func (s *localSource) Claim(ctx context.Context, tx sqltx.Tx, ds []*bus.Delivery) ([]bus.Found, error) {
	seqs := make([]int64, len(ds))
	node := ""
	for i, d := range ds {
		r := d.Token.(*localRow)
		seqs[i], node = r.seq, r.node
	}
	there, behind, err := s.queue.Claim(ctx, tx, node, seqs)
	if errors.Is(err, ErrFenced) {
		s.fenced(node)
		return nil, fmt.Errorf("outbox: local: claim: %w: %w", bus.ErrLost, err)
	}
	if err != nil {
		return nil, err
	}
	found := make([]bus.Found, len(ds))
	for i, seq := range seqs {
		if _, there := slices.BinarySearch(there, seq); there {
			found[i] = bus.Ours
		}
		if _, waits := slices.BinarySearch(behind, seq); waits {
			found[i] = bus.Behind
		}
	}
	return found, nil
}

// Extend implements bus.Source; the heart keeps all deliveries ours.
func (s *localSource) Extend(context.Context, []*bus.Delivery) error { return nil }

func (s *localSource) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close implements bus.Source. Receive must have returned.
func (s *localSource) Close(ctx context.Context) error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.nudge()
	if was {
		return nil
	}
	s.unbell()
	s.end()
	if s.tenure.lost() {
		return nil
	}
	return s.tenure.leave(ctx)
}
