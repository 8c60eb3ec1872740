package requests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/kafka"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// TestMain is also that of the responders which tests kill.
func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(responderEnv); ok {
		if err := beResponder(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	servers.Main(m)
}

// patience is how long what must happen may take. It is only used up by a failure.
const patience = 2 * time.Minute

// slack is by how much an outcome may come after its deadline here, since the machine may be busy. The promise is 100 ms, to which calls are held where
// time is virtual.
const slack = 20 * time.Second

// broker is one of a test's own, in another process.
type broker struct {
	url   string
	kill  func() error // by SIGKILL
	start func(ctx context.Context) error
}

// brokers start each kind there is a lane for.
func brokers() map[string]func(t *testing.T) broker {
	return map[string]func(t *testing.T) broker{
		"nats": func(t *testing.T) broker {
			s := servers.NATSProcess(t, nil)
			return broker{s.URL(), s.Kill, s.Start}
		},
		"rabbitmq": func(t *testing.T) broker {
			s := servers.PrivateRabbitMQ(t, nil)
			return broker{s.URL(), s.Kill, s.Start}
		},
		"kafka": func(t *testing.T) broker {
			s, err := servers.StartKafkaFake(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return broker{s.URL(), s.Kill, s.Start}
		},
		"postgres": func(t *testing.T) broker {
			s := servers.PrivatePostgres(t, nil)
			url := s.Database(t)
			pool, err := pgxpool.New(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			st, err := store.Postgres(sqltx.PgxDB(pool), nil)
			if err == nil {
				err = st.Migrate(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			return broker{url, func() error { return s.Stop(servers.Kill) }, s.Start}
		},
	}
}

// onEach runs a test with a broker of each kind. TestMain looks that no goroutine is left behind.
func onEach(t *testing.T, brokers map[string]func(t *testing.T) broker, test func(t *testing.T, b broker)) {
	t.Helper()
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "nats" {
				t.Skip("-short: on NATS only")
			}
			t.Parallel() // they wait for most of the time
			test(t, start(t))
		})
	}
}

// laneAt makes the lane of a process. It has to be closed.
func laneAt(url string) (lane request.Lane, closeLane func() error, err error) {
	scheme, _, _ := strings.Cut(url, "://")
	switch scheme {
	case "nats":
		t, err := nats.New(url, &nats.Options{Logger: quiet()})
		if err != nil {
			return nil, nil, err
		}
		lane, err := t.RequestLane(nil)
		return lane, func() error { return t.Close(context.Background()) }, err
	case "amqp":
		t, err := rabbitmq.New(url, &rabbitmq.Options{Logger: quiet()})
		if err != nil {
			return nil, nil, err
		}
		lane, err := t.RequestLane(nil)
		return lane, func() error { return t.Close(context.Background()) }, err
	case "kafka":
		t, err := kafka.New(url, &kafka.Options{SessionTimeout: 6 * time.Second, Partitions: 4, Logger: quiet()})
		if err != nil {
			return nil, nil, err
		}
		lane, err := t.RequestLane(nil)
		return lane, func() error { return t.Close(context.Background()) }, err
	case "postgres", "postgresql":
		pool, err := pgxpool.New(context.Background(), url)
		if err != nil {
			return nil, nil, err
		}
		closePool := func() error { pool.Close(); return nil }
		st, err := store.Postgres(sqltx.PgxDB(pool), nil)
		if err != nil {
			return nil, nil, errors.Join(err, closePool())
		}
		lane, err := sqlqueue.NewRequestLane(st.Requests(), &sqlqueue.RequestLaneOptions{Poll: 50 * time.Millisecond, Logger: quiet()})
		return lane, closePool, err
	}
	return nil, nil, fmt.Errorf("no lane for %q", scheme)
}

// lane is laneAt for a test.
func (b broker) lane(t *testing.T) request.Lane {
	t.Helper()
	lane, closeLane, err := laneAt(b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeLane(); err != nil {
			t.Error(err)
		}
	})
	return lane
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// await looks until it is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("in vain waited for:", what)
		}
	}
}
