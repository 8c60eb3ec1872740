package servers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// sharedMaria is the one MariaDB server of a test process; a database of its own separates a test well enough.
var sharedMaria struct {
	sync.Mutex
	server *MariaDBServer
	err    error
}

// MariaDB returns the MariaDB server that all tests of this process share, running: it starts the server at the first
// call, and again if a test stopped it. [Main] ends it. Where the machine cannot run one, t is skipped, or fails with
// SIXFOLD_REQUIRE=1. A test that stops or signals the server, and does not run alone, takes [PrivateMariaDB].
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	long(t, "MariaDB")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	sharedMaria.Lock()
	defer sharedMaria.Unlock()
	switch {
	case sharedMaria.err != nil: // as before
	case sharedMaria.server == nil:
		sharedMaria.server, sharedMaria.err = StartMariaDB(ctx, nil)
	default:
		if err := sharedMaria.server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if sharedMaria.err != nil {
		giveUp(t, sharedMaria.err)
	}
	return sharedMaria.server
}

// stopSharedMariaDB ends the shared server.
func stopSharedMariaDB() error {
	sharedMaria.Lock()
	defer sharedMaria.Unlock()
	if sharedMaria.server == nil {
		return nil
	}
	err := sharedMaria.server.Close()
	sharedMaria.server, sharedMaria.err = nil, errors.New("servers: the shared MariaDB server was ended by Main; start it in a test")
	return err
}

// PrivateMariaDB starts a MariaDB server for this test alone, and closes it when the test ends.
func PrivateMariaDB(t testing.TB, o *MariaDBOptions) *MariaDBServer {
	t.Helper()
	long(t, "MariaDB")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	m, err := StartMariaDB(ctx, o)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of MariaDB ends with:\n%s", m.Log())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// CreateDatabase makes an empty database and returns its DSN. The name is made of hint, which may be any text, such as a
// test's name, and of a random part.
func (m *MariaDBServer) CreateDatabase(ctx context.Context, hint string) (dsn string, err error) {
	name := databaseName(hint)
	if err := mariaExec(ctx, m.DSN(), "CREATE DATABASE `"+name+"`"); err != nil {
		return "", fmt.Errorf("servers: create database %q: %w", name, err)
	}
	return m.dsnOf(name), nil
}

// Database makes an empty database for this test, drops it when the test ends, and returns its DSN, to which parameters
// can be added behind a question mark.
func (m *MariaDBServer) Database(t testing.TB) string {
	t.Helper()
	dsn, err := m.CreateDatabase(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !m.Running() {
			return // a test may leave it stopped; the data go away whole
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's own has ended
		defer cancel()
		config, err := mysql.ParseDSN(dsn)
		if err == nil {
			err = mariaExec(ctx, m.DSN(), "DROP DATABASE IF EXISTS `"+config.DBName+"`")
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// Restart stops the server in the given way and starts it again on the same port.
func (m *MariaDBServer) Restart(t testing.TB, how Shutdown) {
	t.Helper()
	if err := errors.Join(m.Stop(how), m.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
}
