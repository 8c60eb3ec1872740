package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// fillSagas makes open instances as one by one would be, by copying one; and as many rows for who does the same by hand.
var fillSagas = [...]string{
	`INSERT INTO sixfold.saga (saga, correlation, generation, id, version, status, schema_version, step, state, timers, reason, started_at, changed_at)
	SELECT saga, 'open-' || g, 1, gen_random_uuid(), version, status, schema_version, step, state, timers, reason, started_at, changed_at
	FROM sixfold.saga, generate_series(0, $1 - 1) g WHERE correlation = 'model'`,
	`INSERT INTO by_hand (saga, correlation, version, status, state, changed_at)
	SELECT saga, 'open-' || g, version, status, state, changed_at FROM sixfold.saga, generate_series(0, $1 - 1) g WHERE correlation = 'model'`,
}

const byHandTable = "CREATE TABLE by_hand (saga text, correlation text, version bigint NOT NULL, status int NOT NULL, state bytea NOT NULL, changed_at timestamptz NOT NULL, PRIMARY KEY (saga, correlation)) WITH (fillfactor = 70)"

// openSagas is a database with so many open instances.
type openSagas struct {
	t        *tables
	open     int
	random   *rand.Rand
	handlers map[string]sixfold.Handler
}

// sagaOpen says how the time that a step takes grows with the number of instances that are open. A database with few and one with many take
// turns at each step, so that whatever else the machine does befalls both.
func sagaOpen(ctx context.Context, s *scope) error {
	few, many, ops := pick(s.bench, 1000, 10), pick(s.bench, 100_000, 1000), pick(s.bench, 2000, 20)
	kinds := []struct {
		name string
		goal goal
		do   func(o *openSagas, ctx context.Context, i int) (us float64, err error)
	}{
		{"starting", goal{ratioAtMost, 1.2, 1.05}, func(o *openSagas, ctx context.Context, i int) (float64, error) {
			return o.tell(ctx, sagaBegun{"new-" + strconv.Itoa(i)})
		}},
		{"resuming", goal{ratioAtMost, 1.2, 1.05}, func(o *openSagas, ctx context.Context, i int) (float64, error) {
			return o.tell(ctx, sagaGoesOn{"new-" + strconv.Itoa(i)})
		}},
		{"timing-out", goal{ratioAtMost, 1.2, 1.05}, func(o *openSagas, ctx context.Context, i int) (float64, error) {
			env, err := o.t.timer(ctx, "new-"+strconv.Itoa(i))
			if err != nil {
				return 0, err
			}
			return o.handle(ctx, env)
		}},
		{"resuming-any", goal{}, func(o *openSagas, ctx context.Context, _ int) (float64, error) {
			return o.tell(ctx, sagaGoesOn{o.any()})
		}},
		{"by-hand-any", goal{}, func(o *openSagas, ctx context.Context, _ int) (float64, error) { return o.byHand(ctx, o.any()) }},
	}
	p99 := make([][2][]float64, len(kinds))
	for round := range s.rounds {
		var sides [2]*openSagas
		for i, open := range []int{few, many} {
			var err error
			if sides[i], err = s.openSagas(ctx, open, uint64(round)); err != nil {
				return err
			}
		}
		for k, kind := range kinds {
			var took [2][]float64
			for i := range ops {
				for turn := range sides {
					side := (i + turn) % 2 // who is first has no advantage
					us, err := kind.do(sides[side], ctx, i)
					if err != nil {
						return err
					}
					took[side] = append(took[side], us)
				}
			}
			for side := range sides {
				p99[k][side] = append(p99[k][side], quantile(took[side], 0.99))
			}
			s.say("round %d of %d: %s, median %.0f and %.0f µs, p99 %.0f and %.0f", round+1, s.rounds, kind.name, median(took[0]), median(took[1]), quantile(took[0], 0.99), quantile(took[1], 0.99))
		}
		for _, o := range sides {
			var failed int
			if err := o.t.pool.QueryRow(ctx, "SELECT count(*) FROM sixfold.saga WHERE status = 4").Scan(&failed); err != nil || failed != ops {
				return errors.Join(err, fmt.Errorf("%d of %d instances have timed out", failed, ops))
			}
		}
	}
	for k, kind := range kinds {
		l := line{Case: s.name + "/" + kind.name, Unit: "µs p99", PeerName: fmt.Sprintf("the same with %d open instances", few), Note: fmt.Sprintf("%d open instances", many)}
		if err := s.against(l, kind.goal, p99[k][0], p99[k][1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *scope) openSagas(ctx context.Context, open int, seed uint64) (*openSagas, error) {
	t, err := s.onFast(ctx, 2)
	if err != nil {
		return nil, err
	}
	g, err := t.newSaga(true, func() {})
	if err != nil {
		return nil, err
	}
	o := &openSagas{t: t, open: open, random: rand.New(rand.NewPCG(seed, 9)), handlers: map[string]sixfold.Handler{}}
	for _, r := range g.Routes() {
		o.handlers[r.Name] = r.Handler()
	}
	if _, err := o.tell(ctx, sagaBegun{"model"}); err != nil {
		return nil, err
	}
	if _, err := t.pool.Exec(ctx, byHandTable); err != nil {
		return nil, err
	}
	for _, fill := range fillSagas {
		if _, err := t.pool.Exec(ctx, fill, open); err != nil {
			return nil, err
		}
	}
	for _, settle := range []string{"VACUUM ANALYZE sixfold.saga", "VACUUM ANALYZE by_hand", "CHECKPOINT"} { // or what made the many would still be at work
		if _, err := t.pool.Exec(ctx, settle); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// any of the open instances.
func (o *openSagas) any() string { return "open-" + strconv.Itoa(o.random.IntN(o.open)) }

// tell answers how long a message takes, in microseconds.
func (o *openSagas) tell(ctx context.Context, m sixfold.Message) (float64, error) {
	env, err := sixfold.NewEnvelope(ctx, "sixfold", nil, m)
	if err != nil {
		return 0, err
	}
	return o.handle(ctx, env)
}

func (o *openSagas) handle(ctx context.Context, env *sixfold.Envelope) (float64, error) {
	start := time.Now()
	err := o.handlers[env.Type](sixfold.WithInfo(ctx, &sixfold.Info{Envelope: env, Consumer: group, Attempt: 1}), env)
	return float64(time.Since(start).Nanoseconds()) / 1000, err
}

// byHand is the least that resuming an instance can cost: lock and read a row by its key, and change it.
func (o *openSagas) byHand(ctx context.Context, key string) (float64, error) {
	start := time.Now()
	err := o.t.inTx(ctx, func(tx pgx.Tx) error {
		var state []byte
		if err := tx.QueryRow(ctx, "SELECT state FROM by_hand WHERE saga = 'bench' AND correlation = $1 FOR UPDATE", key).Scan(&state); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE by_hand SET version = version + 1, state = $2, changed_at = now() WHERE saga = 'bench' AND correlation = $1", key, state)
		return err
	})
	return float64(time.Since(start).Nanoseconds()) / 1000, err
}

// timer is the message of the timer of a key, as a scheduler would send it.
func (t *tables) timer(ctx context.Context, key string) (*sixfold.Envelope, error) {
	env := &sixfold.Envelope{}
	var attrs []byte
	err := t.pool.QueryRow(ctx, "DELETE FROM sixfold.delayed WHERE key = $1 RETURNING id::text, coalesce(key, ''), attrs, body", key).Scan(&env.ID, &env.Key, &attrs, &env.Body)
	if err == nil {
		_, err = outbox.DecodeAttrs(attrs, env)
	}
	return env, err
}
