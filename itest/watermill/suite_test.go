package watermill

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	_ "modernc.org/sqlite" // registers "sqlite"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/kafka"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// Environment of the process that runs the suite: that it is one, and with FULL=1 all of it, which takes minutes.
const (
	childEnv = "SIXFOLD_WATERMILL_CHILD"
	fullEnv  = "SIXFOLD_WATERMILL_FULL"
)

func TestMain(m *testing.M) { servers.Main(m) }

// suiteTimeout is how long the suite waits for most of what must happen: 15 s by default, of which a busy machine may stand still for ten.
//
//go:linkname suiteTimeout github.com/ThreeDotsLabs/watermill/pubsub/tests.defaultTimeout
var suiteTimeout time.Duration

// transports are what the suite runs on: each makes a function that connects as another process would.
var transports = map[string]func(t *testing.T) (connect func() (bus.Transport, error)){
	"memory": func(*testing.T) func() (bus.Transport, error) {
		broker := memory.New(nil)
		return func() (bus.Transport, error) { return unclosed{broker}, nil }
	},
	"nats": func(t *testing.T) func() (bus.Transport, error) {
		url := servers.NATS(t, nil).URL()
		return func() (bus.Transport, error) { return nats.New(url, nil) }
	},
	"kafka": func(t *testing.T) func() (bus.Transport, error) {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		seeds := strings.Join(cluster.ListenAddrs(), ",")
		return func() (bus.Transport, error) {
			return kafka.New(seeds, &kafka.Options{Partitions: 12, SessionTimeout: 6 * time.Second})
		}
	},
	"sqlqueue": func(t *testing.T) func() (bus.Transport, error) {
		pool, err := pgxpool.New(t.Context(), servers.Postgres(t).Database(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		st, err := store.Postgres(sqltx.PgxDB(pool), nil)
		return queue(t, st, err)
	},
	// One connection, so that who writes waits for its turn there: of several each asks again and again for the file's lock, where nobody has a
	// turn, and of the dozens of members here one may wait for longer than it should.
	"sqlite": func(t *testing.T) func() (bus.Transport, error) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "queue.db")+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		st, err := store.SQLite(sqltx.StdDB(db), nil)
		return queue(t, st, err)
	},
	"rabbitmq": func(t *testing.T) func() (bus.Transport, error) {
		url := servers.RabbitMQ(t).URL()
		return func() (bus.Transport, error) { return rabbitmq.New(url, nil) }
	},
}

// queue is a database as the broker, in one process as a service with only a database has it.
func queue(t *testing.T, st *store.Store, err error) func() (bus.Transport, error) {
	t.Helper()
	if err == nil {
		err = st.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() (bus.Transport, error) { return sqlqueue.New(st.Broker(), nil) }
}

// unclosed is a broker that all of a test share.
type unclosed struct{ bus.Transport }

func (unclosed) Close(context.Context) error { return nil }

// The suite cannot be given one: a server is not restarted by a command here, and torture tests do worse. And a group begins with what it has
// not settled, not with everything that was ever sent.
var skipped = []string{"TestNewSubscriberReceivesOldMessages", "TestReconnect"}

// tests.TestPubSub does not say what it skipped, so it runs in a process of its own, whose output does.
func TestSuite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range transports {
		t.Run(name, func(t *testing.T) {
			if name == "sqlite" && raced {
				t.Skip("SQLite is a Go program here, which the race detector makes many times slower: the suite takes minutes, and its own limits run out")
			}
			args := []string{"-test.run=^TestChild$/^" + name + "$", "-test.v", "-test.timeout=20m", "-test.parallel=4"}
			cmd := exec.CommandContext(t.Context(), self, args...)
			cmd.Env = append(os.Environ(), childEnv+"=1")
			text, err := cmd.CombinedOutput()
			out := string(text)
			if reason, ok := unavailable(out, name); ok {
				t.Skip(reason)
			}
			if err != nil {
				keep := filepath.Join(t.ArtifactDir(), "output.txt")
				_ = os.WriteFile(keep, text, 0o600)
				t.Fatalf("%v; all output is in %s; it ends with:\n%s", err, keep, out[max(0, len(out)-4000):])
			}
			if passed := results(out, "PASS"); len(passed) != 14 {
				t.Errorf("%d tests passed, want 14: %q", len(passed), passed)
			}
			if got := results(out, "SKIP"); !slices.Equal(got, skipped) {
				t.Errorf("skipped: %q, want %q", got, skipped)
			}
		})
	}
}

var result = regexp.MustCompile(`(?m)^ *--- (PASS|SKIP|FAIL): TestChild/[a-z]+/(Test[A-Za-z]+)/[0-9a-f-]+ `)

// results are the suite's tests that ended so, in order.
func results(out, how string) (names []string) {
	for _, m := range result.FindAllStringSubmatch(out, -1) {
		if m[1] == how {
			names = append(names, m[2])
		}
	}
	slices.Sort(names)
	return names
}

// unavailable says why there is no server.
func unavailable(out, name string) (string, bool) {
	if !strings.Contains(out, "--- SKIP: TestChild/"+name+" ") {
		return "", false
	}
	return "there is no server: " + strings.TrimSpace(out[max(0, len(out)-500):]), true
}

// TestChild is the suite itself.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("it is run by TestSuite")
	}
	suiteTimeout = time.Minute
	for name, open := range transports {
		t.Run(name, func(t *testing.T) {
			connect := open(t)
			inGroup := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
				t.Helper()
				transport, err := connect()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := transport.Close(context.Background()); err != nil {
						t.Error(err)
					}
				})
				p, err := NewPublisher(transport, key)
				if err != nil {
					t.Fatal(err)
				}
				sub := NewSubscriber(transport, group)
				t.Cleanup(func() { // the suite leaves some open
					if err := errors.Join(p.Close(), sub.Close()); err != nil {
						t.Error(err)
					}
				})
				return p, sub
			}
			tests.TestPubSub(t, tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true, ForceShort: os.Getenv(fullEnv) != "1"},
				func(t *testing.T) (message.Publisher, message.Subscriber) { t.Helper(); return inGroup(t, "group") }, inGroup)
		})
	}
}

// key is the payload, which is what the suite keeps in order by. "x" is what it sends where nothing is in order.
func key(m *message.Message) string {
	if k := string(m.Payload); k != "x" {
		return k
	}
	return ""
}
