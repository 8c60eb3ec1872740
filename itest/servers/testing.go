package servers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// A start may install a package from a slow mirror.
const startLimit = 10 * time.Minute

// shared is the one PostgreSQL server of a test process: starting one for each test would cost half a second and 200 MB
// each, and a database of its own separates a test well enough.
var shared struct {
	sync.Mutex
	server *PostgresServer
	err    error
}

// Postgres returns the PostgreSQL server that all tests of this process share, running: it starts the server at the first
// call, and again if a test stopped it. [Main] ends it. Where the machine cannot run one, t is skipped, or fails with
// SIXFOLD_REQUIRE=1; every later caller gets the same answer. A test that stops or signals the server, and does not run
// alone, takes [PrivatePostgres].
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	shared.Lock()
	defer shared.Unlock()
	switch {
	case shared.err != nil: // as before
	case shared.server == nil:
		shared.server, shared.err = StartPostgres(ctx, nil)
	default:
		if err := shared.server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if shared.err != nil {
		giveUp(t, shared.err)
	}
	return shared.server
}

// stopShared ends the shared server.
func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	err := shared.server.Close()
	shared.server, shared.err = nil, errors.New("servers: the shared PostgreSQL server was ended by Main; start it in a test")
	return err
}

// PrivatePostgres starts a PostgreSQL server for this test alone, and closes it when the test ends.
func PrivatePostgres(t testing.TB, o *PostgresOptions) *PostgresServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	p, err := StartPostgres(ctx, o)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of PostgreSQL ends with:\n%s", p.Log())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Database makes an empty database for this test, drops it when the test ends, and returns its URL.
func (p *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	dsn, err := p.CreateDatabase(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.Running() {
			return // a test may leave it stopped; the cluster goes away whole
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's own has ended
		defer cancel()
		if err := p.DropDatabase(ctx, dsn); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// Restart stops the server in the given way and starts it again on the same port.
func (p *PostgresServer) Restart(t testing.TB, how Shutdown) {
	t.Helper()
	if err := errors.Join(p.Stop(how), p.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// NATS starts an embedded NATS server with JetStream for this test, which takes some milliseconds, and closes it when the
// test ends. The options may be nil; without a StoreDir it is one of t.
func NATS(t testing.TB, o *NATSOptions) *NATSServer {
	t.Helper()
	n, err := StartNATS(t.Context(), withStore(t, o))
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() && n.Log() != "" {
			t.Logf("the NATS server says:\n%s", n.Log())
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Restart stops the server in order and starts it again with the same port and files.
func (n *NATSServer) Restart(t testing.TB) {
	t.Helper()
	n.Stop()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// NATSProcess starts a NATS server with JetStream in a child process, for tests that kill it, and closes it when the test
// ends. The package's TestMain must call [Main].
func NATSProcess(t testing.TB, o *NATSOptions) *NATSChild {
	t.Helper()
	n, err := StartNATSProcess(t.Context(), o)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Restart ends the server in order and starts it again with the same port and files.
func (n *NATSChild) Restart(t testing.TB) {
	t.Helper()
	if err := errors.Join(n.Stop(), n.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// withStore fills in a directory of the test.
func withStore(t testing.TB, o *NATSOptions) *NATSOptions {
	var filled NATSOptions
	if o != nil {
		filled = *o
	}
	if filled.StoreDir == "" {
		filled.StoreDir = t.TempDir()
	}
	return &filled
}
