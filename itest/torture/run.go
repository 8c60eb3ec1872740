package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// run is one run of the torture, in the orchestrator.
type run struct {
	o       Options
	rng     *rand.Rand
	server  databaseServer // nil: somebody else's
	broker  brokerServer   // nil: none
	dsn     string
	roles   map[string]string // DSNs by role, on our own server
	pool    pool
	slots   []*slot
	until   atomic.Int64 // messages that the publisher may commit so far
	kills   atomic.Int64 // processes that ended by SIGKILL
	stops   atomic.Int64 // planned stops that ended well
	hot     atomic.Int64 // most rows of the hot key seen waiting at once
	struck  map[Fault]int
	asked   int // times that consumers were told what to do at a parked message
	buried  int // dead letters, before they were sent again
	waiting sync.WaitGroup

	mu         sync.Mutex
	violations Violations
	cause      error
	repaired   bool // the handlers are, and consumers were started since
	unended    bool // the run came to its bound
	end        context.CancelFunc
}

// Torture does one run. The summary says what it proved, or failed to; an error means that it could not be done.
func Torture(ctx context.Context, o Options) (*Summary, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	r := &run{o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), struck: map[Fault]int{}}
	own := o.Dir == ""
	if own {
		var err error
		if r.o.Dir, err = os.MkdirTemp("", "sixfold-torture-"); err != nil {
			return nil, fmt.Errorf("torture: %w", err)
		}
	} else if err := os.MkdirAll(r.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	began := time.Now()
	s, err := r.do(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (journals and logs are in %s)", err, r.o.Dir)
	}
	s.Seconds = time.Since(began).Seconds()
	if own && s.Passed() {
		_ = os.RemoveAll(r.o.Dir) // what is left in a temporary directory harms nobody
	}
	return s, nil
}

func (r *run) do(ctx context.Context) (*Summary, error) {
	working, end := context.WithTimeout(ctx, r.o.Bound)
	defer end()
	r.end = end
	if err := r.prepare(working); err != nil {
		return nil, errors.Join(err, r.close())
	}
	err := r.work(working)
	cause := r.given()
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(ctx.Err(), r.close())
	case cause != nil && r.violationCount() > 0: // a process that failed is a finding
	case cause != nil:
		return nil, errors.Join(cause, r.close())
	case errors.Is(err, context.DeadlineExceeded):
		r.unended = true
		r.violate(Stuck, "the run did not end within its bound of %v, which is no verdict on what was still on its way: nothing is counted as lost; give -bound more, or find out what was slow", r.o.Bound)
	case err != nil:
		return nil, errors.Join(err, r.close())
	}
	r.stopAll()
	s, err := r.judge(ctx)
	return s, errors.Join(err, r.close())
}

// prepare starts the servers and makes the tables.
func (r *run) prepare(ctx context.Context) (err error) {
	if r.dsn = r.o.DSN; r.dsn == "" {
		if r.server, r.dsn, err = r.database().start(ctx); err != nil {
			return err
		}
	}
	if r.broker, err = brokers[r.o.Broker].start(ctx); err != nil {
		return err
	}
	if r.pool, err = r.database().open(r.dsn, 4); err != nil {
		return err
	}
	st, err := r.pool.store(nil)
	if err != nil {
		return err
	}
	if r.server != nil {
		r.roles, err = r.database().roles(ctx, r.pool, st, r.dsn, &r.o)
	} else {
		err = errors.Join(st.Migrate(ctx), createLedger(ctx, r.database(), r.pool, r.o.Keys))
	}
	if err != nil {
		return err
	}
	if r.o.Plant == planted.SequenceCache {
		_, err = r.pool.exec(ctx, "ALTER TABLE sixfold.outbox ALTER COLUMN seq SET CACHE 20; ALTER TABLE sixfold.local ALTER COLUMN seq SET CACHE 20")
	}
	return err
}

// dsnOf is the URL with which a role connects.
func (r *run) dsnOf(role string) string {
	if dsn, ok := r.roles[role]; ok {
		return dsn
	}
	return r.dsn
}

func (r *run) brokerURL() string {
	if r.broker == nil {
		return ""
	}
	return r.broker.URL()
}

// work starts the processes, strikes them one fault after the other while messages flow, and waits until all is quiet.
func (r *run) work(ctx context.Context) error {
	for _, name := range []string{"relay1", "relay2", "consumer1", "consumer2", "publisher1"} {
		if _, err := r.add(name[:len(name)-1], name); err != nil {
			return err
		}
	}
	publisher := r.slots[len(r.slots)-1]
	watching, stop := context.WithCancel(ctx)
	defer stop()
	r.waiting.Go(func() { r.watch(watching) })
	faults := draw(&r.o, r.rng, r.broker)
	share := r.o.Messages / (len(faults) + 1)
	for i, f := range faults {
		r.allow(share * (i + 1))
		if err := r.reach(ctx, share*i+share*(30+r.rng.IntN(40))/100); err != nil {
			return err
		}
		r.allow(share * (i + 2)) // so that messages flow while it happens
		r.say("fault %d of %d: %s", i+1, len(faults), f)
		if err := r.strike(ctx, f); err != nil {
			return err
		}
		r.struck[f]++
	}
	r.allow(2 * r.o.Messages)
	select {
	case <-publisher.finished:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.quiet(ctx); err != nil {
		return err
	}
	if err := r.redrive(ctx); err != nil {
		return err
	}
	return r.drained(ctx)
}

// add starts the first process of a slot.
func (r *run) add(role, name string) (*slot, error) {
	s := &slot{run: r, role: role, name: name, finished: make(chan struct{})}
	r.slots = append(r.slots, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.start()
}

// allow lets the publisher go on until n messages are committed.
func (r *run) allow(n int) {
	r.until.Store(int64(n))
	_, _ = r.pick("publisher").tell(fmt.Sprintf("until %d", n)) // its successor is told at its start
}

// reach waits until n messages are committed.
func (r *run) reach(ctx context.Context, n int) error {
	for {
		var sum int
		if err := r.pool.row(ctx, "SELECT sum(n) FROM ledger_key", nil, &sum); err == nil && sum >= n {
			return nil
		}
		if !wait(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// watch shows progress, samples how many messages of the hot key wait, and ends a run in which nothing moves.
func (r *run) watch(ctx context.Context) {
	began, last, lastAt, asked := time.Now(), [5]int64{}, time.Now(), false
	for n := 1; wait(ctx, 300*time.Millisecond); n++ {
		var now [5]int64 // committed, waiting, about the effects, parked, changes of lines; or killed
		var hot int64
		err := r.pool.row(ctx, `SELECT (SELECT sum(n) FROM ledger_key), (SELECT count(*) FROM sixfold.outbox) + (SELECT count(*) FROM sixfold.local),
  `+r.database().lastEffect()+`, (SELECT count(*) FROM sixfold.parked), (SELECT count(*) FROM sixfold.attempt),
  (SELECT count(DISTINCT id) FROM (SELECT id FROM sixfold.outbox WHERE key = $1 UNION ALL SELECT id FROM sixfold.local WHERE key = $1) u)`,
			[]any{hotKey}, &now[0], &now[1], &now[2], &now[3], &now[4], &hot)
		now[4] += r.kills.Load()
		if err != nil || now != last {
			lastAt, asked = time.Now(), false
		}
		if err != nil {
			continue
		}
		if b, ok := r.broker.(interface{ State(context.Context) string }); ok && !asked && time.Since(lastAt) > r.o.Stall/4 {
			asked = true
			r.say("nothing moved for %v; the broker says\n%s", r.o.Stall/4, b.State(ctx))
		}
		last = now
		r.hot.Store(max(r.hot.Load(), hot))
		if n%4 == 0 {
			r.say("%d of %d committed (%d%%), %d rows wait, about %d effects, %d parked, %d processes killed, %v of at most %v",
				now[0], r.o.Messages, 100*now[0]/int64(r.o.Messages), now[1], now[2], now[3], r.kills.Load(), time.Since(began).Round(time.Second), r.o.Bound)
		}
		if time.Since(lastAt) > r.o.Stall {
			r.violate(Stuck, "nothing moved for %v while %d of %d messages were committed and %d rows were waiting", r.o.Stall, now[0], r.o.Messages, now[1])
			r.giveUp(errStuck)
			return
		}
	}
}

var errStuck = errors.New("torture: nothing moves any more")

// drained waits until every effect is there and nothing is parked any more. It is watch that loses patience.
func (r *run) drained(ctx context.Context) error {
	return r.holds(ctx, `SELECT (SELECT sum(3 * n + floor(n / 2) + floor(n / 4)) FROM ledger_key) <= (SELECT count(*) FROM effect)
  AND NOT EXISTS (SELECT 1 FROM sixfold.parked) AND NOT EXISTS (SELECT 1 FROM sixfold.line) AND NOT EXISTS (SELECT 1 FROM sixfold.attempt)`)
}

// holds waits until nothing is on its way to a broker or a local consumer, and question is answered with true.
func (r *run) holds(ctx context.Context, question string) error {
	for {
		waiting, yes := true, false
		err := r.pool.row(ctx, "SELECT EXISTS (SELECT 1 FROM sixfold.outbox) OR EXISTS (SELECT 1 FROM sixfold.local)", nil, &waiting)
		if err == nil && !waiting {
			err = r.pool.row(ctx, question, nil, &yes)
		}
		if err == nil && yes {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) { // the last fault may have cut our own connections, too
			return errors.Join(ctx.Err(), err)
		}
	}
}

// stopAll ends the processes in order. What is left of a run that failed is killed.
func (r *run) stopAll() {
	for i := len(r.slots) - 1; i >= 0; i-- {
		if r.given() != nil {
			r.slots[i].kill()
			continue
		}
		r.slots[i].end(patience)
	}
}

// close ends everything that is left.
func (r *run) close() error {
	r.end()
	for _, s := range r.slots {
		s.kill()
	}
	r.waiting.Wait()
	if r.pool != nil {
		r.pool.close()
	}
	var errs []error
	if r.broker != nil {
		errs = append(errs, r.broker.Close())
	}
	if r.server != nil {
		errs = append(errs, r.server.Close())
	}
	return errors.Join(errs...)
}

func (r *run) say(format string, args ...any) { r.o.Progress(fmt.Sprintf(format, args...)) }

func (r *run) violate(k Kind, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations.add(k, format, args...)
}

func (r *run) violationCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.violations.Total()
}

// giveUp ends the run early.
func (r *run) giveUp(err error) {
	r.mu.Lock()
	r.cause = errors.Join(r.cause, err)
	r.mu.Unlock()
	r.end()
}

func (r *run) given() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}
