package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const superuser = "postgres"

// PostgresOptions are the options of [StartPostgres]. The zero value, and nil, is a server for tests.
type PostgresOptions struct {
	// Settings are lines of postgresql.conf, over the package's own: durability at the defaults, 200 connections, 10
	// prepared transactions, and pg_stat_statements preloaded if the machine has it.
	Settings map[string]string
	// OwnClock gives the server a clock that MoveClock moves, by libfaketime, which is installed where it is missing, as PostgreSQL is.
	OwnClock bool
}

// Shutdown says how a PostgreSQL server is stopped.
type Shutdown int

const (
	// Fast ends the sessions, writes a checkpoint and stops (SIGINT).
	Fast Shutdown = iota
	// Immediate stops without a checkpoint, as in a crash; the next start recovers (SIGQUIT).
	Immediate
	// Kill kills the postmaster (SIGKILL); its children notice and end.
	Kill
)

// A PostgresServer is a private PostgreSQL server with a cluster of its own. Its methods may be called by several goroutines.
type PostgresServer struct {
	bin      *binaries
	as       *account
	dir      string // holds data, socket and log; removed by Close
	password string
	guard    *watchdog
	fakeTime string // the library that moves its clock; empty: it has the machine's

	mu     sync.Mutex // held while the server starts or stops
	port   int        // fixed by the first start that succeeds
	server *process
	closed bool
}

// StartPostgres starts a server and returns once it takes connections. It installs PostgreSQL where it is missing, which
// takes a minute, if we are root on Debian; the first start on a machine runs initdb, which takes seconds; later ones take
// about half a second. The context limits the start only. Whoever starts a server must close it.
func StartPostgres(ctx context.Context, o *PostgresOptions) (*PostgresServer, error) {
	if o == nil {
		o = &PostgresOptions{}
	}
	bin, err := findBinaries(ctx)
	if err != nil {
		return nil, err
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	p := &PostgresServer{bin: bin, as: as, password: newPassword()}
	if o.OwnClock {
		if p.fakeTime, err = findFakeTime(ctx); err != nil {
			return nil, err
		}
	}
	if p.dir, err = as.makeDir("sixfold-pg-"); err != nil {
		return nil, err
	}
	if err := p.create(ctx, o); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// create makes the cluster and starts the server on a port that nobody else has.
func (p *PostgresServer) create(ctx context.Context, o *PostgresOptions) error {
	for _, dir := range []string{p.data(), p.sockets()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
		if err := p.as.own(dir); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
	}
	if p.fakeTime != "" {
		if err := p.moveClock(0); err != nil {
			return err
		}
	}
	guard, err := watch(p.pidFile(), p.dir)
	if err != nil {
		return err
	}
	p.guard = guard
	if err := copyTemplate(ctx, p.bin, p.as, p.data()); err != nil {
		return err
	}
	if err := configure(p.data(), settings(p.sockets(), p.bin, o.Settings)); err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	return p.exec(ctx, p.socketDSN(), "ALTER ROLE "+superuser+" PASSWORD '"+p.password+"'")
}

// Start starts a server that was stopped, killed or has crashed, on the port it had, and returns once it takes
// connections. It does nothing if the server runs.
func (p *PostgresServer) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("servers: start PostgreSQL: it was closed; start another")
	}
	if p.server.running() {
		return nil
	}
	for try := 1; ; try++ {
		err := p.startOnce(ctx)
		if err == nil {
			return nil
		}
		// A port that was free may be taken by now, and the children of a killed postmaster may still be ending.
		var early *earlyExit
		again := errors.As(err, &early) && (early.says("could not bind") || early.says("shared memory block"))
		if !again || try == 300 { // children that write to a busy disk notice the death late
			return fmt.Errorf("servers: start PostgreSQL: %w", err)
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("servers: start PostgreSQL: %w", errors.Join(ended, err))
		}
	}
}

// startOnce starts the postmaster once and waits until it is ready or ends.
func (p *PostgresServer) startOnce(ctx context.Context) error {
	port := p.port
	if port == 0 {
		free, err := freePort()
		if err != nil {
			return err
		}
		port = free
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	start, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.bin.postgres, "-D", p.data(), "-p", strconv.Itoa(port))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, append(serverEnv(), p.clockEnv()...), log, log
	runAs(cmd, p.as)
	server, err := startProcess(cmd, sigImmediate)
	if err != nil {
		return fmt.Errorf("%w (program %s)", err, p.bin.postgres)
	}
	if err := p.awaitReady(ctx, server, start); err != nil {
		return errors.Join(err, server.stop(sigImmediate, time.Minute))
	}
	p.port, p.server = port, server
	return nil
}

// awaitReady returns once the server has written "ready" into its pid file, which is what pg_ctl waits for as well.
func (p *PostgresServer) awaitReady(ctx context.Context, server *process, logStart int64) error {
	for {
		text, err := os.ReadFile(p.pidFile())
		if lines := strings.Split(string(text), "\n"); err == nil && len(lines) > 7 &&
			lines[0] == strconv.Itoa(server.pid()) && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
		select {
		case <-server.ended:
			return &earlyExit{log: p.logSince(logStart)}
		case <-ctx.Done():
			return fmt.Errorf("%w before the server was ready; its log says:\n%s", ctx.Err(), p.logSince(logStart))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// earlyExit is the error of a server that ended before it was ready.
type earlyExit struct{ log string }

func (e *earlyExit) Error() string {
	return "the server ended at once; its log says:\n" + e.log
}

func (e *earlyExit) says(text string) bool { return strings.Contains(e.log, text) }

// Stop stops the server and returns once the postmaster has ended. It does nothing if the server does not run.
func (p *PostgresServer) Stop(how Shutdown) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop(how)
}

func (p *PostgresServer) stop(how Shutdown) error {
	sig := map[Shutdown]os.Signal{Fast: sigFast, Immediate: sigImmediate, Kill: os.Kill}[how]
	if sig == nil {
		return fmt.Errorf("servers: stop PostgreSQL: unknown way %d; use Fast, Immediate or Kill", how)
	}
	if err := p.server.stop(sig, time.Minute); err != nil {
		return fmt.Errorf("servers: stop PostgreSQL: %w", err)
	}
	return nil
}

// Close stops the server and removes its data. It may be called more than once.
func (p *PostgresServer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	err := p.stop(Immediate) // the data go away; a checkpoint would be for nothing
	if p.guard != nil {
		os.Remove(p.pidFile()) // a killed server leaves it, and its number may be another process's by now
		p.guard.release()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Running reports whether the postmaster runs.
func (p *PostgresServer) Running() bool { return p.Pid() != 0 }

// Pid returns the postmaster's process id, or 0 if it does not run. A test may signal it: Start works after every end.
func (p *PostgresServer) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.server.running() {
		return 0
	}
	return p.server.pid()
}

// Addr returns host and port, which stay the same over restarts.
func (p *PostgresServer) Addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return loopback(p.port)
}

// DSN returns the URL of the database postgres over TCP, as its superuser. pgx takes it, and so does psql.
func (p *PostgresServer) DSN() string { return p.dsnOf("postgres") }

// dsnOf returns the URL of a database over TCP.
func (p *PostgresServer) dsnOf(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, p.password),
		Host: p.Addr(), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// socketDSN is how we come in before there is a password.
func (p *PostgresServer) socketDSN() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("host=%s port=%d user=%s dbname=postgres sslmode=disable", p.sockets(), p.port, superuser)
}

// exec runs one statement on a connection of its own.
func (p *PostgresServer) exec(ctx context.Context, dsn, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("servers: connect to PostgreSQL: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Log returns the end of the server's log.
func (p *PostgresServer) Log() string { return p.logSince(0) }

func (p *PostgresServer) logSince(offset int64) string {
	text, err := os.ReadFile(p.logPath())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return tail(text[min(offset, int64(len(text))):])
}

func (p *PostgresServer) data() string    { return filepath.Join(p.dir, "data") }
func (p *PostgresServer) sockets() string { return filepath.Join(p.dir, "s") }
func (p *PostgresServer) pidFile() string { return filepath.Join(p.data(), "postmaster.pid") }
func (p *PostgresServer) logPath() string { return filepath.Join(p.dir, "log") }

// pause waits, or returns the context's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
