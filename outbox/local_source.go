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

// localSource is what a source has of one feed: the reader of one class. Receive's goroutine reads and changes
// partitions; Settle's goroutine deletes; the heart beats in one of its own.
type localSource struct {
	feed   Feed
	opts   *LocalOptions
	family *feeds
	class  string
	queue  Queue
	log    *slog.Logger
	purges bool

	reader  reader // Receive's goroutine, like all up to mu
	tenure  *tenure
	owned   context.Context
	heart   sync.WaitGroup
	beating context.CancelFunc
	sweepAt time.Time
	idle    idler
	lookAt  time.Time       // the next read, unless something happens before
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
	nudged  bool               // something changed since the last look
	again   map[int64]struct{} // rows of a broker that were released: whoever gets them may have seen them before
}

// localBatch are the rows of one read.
type localBatch struct {
	source *localSource
	rows   []localRow
	left   int
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

func openLocal(f Feed, family *feeds, opts *LocalOptions, purges bool) *localSource {
	q := f.Store.Queue(ToLocal)
	return &localSource{feed: f, family: family, opts: opts, class: f.Class, queue: q, log: opts.Logger.With("consumer", f.name()), purges: purges,
		reader: reader{queue: q, inOrder: f.InOrder}, idle: idler{most: opts.Poll}, beating: func() {}}
}

// begin starts an incarnation.
func (s *localSource) begin(ctx context.Context) error {
	t, err := join(ctx, s.feed.Store.Leases(), s.class, ToLocal, s.opts.Lease, s.mark, s.log)
	if err != nil {
		return err
	}
	s.tenure = t
	owned, disown := context.WithCancel(context.WithoutCancel(ctx))
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.owned, s.beating = owned, stop
	s.heart.Go(func() { t.run(beating, func() { s.beaten(t, disown) }) })
	if s.purges {
		s.heart.Go(func() { purge(beating, s.feed.Store.Keeper(), s.log) })
	}
	s.reader.reset()
	s.sweepAt = time.Now().Add(s.opts.Sweep)
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
	if s.node == node && node != "" {
		s.live.fence()
		s.disown()
	}
	s.mu.Unlock()
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
	s.batches, s.out, s.total, s.lowest, s.node, s.highest, s.again = nil, [Partitions]int{}, 0, 0, "", 0, nil
}

func (s *localSource) mark() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.highest
}

// nudge has Receive look again. It is called without mu.
func (s *localSource) nudge() {
	s.mu.Lock()
	s.nudged = true
	s.mu.Unlock()
	s.family.nudge()
}

// hand answers at most max of what was read.
func (s *localSource) hand(max int) []*bus.Delivery {
	if s.hasReleased() {
		s.letGo() // what was released comes before what was read behind it
	}
	n := min(max, len(s.surplus))
	ds := s.surplus[:n:n]
	s.surplus = s.surplus[n:]
	return ds
}

// due reports whether it is time to look for rows. Receive may have been woken for another feed.
func (s *localSource) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.nudged && now.Before(s.lookAt) {
		return false
	}
	s.nudged = false
	return true
}

// turn reads once into surplus; it reports whether there is something, or more to read.
func (s *localSource) turn(ctx context.Context) (bool, error) {
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
	room := min(s.family.room(), s.opts.Batch)
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

func (s *localSource) handedOut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
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
		s.sweepAt = now.Add(s.opts.Sweep)
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
	b := &localBatch{source: s, rows: make([]localRow, len(rows)), left: len(rows)}
	ds := make([]bus.Delivery, len(rows))
	s.surplus = make([]*bus.Delivery, len(rows))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rows {
		r, d := &rows[i], &ds[i]
		b.rows[i] = localRow{batch: b, seq: r.Seq, partition: r.Partition, node: s.tenure.node}
		d.Token, d.Owned = &b.rows[i], s.owned
		s.fill(d, r)
		s.surplus[i] = d
		s.out[r.Partition]++
	}
	s.batches = append(s.batches, b)
	s.total += len(rows)
	s.highest = max(s.highest, rows[len(rows)-1].Seq)
}

// fill makes a delivery of a row, under mu. What came through a broker may be there twice, so that only an inbox can record
// it, and it is no place to count attempts.
func (s *localSource) fill(d *bus.Delivery, r *Row) {
	if s.feed.Topic == "" {
		d.Topic, d.Attempts, d.Redelivered = s.class, int(r.Attempts), r.Attempts > 0
		flags, err := fill(&d.Envelope, r)
		d.Damaged = err
		if !flags.Relayed {
			d.Claims = s
		}
		return
	}
	_, again := s.again[r.Seq]
	delete(s.again, r.Seq)
	d.Topic, d.Redelivered = s.feed.Topic, again || r.Attempts > 0
	d.ID, d.Key, d.Body = r.ID, r.Key, r.Body
	_, d.Damaged = DecodeAttrs(r.Attrs, &d.Envelope)
}

// letGo takes back what was read and not handed out.
func (s *localSource) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.surplus {
		s.drop(d.Token.(*localRow), true)
		if d.Redelivered {
			s.comesAgain(d.Token.(*localRow))
		}
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

// comesAgain notes, under mu, that a row was handed out.
func (s *localSource) comesAgain(r *localRow) {
	if s.feed.Topic == "" || r.node != s.node {
		return
	}
	if s.again == nil {
		s.again = make(map[int64]struct{})
	}
	s.again[r.seq] = struct{}{}
}

// rest says when to look again after a look that found nothing.
func (s *localSource) rest(now time.Time) time.Time {
	d := s.idle.next()
	if s.reader.gaps.open() {
		d = min(d, gapPoll)
	}
	if s.family.room() <= 0 || s.tenure.held == 0 {
		d = s.opts.Lease / 4
	}
	s.lookAt = now.Add(d)
	return s.lookAt
}

// settle is Settle for the deliveries of this feed. It tries until ctx ends.
func (s *localSource) settle(ctx context.Context, all []bus.Settlement) []error {
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
		case !ok || r.node != node || s.isGone(r):
			errs[i] = fmt.Errorf("outbox: local: settle: %w", bus.ErrLost)
		case !x.Release && !x.Claimed:
			seqs = append(seqs, r.seq)
		}
	}
	err := s.delete(ctx, live, seqs)
	defer s.nudge()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range all {
		if errs[i] != nil {
			continue
		}
		deleting := !x.Release && !x.Claimed
		if deleting {
			errs[i] = err
		}
		release := x.Release || deleting && err != nil
		s.drop(x.Token.(*localRow), release)
		if release {
			s.comesAgain(x.Token.(*localRow))
		}
	}
	return errs
}

// isGone reports whether a row was settled or released before.
func (s *localSource) isGone(r *localRow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.gone
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

// close ends the feed. Receive must have returned.
func (s *localSource) close(ctx context.Context) error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was || s.tenure == nil {
		return nil
	}
	s.end()
	if s.tenure.lost() {
		return nil
	}
	return s.tenure.leave(ctx)
}
