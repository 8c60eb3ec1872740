// Package signing tests package signature over every transport, through the real drivers.
package signing

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/kafka"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

func TestMain(m *testing.M) { servers.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// orders is what everybody subscribes to.
var orders = bus.Subscription{Topics: []string{"orders"}, Group: "shipping"}

// private is the key of an owner: its name over and over.
func private(owner string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte(owner), ed25519.SeedSize)[:ed25519.SeedSize])
}

func signer(t testing.TB, owner string) *signature.Signer {
	t.Helper()
	s, err := signature.NewSigner(signature.SigningKey{ID: owner, Private: private(owner)}, "orders", nil)
	must(t, err)
	return s
}

func accepts(t testing.TB, owners ...string) *signature.Verifier {
	t.Helper()
	var keys []signature.VerifyKey
	for _, owner := range owners {
		keys = append(keys, signature.VerifyKey{ID: owner, Owner: owner + "-service", Public: private(owner).Public().(ed25519.PublicKey)})
	}
	v, err := signature.NewVerifier([]string{"orders"}, keys, nil)
	must(t, err)
	return v
}

func sqlite(t testing.TB, name string) (*store.Store, sqltx.DB[*sql.Tx]) {
	t.Helper()
	file, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), name)+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	must(t, err)
	t.Cleanup(func() { file.Close() })
	db := sqltx.StdDB(file)
	st, err := store.SQLite(db, nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	return st, db
}

// brokers opens each transport on a broker of its own.
var brokers = []struct {
	name string
	open func(t *testing.T) bus.Transport
}{
	{"memory", func(t *testing.T) bus.Transport { return memory.New(&memory.Options{Topics: orders.Topics}) }},
	{"nats", func(t *testing.T) bus.Transport {
		b, err := nats.New(servers.NATS(t, nil).URL(), &nats.Options{Topics: orders.Topics})
		must(t, err)
		return b
	}},
	{"rabbitmq", func(t *testing.T) bus.Transport {
		b, err := rabbitmq.New(servers.RabbitMQ(t).URL(), &rabbitmq.Options{Topics: orders.Topics, Groups: []bus.Subscription{orders}})
		must(t, err)
		return b
	}},
	{"kafka", func(t *testing.T) bus.Transport {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		must(t, err)
		t.Cleanup(c.Close)
		b, err := kafka.New("kafka://"+strings.Join(c.ListenAddrs(), ","), &kafka.Options{Topics: orders.Topics, Partitions: 2})
		must(t, err)
		return b
	}},
	{"sqlqueue", func(t *testing.T) bus.Transport {
		st, _ := sqlite(t, "broker.db")
		b, err := sqlqueue.New(st.Broker(), &sqlqueue.Options{Groups: []bus.Subscription{orders}})
		must(t, err)
		return b
	}},
}

func overEach(t *testing.T, test func(t *testing.T, broker bus.Transport)) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			broker := b.open(t)
			t.Cleanup(func() { _ = broker.Close(context.Background()) })
			test(t, broker)
		})
	}
}
