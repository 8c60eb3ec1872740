package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MariaDBOptions are the options of [StartMariaDB]. The zero value, and nil, is a server for tests.
type MariaDBOptions struct {
	// Settings are options of the server, without dashes in front, over the package's own: durability at the defaults
	// and 300 connections. Option files of the machine are not read.
	Settings map[string]string
}

// A MariaDBServer is a private MariaDB server with data of its own. Its methods may be called by several goroutines.
type MariaDBServer struct {
	bin      *mariaBinaries
	as       *account
	dir      string // holds data, socket and log; removed by Close
	password string
	options  []string
	guard    *watchdog

	mu     sync.Mutex // held while the server starts or stops
	port   int        // fixed by the first start that succeeds
	server *process
	closed bool
}

// StartMariaDB starts a server and returns once it takes connections. It installs MariaDB where it is missing, which takes
// a minute, if we are root on Debian; the first start on a machine makes the system tables, which takes seconds; later
// ones take about a second. The context limits the start only. Whoever starts a server must close it.
func StartMariaDB(ctx context.Context, o *MariaDBOptions) (*MariaDBServer, error) {
	if o == nil {
		o = &MariaDBOptions{}
	}
	bin, err := findMariaDB(ctx)
	if err != nil {
		return nil, err
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	m := &MariaDBServer{bin: bin, as: as, password: newPassword(), options: mariaOptions(o.Settings)}
	if m.dir, err = as.makeDir("sixfold-maria-"); err != nil {
		return nil, err
	}
	if err := m.create(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// mariaOptions are the options of the command line but for places. A small log and buffer pool keep many servers on one
// machine cheap; what is durable stays as the server has it.
func mariaOptions(extra map[string]string) []string {
	all := map[string]string{
		"bind-address": "127.0.0.1", "skip-name-resolve": "ON", "max-connections": "300",
		"innodb-buffer-pool-size": "64M", "innodb-log-file-size": mariaLogSize, "key-buffer-size": "1M",
	}
	for name, value := range extra {
		all[strings.ReplaceAll(name, "_", "-")] = value
	}
	var options []string
	for name, value := range all {
		options = append(options, "--"+name+"="+value)
	}
	slices.Sort(options)
	return options
}

// create copies the template and starts the server on a port that nobody else has.
func (m *MariaDBServer) create(ctx context.Context) error {
	for _, dir := range []string{m.data(), m.temporary()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
		if err := m.as.own(dir); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
	}
	guard, err := watch(m.pidFile(), m.dir)
	if err != nil {
		return err
	}
	m.guard = guard
	if err := copyMariaTemplate(ctx, m.bin, m.as, m.data()); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", m.socket()
	return mariaExec(ctx, config.FormatDSN(),
		"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '"+m.password+"'",
		"GRANT ALL PRIVILEGES ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
		"ALTER USER root@localhost IDENTIFIED BY '"+m.password+"'")
}

// Start starts a server that was stopped, killed or has crashed, on the port it had, and returns once it takes
// connections. It does nothing if the server runs.
func (m *MariaDBServer) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errors.New("servers: start MariaDB: it was closed; start another")
	}
	if m.server.running() {
		return nil
	}
	for try := 1; ; try++ {
		err := m.startOnce(ctx)
		if err == nil {
			return nil
		}
		var early *earlyExit // a port that was free may be taken by now
		if again := errors.As(err, &early) && early.says("Bind on TCP/IP port"); !again || try == 50 {
			return fmt.Errorf("servers: start MariaDB: %w", err)
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("servers: start MariaDB: %w", errors.Join(ended, err))
		}
	}
}

// startOnce starts the server once and waits until it is ready or ends.
func (m *MariaDBServer) startOnce(ctx context.Context) error {
	port := m.port
	if port == 0 {
		free, err := freePort()
		if err != nil {
			return err
		}
		port = free
	}
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	start, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	args := append([]string{"--no-defaults"}, m.options...)
	args = append(args, "--datadir="+m.data(), "--tmpdir="+m.temporary(), "--socket="+m.socket(), "--pid-file="+m.pidFile(), "--port="+strconv.Itoa(port))
	cmd := exec.Command(m.bin.server, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = m.dir, serverEnv(), log, log
	runAs(cmd, m.as)
	server, err := startProcess(cmd, os.Kill)
	if err != nil {
		return fmt.Errorf("%w (program %s)", err, m.bin.server)
	}
	for !strings.Contains(m.logSince(start), "ready for connections") {
		select {
		case <-server.ended:
			return &earlyExit{log: m.logSince(start)}
		case <-ctx.Done():
			err := fmt.Errorf("%w before the server was ready; its log says:\n%s", ctx.Err(), m.logSince(start))
			return errors.Join(err, server.stop(os.Kill, time.Minute))
		case <-time.After(5 * time.Millisecond):
		}
	}
	m.port, m.server = port, server
	return nil
}

// Stop stops the server and returns once it has ended: Fast ends the sessions and shuts down in order (SIGTERM), the others
// kill it (SIGKILL), after which the next start recovers. It does nothing if the server does not run.
func (m *MariaDBServer) Stop(how Shutdown) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stop(how)
}

func (m *MariaDBServer) stop(how Shutdown) error {
	sig := map[Shutdown]os.Signal{Fast: sigTerminate, Immediate: os.Kill, Kill: os.Kill}[how]
	if sig == nil {
		return fmt.Errorf("servers: stop MariaDB: unknown way %d; use Fast, Immediate or Kill", how)
	}
	if err := m.server.stop(sig, time.Minute); err != nil {
		return fmt.Errorf("servers: stop MariaDB: %w", err)
	}
	return nil
}

// Close stops the server and removes its data. It may be called more than once.
func (m *MariaDBServer) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	err := m.stop(Kill) // the data go away; a shutdown in order would be for nothing
	if m.guard != nil {
		os.Remove(m.pidFile()) // a killed server leaves it, and its number may be another process's by now
		m.guard.release()
	}
	return errors.Join(err, os.RemoveAll(m.dir))
}

// Running reports whether the server runs.
func (m *MariaDBServer) Running() bool { return m.Pid() != 0 }

// Pid returns the server's process id, or 0 if it does not run. A test may signal it: Start works after every end.
func (m *MariaDBServer) Pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.server.running() {
		return 0
	}
	return m.server.pid()
}

// Version is what the server's program says of itself, such as "10.11.6-MariaDB".
func (m *MariaDBServer) Version() string { return m.bin.version }

// Addr returns host and port, which stay the same over restarts.
func (m *MariaDBServer) Addr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return loopback(m.port)
}

// DSN returns the DSN of the server without a database, over TCP as its root, as go-sql-driver/mysql has them.
func (m *MariaDBServer) DSN() string { return m.dsnOf("") }

func (m *MariaDBServer) dsnOf(database string) string {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = "root", m.password, "tcp", m.Addr(), database
	return config.FormatDSN()
}

// mariaExec runs statements one by one on a connection of its own.
func mariaExec(ctx context.Context, dsn string, statements ...string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return fmt.Errorf("servers: connect to MariaDB: %w", err)
	}
	for _, s := range statements {
		if _, failed := db.ExecContext(ctx, s); failed != nil {
			err = fmt.Errorf("servers: ask MariaDB: %w", failed)
			break
		}
	}
	return errors.Join(err, db.Close())
}

// Log returns the end of the server's log.
func (m *MariaDBServer) Log() string { return m.logSince(0) }

func (m *MariaDBServer) logSince(offset int64) string {
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return tail(text[min(offset, int64(len(text))):])
}

func (m *MariaDBServer) data() string      { return filepath.Join(m.dir, "data") }
func (m *MariaDBServer) temporary() string { return filepath.Join(m.dir, "tmp") }
func (m *MariaDBServer) socket() string    { return filepath.Join(m.dir, "tmp", "sock") }
func (m *MariaDBServer) pidFile() string   { return filepath.Join(m.data(), "server.pid") }
func (m *MariaDBServer) logPath() string   { return filepath.Join(m.dir, "log") }
