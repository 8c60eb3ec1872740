package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// However a transaction ends without a commit, there is no row, and nothing reaches the broker. guarantees: O1, O2
func TestNoCommitNoRow(t *testing.T) {
	w := newWorld(t, nil)
	w.exec("CREATE TABLE account (id int PRIMARY KEY, n int)")
	w.exec("INSERT INTO account VALUES (1, 0), (2, 0)")
	w.relay(outbox.RelayOptions{})
	boom := errors.New("boom")
	publish := func(ctx context.Context, tx pgx.Tx) {
		t.Helper()
		if _, err := w.box.Publish(ctx, sqltx.Pgx(tx), message{"k", "phantom"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, end := range map[string]func(t *testing.T){
		"rollback": func(t *testing.T) {
			err := w.in(func(tx pgx.Tx) error { publish(t.Context(), tx); return boom })
			if !errors.Is(err, boom) {
				t.Error(err)
			}
		},
		"rollback to a savepoint": func(t *testing.T) {
			err := w.in(func(tx pgx.Tx) error {
				err := sqltx.Pgx(tx).Savepoint(t.Context(), func(in sqltx.Tx) error {
					_, err := w.box.Publish(t.Context(), in, message{"k", "phantom"})
					return errors.Join(err, boom)
				})
				if !errors.Is(err, boom) {
					t.Error(err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		},
		"panic": func(t *testing.T) {
			defer func() { _ = recover() }()
			_ = w.db.Run(t.Context(), func(tx pgx.Tx) error { publish(t.Context(), tx); panic("boom") })
		},
		"panic in a unit": func(t *testing.T) {
			defer func() { _ = recover() }()
			_ = outbox.Do(t.Context(), w.box, w.db, func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
				u.Publish(message{"k", "phantom"})
				panic("boom")
			})
		},
		"cancelled context": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := w.db.Run(ctx, func(tx pgx.Tx) error { publish(ctx, tx); cancel(); return nil })
			if err == nil {
				t.Error("it was committed")
			}
		},
		"deadlock": func(t *testing.T) {
			locked := make(chan struct{}, 2)
			both := make(chan struct{})
			errs := make(chan error, 2)
			for i := range 2 {
				go func() {
					errs <- w.in(func(tx pgx.Tx) error {
						if _, err := w.box.Publish(t.Context(), sqltx.Pgx(tx), message{"k", fmt.Sprint("deadlock ", i)}); err != nil {
							return err
						}
						if _, err := tx.Exec(t.Context(), "UPDATE account SET n = n + 1 WHERE id = $1", i+1); err != nil {
							return err
						}
						locked <- struct{}{}
						<-both
						_, err := tx.Exec(t.Context(), "UPDATE account SET n = n + 1 WHERE id = $1", 2-i)
						return err
					})
				}()
			}
			<-locked
			<-locked
			close(both)
			failed := 0
			for range 2 {
				var pe *pgconn.PgError
				if err := <-errs; errors.As(err, &pe) && pe.Code == "40P01" {
					failed++
				} else if err != nil {
					t.Error(err)
				}
			}
			if failed != 1 {
				t.Errorf("%d transactions were deadlock victims", failed)
			}
		},
		"serialization failure": func(t *testing.T) {
			tx, err := w.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.Serializable})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			if _, err := tx.Exec(t.Context(), "SELECT n FROM account WHERE id = 1"); err != nil {
				t.Fatal(err)
			}
			publish(t.Context(), tx)
			w.exec("UPDATE account SET n = n + 1 WHERE id = 1")
			_, err = tx.Exec(t.Context(), "UPDATE account SET n = n + 1 WHERE id = 1")
			if err == nil || tx.Commit(t.Context()) == nil {
				t.Error("it was committed")
			}
		},
		"lost connection": func(t *testing.T) {
			err := w.in(func(tx pgx.Tx) error {
				publish(t.Context(), tx)
				w.exec("SELECT pg_terminate_backend($1)", int32(tx.Conn().PgConn().PID()))
				return nil
			})
			if err == nil {
				t.Error("it was committed")
			}
		},
	} {
		t.Run(name, end)
	}
	w.publish(message{"k", "last"}) // behind all phantoms, in their key
	w.until("the last one", func(taken []sixfold.Envelope) bool {
		return len(taken) > 0 && strings.Contains(string(taken[len(taken)-1].Body), "last")
	})
	survivors := 0
	for _, env := range w.all() {
		if strings.Contains(string(env.Body), "phantom") {
			t.Errorf("the broker took %s", env.Body)
		}
		if strings.Contains(string(env.Body), "deadlock") {
			survivors++
		}
	}
	if survivors != 1 {
		t.Errorf("%d of two deadlocked transactions arrived", survivors)
	}
}

// Bodies and headers arrive as they were given, 10,000 random ones, nil and empty told apart. guarantees: O5, O6
func TestBytesArriveAsTheyWereGiven(t *testing.T) {
	w := newWorld(t, nil)
	w.relay(outbox.RelayOptions{})
	const n, batch = 10_000, 500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	want := map[string]sixfold.Envelope{}
	for range n / batch {
		err := w.in(func(tx pgx.Tx) error {
			for range batch {
				env := randomEnvelope(rnd)
				want[env.ID] = env
				if err := w.box.PublishEnvelope(t.Context(), sqltx.Pgx(tx), &env); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.box.Committed()
	}
	w.untilCount(n)
	for _, got := range w.all() {
		env, is := want[got.ID]
		if !is {
			t.Fatalf("%v was never published, or came twice", got)
		}
		delete(want, got.ID)
		if string(got.Body) != string(env.Body) || (got.Body == nil) != (env.Body == nil) || !maps.Equal(got.Headers, env.Headers) {
			t.Fatalf("body %q headers %q, want %q %q", got.Body, got.Headers, env.Body, env.Headers)
		}
		if got.Key != env.Key || got.Subject != env.Subject || got.Source != env.Source || !got.Time.Equal(env.Time) || got.CorrelationID != env.CorrelationID || !got.Expires.Equal(env.Expires) {
			t.Fatalf("%#v, want %#v", got, env)
		}
	}
}

func randomEnvelope(rnd *rand.Rand) sixfold.Envelope {
	text := func(most int) string {
		alphabet := []rune("abc \"\\\t{}[]:,'äß件ж😀\u2028\u00ad\x7f<>&%$^\x01\x1f")
		out := make([]rune, rnd.IntN(most+1))
		for i := range out {
			out[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(out)
	}
	env := sixfold.Envelope{ID: sixfold.NewID(), Source: text(20), Type: "test.message", Key: text(10), Subject: text(30), CorrelationID: text(10), ContentType: "application/x",
		Time: time.Unix(rnd.Int64N(4e9), rnd.Int64N(1e9)).UTC()}
	if rnd.IntN(2) == 0 {
		env.Expires = env.Time.Add(time.Duration(rnd.Int64N(1e15) + 1))
	}
	switch rnd.IntN(10) {
	case 0:
	case 1:
		env.Body = []byte{}
	default:
		env.Body = make([]byte, rnd.IntN(300))
		for i := range env.Body {
			env.Body[i] = byte(rnd.Uint32())
		}
	}
	for range rnd.IntN(4) {
		if env.Headers == nil {
			env.Headers = map[string]string{}
		}
		env.Headers[fmt.Sprintf("h-%d", rnd.IntN(1000))] = text(40)
	}
	return env
}

// queries counts what is sent to the server.
type queries struct{ n int }

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n++
	return ctx
}
func (q *queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// guarantees: O6
func TestPublishingIsOneRoundTrip(t *testing.T) {
	w := newWorld(t, nil)
	config, err := pgx.ParseConfig(w.as.Application)
	if err != nil {
		t.Fatal(err)
	}
	q := &queries{}
	config.Tracer = q
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, n := range []int{1, 2, 5, 1000} {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var items []outbox.Item
		for i := range n {
			items = append(items, outbox.Of(message{"k", fmt.Sprint(i)}))
		}
		before := q.n
		ids, err := w.box.PublishAll(t.Context(), sqltx.Pgx(tx), items...)
		if err != nil || len(ids) != n || q.n-before != 1 {
			t.Errorf("%d messages: %v, %d queries", n, err, q.n-before)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.count(rowsLeft); got != 1008 {
		t.Errorf("%d rows", got)
	}
}

// A repeat is refused and the transaction goes on; also while the first is not committed yet, and after its rollback it is
// no repeat. guarantees: O3
func TestGivenIDsAndUniqueKeys(t *testing.T) {
	w := newWorld(t, nil)
	id := sixfold.NewID()
	for name, opt := range map[string]func() outbox.Option{
		"id":     func() outbox.Option { return outbox.ID(id) },
		"unique": func() outbox.Option { return outbox.Unique("the order", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			first, err := w.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.box.Publish(t.Context(), sqltx.Pgx(first), message{"k", "rolled back"}, opt()); err != nil {
				t.Fatal(err)
			}
			second := make(chan error, 1)
			go func() { // waits for the first
				second <- w.in(func(tx pgx.Tx) error {
					_, err := w.box.Publish(t.Context(), sqltx.Pgx(tx), message{"k", "first"}, opt())
					return err
				})
			}()
			w.poll("the second waits", func() bool {
				return w.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
			})
			if err := first.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-second; err != nil {
				t.Fatal(err)
			}
			before := w.count(rowsLeft)
			err = w.in(func(tx pgx.Tx) error {
				if _, err := w.box.Publish(t.Context(), sqltx.Pgx(tx), message{"k", "again"}, opt()); !errors.Is(err, outbox.ErrDuplicateMessage) {
					t.Errorf("%v", err)
				}
				ids, err := w.box.PublishAll(t.Context(), sqltx.Pgx(tx), outbox.Of(message{"k", "a"}), outbox.Of(message{"k", "again"}, opt()), outbox.Of(message{"k", "b"}))
				if !errors.Is(err, outbox.ErrDuplicateMessage) || len(ids) != 3 {
					t.Errorf("%v, %v", ids, err)
				}
				_, err = tx.Exec(t.Context(), "SELECT 1") // usable
				return err
			})
			if after := w.count(rowsLeft); err != nil || after-before != 2 {
				t.Errorf("%v, %d rows more", err, after-before)
			}
		})
	}
}

// guarantees: O3
func TestUniqueWithin(t *testing.T) {
	w := newWorld(t, nil)
	const within = time.Hour
	w.publish(message{"k", "1"}, outbox.Unique("u", within))
	publish := func() error {
		return w.in(func(tx pgx.Tx) error {
			_, err := w.box.Publish(t.Context(), sqltx.Pgx(tx), message{"k", "2"}, outbox.Unique("u", within))
			return err
		})
	}
	if err := publish(); !errors.Is(err, outbox.ErrDuplicateMessage) {
		t.Error(err)
	}
	if n := w.count("SELECT count(*) FROM sixfold.published WHERE until BETWEEN now() + interval '30 minutes' AND now() + interval '1 hour'"); n != 1 {
		t.Errorf("%d of them are remembered for an hour", n)
	}
	w.exec("UPDATE sixfold.published SET until = until - interval '1 hour'") // the time is over
	if err := publish(); err != nil {
		t.Error(err)
	}
}

// What Do opened is rolled back as a whole by a repeat, and a connection that dies during COMMIT is looked into.
// guarantees: O3
func TestDoWithALostCommit(t *testing.T) {
	w := newWorld(t, nil)
	pool := connect(t, w.as.Application)
	db := sqltx.PgxDB(pool)
	for name, c := range map[string]struct {
		lose func(tx pgx.Tx) error
		say  string // empty: committed
	}{
		"after it was done": {func(tx pgx.Tx) error { return tx.Commit(t.Context()) }, ""},
		"before it was": {func(tx pgx.Tx) error {
			w.exec("SELECT pg_terminate_backend($1)", int32(tx.Conn().PgConn().PID()))
			return nil
		}, "may be done again"},
	} {
		t.Run(name, func(t *testing.T) {
			lossy := db
			lossy.Run = func(ctx context.Context, fn func(pgx.Tx) error) error {
				tx, err := pool.Begin(ctx)
				if err != nil {
					return err
				}
				defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
				if err := fn(tx); err != nil {
					return err
				}
				if err := c.lose(tx); err != nil {
					return err
				}
				return errors.New("unexpected EOF") // no word of the server's
			}
			before := w.count(rowsLeft)
			err := outbox.Do(t.Context(), w.box, lossy, func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
				u.Publish(message{"k", name})
				return nil
			})
			written := w.count(rowsLeft) - before
			if (c.say == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.say) || (written == 1) != (err == nil) {
				t.Errorf("%v, %d rows", err, written)
			}
		})
	}
}
