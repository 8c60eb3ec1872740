package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// childEnv marks a process of ours that is to be a NATS server; its value is the server's options.
const childEnv = "SIXFOLD_SERVERS_NATS"

// Reexec turns this process into a child server if it was started as one, and never returns then. A program that starts
// [StartNATSProcess] or [StartKafkaFake] calls it first in main; [Main] does it for tests.
func Reexec() {
	run := runChild
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		run = runKafkaChild
		text, ok = os.LookupEnv(kafkaChildEnv)
	}
	if !ok {
		return
	}
	if err := run(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild is the child: it says on which port it is ready, and ends at SIGTERM.
func runChild(text string) error {
	var o NATSOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("servers: %s is not a server's options: %w", childEnv, err)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, sigTerminate, os.Interrupt)
	n, err := StartNATS(context.Background(), &o)
	if err != nil {
		return err
	}
	fmt.Printf("ready on port %d\n", n.options.Port)
	<-terminate
	return n.Close()
}

var ready = regexp.MustCompile(`(?m)^ready on port (\d+)\n`)

// A NATSChild is a NATS server with JetStream in a child process, which can be killed. Its methods may be called by
// several goroutines.
type NATSChild struct {
	mu      sync.Mutex // held while the server starts or stops
	options NATSOptions
	dir     string // our own: holds log and pid file, and the store unless the options name one; removed by Close
	guard   *watchdog
	server  *process
}

// StartNATSProcess starts the running program once more, as a NATS server, and returns once that takes connections. The
// program must call [Reexec] first in main, or [Main] in TestMain. Whoever starts a server must close it.
func StartNATSProcess(ctx context.Context, o *NATSOptions) (*NATSChild, error) {
	n := &NATSChild{}
	if o != nil {
		n.options = *o
	}
	if n.options.Configure != nil {
		return nil, errors.New("servers: start NATS: Configure cannot reach a child process; use ConfigFile")
	}
	dir, err := os.MkdirTemp("", "sixfold-nats-")
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	n.dir = dir
	if n.options.StoreDir == "" {
		n.options.StoreDir = filepath.Join(dir, "store")
	}
	if n.guard, err = watch(n.pidFile(), dir); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Start starts a server that was stopped or killed, on the port and the files it had, and returns once it takes
// connections. It does nothing if the server runs.
func (n *NATSChild) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server.running() {
		return nil
	}
	if err := n.startOnce(ctx); err != nil {
		return fmt.Errorf("servers: start a NATS process: %w", err)
	}
	return nil
}

func (n *NATSChild) startOnce(ctx context.Context) error {
	text, err := json.Marshal(n.options)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(n.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	if n.server, err = startProcess(cmd, os.Kill); err != nil {
		return err
	}
	err = os.WriteFile(n.pidFile(), []byte(strconv.Itoa(n.server.pid())+"\n"), 0o600)
	if err == nil {
		n.options.Port, err = n.awaitReady(ctx)
	}
	if err != nil {
		return errors.Join(err, n.stop(os.Kill))
	}
	return nil
}

// awaitReady waits until the child has said on which port it takes connections.
func (n *NATSChild) awaitReady(ctx context.Context) (port int, err error) {
	for {
		text, err := os.ReadFile(n.logPath())
		if err != nil {
			return 0, err
		}
		if m := ready.FindSubmatch(text); m != nil {
			return strconv.Atoi(string(m[1]))
		}
		select {
		case <-n.server.ended:
			return 0, fmt.Errorf("the process ended at once (does the program call servers.Reexec first in main?); it says:\n%s", tail(text))
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the server in order (SIGTERM) and returns once it has ended. It does nothing if the server does not run.
func (n *NATSChild) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stop(sigTerminate)
}

// Kill kills the server (SIGKILL) and returns once it has ended. It does nothing if the server does not run.
func (n *NATSChild) Kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stop(os.Kill)
}

func (n *NATSChild) stop(sig os.Signal) error {
	if err := n.server.stop(sig, 30*time.Second); err != nil {
		return fmt.Errorf("servers: stop a NATS process: %w", err)
	}
	return nil
}

// Close ends the server and removes what it made.
func (n *NATSChild) Close() error {
	err := n.Kill()
	if n.guard != nil {
		os.Remove(n.pidFile()) // its number may be another process's by now
		n.guard.release()
	}
	return errors.Join(err, os.RemoveAll(n.dir))
}

// Pid returns the server's process id, or 0 if it does not run. A test may signal it: Start works after every end.
func (n *NATSChild) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.server.running() {
		return 0
	}
	return n.server.pid()
}

// URL returns the server's address for nats.Connect, which stays the same over restarts.
func (n *NATSChild) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return "nats://" + loopback(n.options.Port)
}

func (n *NATSChild) pidFile() string { return filepath.Join(n.dir, "pid") }
func (n *NATSChild) logPath() string { return filepath.Join(n.dir, "log") }
