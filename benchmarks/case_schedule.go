package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// promoteAtMost is how often schedulePromote fills its table for each side, since that takes longer than the rest.
const promoteAtMost = 3

// moveThousand moves what is due as one writes it without a framework: one statement for a thousand rows.
const moveThousand = `WITH d AS (DELETE FROM sixfold.delayed x WHERE x.ctid = ANY(ARRAY(SELECT i.ctid FROM sixfold.delayed i
	WHERE i.due_at <= now() AND i.due_at >= $1 ORDER BY i.due_at, i.n LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING x.*),
o AS (INSERT INTO sixfold.outbox (partition, id, class, topic, key, attrs, body)
	SELECT partition, id, class, topic, key, attrs, body FROM d ORDER BY due_at, n)
SELECT count(*), coalesce(max(due_at), 'epoch') FROM d`

// schedulePromote compares a scheduler that meets a million messages that are due at once with a loop that moves them by hand,
// in the order of their times, each thousand from where the one before ended. It says the rates, the processor time, and how
// the heap grew between a fifth of them and all.
func schedulePromote(ctx context.Context, s *scope) error {
	n := pick(s.bench, 1_000_000, 20_000)
	if s.rounds > promoteAtMost {
		was := s.rounds
		s.rounds = promoteAtMost
		defer func() { s.rounds = was }()
	}
	t, err := s.onFast(ctx, 4)
	if err != nil {
		return err
	}
	told := true
	var spent [2][]float64
	// move calls moved before it ends a scheduler, whose connection may end with it, and its time with that.
	measured := func(side int, move func(ctx context.Context, moved func() error) error) arm {
		return func(ctx context.Context) (v float64, err error) {
			if err := t.fillDelayed(ctx, n); err != nil {
				return 0, err
			}
			before, err := t.processors(ctx)
			if errors.Is(err, os.ErrNotExist) {
				told, err = false, nil
			}
			if err != nil {
				return 0, err
			}
			start := time.Now()
			err = move(ctx, func() error {
				if v = rate(n, start); !told {
					return nil
				}
				after, err := t.processors(ctx)
				spent[side] = append(spent[side], float64((after-before).Nanoseconds())/1000/float64(n))
				return err
			})
			if err != nil {
				return 0, err
			}
			return v, t.wantInTime(ctx, n)
		}
	}
	var heap [2][]float64
	const peer = "a loop by hand, one statement for a thousand"
	err = s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: peer}, goal{ratioAtLeast, 0.7, 0.9}, measured(0, t.moveByHand),
		measured(1, func(ctx context.Context, moved func() error) error {
			few, all, err := t.promoteAll(ctx, n, moved)
			heap[0], heap[1] = append(heap[0], few), append(heap[1], all)
			return err
		}))
	if err != nil {
		return err
	}
	warm := pick(s.bench, 1, 0)
	if err := s.against(line{Case: s.name + "/heap", Unit: "kB", PeerName: "after a fifth of them"}, goal{ratioAtMost, 1.05, 1}, heap[0][warm:], heap[1][warm:]); err != nil || !told {
		return err
	}
	return s.against(line{Case: s.name + "/cpu", Unit: "µs/msg", PeerName: peer}, goal{ratioAtMost, 1.4, 1.1}, spent[0][warm:], spent[1][warm:])
}

// fillDelayed leaves n messages that were due within the last hours, written in another order than that of their times.
func (t *tables) fillDelayed(ctx context.Context, n int) error {
	if err := t.clear(ctx, "sixfold.delayed", "sixfold.outbox", "sixfold.promoted"); err != nil {
		return err
	}
	_, err := t.pool.Exec(ctx, `INSERT INTO sixfold.delayed (due_at, local, partition, id, class, topic, attrs, body)
		SELECT now() - interval '1 hour' - at * interval '1 ms', false, at % 64, gen_random_uuid(), '', $2::text, decode(repeat('ab', 256), 'hex'), decode(lpad(to_hex($1::bigint - at), 512, '0'), 'hex')
		FROM (SELECT g * 7919 % $1::bigint AS at FROM generate_series(1, $1::bigint) g) g`, n, topic)
	if err == nil {
		_, err = t.pool.Exec(ctx, "VACUUM ANALYZE sixfold.delayed")
	}
	if err != nil {
		return fmt.Errorf("fill what is delayed: %w", err)
	}
	return nil
}

// wantInTime checks that everything was moved, in the order of its times, which the bodies have.
func (t *tables) wantInTime(ctx context.Context, n int) error {
	var rows, breaks, left int
	err := t.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE body < before), (SELECT count(*) FROM sixfold.delayed)
		FROM (SELECT body, lag(body) OVER (ORDER BY seq) AS before FROM sixfold.outbox) o`).Scan(&rows, &breaks, &left)
	if err == nil && (rows != n || breaks > 0 || left > 0) {
		err = fmt.Errorf("of %d messages %d were moved, %d of them before an earlier one, and %d were left", n, rows, breaks, left)
	}
	return err
}

func (t *tables) moveByHand(ctx context.Context, moved func() error) error {
	from := time.Unix(0, 0)
	for {
		var n int
		if err := t.pool.QueryRow(ctx, moveThousand, from).Scan(&n, &from); err != nil {
			return err
		}
		if n == 0 {
			return moved()
		}
	}
}

// promoteAll runs a scheduler until it has moved n messages, calls done, and answers the kilobytes of the heap
// after a fifth and after all.
func (t *tables) promoteAll(ctx context.Context, n int, done func() error) (few, all float64, err error) {
	scheduler, err := schedule.New(t.st.Schedule(), t.box, &schedule.Options{Logger: silent()})
	if err != nil {
		return 0, 0, err
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc >> 10)
	}
	err = runScheduler(ctx, scheduler, func(ctx context.Context) error {
		for {
			moved := int(scheduler.Health().Promoted)
			if few == 0 && moved >= n/5 {
				few = heap()
			}
			if moved >= n {
				err := done()
				all = heap()
				return err
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil { // each look costs processor time, which is counted
				return err
			}
		}
	})
	return few, all, err
}

// runScheduler runs one while fn works.
func runScheduler(ctx context.Context, scheduler *schedule.Scheduler, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- scheduler.Run(ctx) }()
	err := fn(ctx)
	cancel()
	return errors.Join(err, <-ended)
}

// scheduleLate says how late a thousand ticks a second are: from the planned time of each until the commit of its message, by the
// database's clock. Times of schedules are whole seconds, so the thousand are due at one instant.
func scheduleLate(ctx context.Context, s *scope) error {
	const perSecond = 1000
	server, err := servers.StartPostgres(ctx, &servers.PostgresOptions{Settings: map[string]string{"track_commit_timestamp": "on"}})
	if err != nil {
		return err
	}
	s.atEnd(server.Close)
	t, err := s.newTables(ctx, server, 4)
	if err != nil {
		return err
	}
	scheduler, err := schedule.New(t.st.Schedule(), t.box, &schedule.Options{Logger: silent()})
	if err != nil {
		return err
	}
	err = t.inTx(ctx, func(tx pgx.Tx) error {
		for i := range perSecond {
			_, err := scheduler.Upsert(ctx, sqltx.Pgx(tx), schedule.Recurring{Name: fmt.Sprintf("tick-%04d", i), Spec: "every 1s",
				Message: makeOrder(i, ""), Misfire: schedule.FireAll})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	lasting := pick(s.bench, 30*time.Second, 3*time.Second)
	var late []float64
	var spent time.Duration
	err = runScheduler(ctx, scheduler, func(ctx context.Context) error {
		if err := pause(ctx, 2*time.Second); err != nil { // at first, statements are prepared
			return err
		}
		before, err := t.processors(ctx)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		told := err == nil
		var from time.Time // by the database's clock
		if err := t.pool.QueryRow(ctx, "SELECT now()").Scan(&from); err != nil {
			return err
		}
		if err := pause(ctx, lasting); err != nil {
			return err
		}
		if told {
			after, err := t.processors(ctx)
			if err != nil {
				return err
			}
			spent = after - before
		}
		late, err = lateness(ctx, t.pool, from, from.Add(lasting), int(lasting.Seconds())*perSecond)
		return err
	})
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%d ticks of 1,000 schedules", len(late))
	if err := s.report.add(line{Case: s.name + "/p50", Value: quantile(late, 0.5), Unit: "ms", Note: note}, goal{}); err != nil {
		return err
	}
	if err := s.report.add(line{Case: s.name + "/p99", Value: quantile(late, 0.99), Unit: "ms", Note: note}, goal{valueAtMost, 150, 50}); err != nil || spent == 0 {
		return err
	}
	return s.report.add(line{Case: s.name + "/cpu", Value: float64(spent.Nanoseconds()) / 1000 / lasting.Seconds() / perSecond, Unit: "µs/tick", Note: note}, goal{})
}

// lateness waits until all ticks planned in a span are promoted, however late, and answers the lateness of each in milliseconds:
// without those that are still to come it would look better than it is.
func lateness(ctx context.Context, pool *pgxpool.Pool, from, to time.Time, want int) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		rows, err := pool.Query(ctx, "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - planned)::float8 * 1000 FROM sixfold.tick WHERE planned >= $1 AND planned < $2", from, to)
		if err != nil {
			return nil, err
		}
		late, err := pgx.CollectRows(rows, pgx.RowTo[float64])
		if err != nil || len(late) >= want {
			return late, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%d of %d ticks were promoted within two minutes: %w", len(late), want, err)
		}
	}
}
