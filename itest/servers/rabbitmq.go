package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitMQOptions are the options of [StartRabbitMQ]. The zero value, and nil, is a node for tests.
type RabbitMQOptions struct {
	// CAFile, CertFile and KeyFile, in PEM, add a listener for TLS, which asks clients for a certificate of the CA.
	CAFile, CertFile, KeyFile string
	// Config are more lines of rabbitmq.conf.
	Config []string
}

// A RabbitMQServer is a private RabbitMQ node with an epmd, a directory and a cookie of its own. Its methods may be called
// by several goroutines.
type RabbitMQServer struct {
	bin      *rabbitBinaries
	dir      string // holds everything; removed by Close
	password string
	options  RabbitMQOptions
	guards   []*watchdog

	mu                                sync.Mutex // held while the node starts or stops
	epmd, server                      *process
	port, tlsPort, epmdPort, distPort int // fixed by the first start that succeeds
	closed                            bool
}

const rabbitUser = "sixfold"

// StartRabbitMQ starts a node and returns once it takes connections, which takes about six seconds. It installs
// RabbitMQ where it is missing, which takes a minute, if we are root on Debian. The context limits the start only. Whoever
// starts a node must close it.
func StartRabbitMQ(ctx context.Context, o *RabbitMQOptions) (*RabbitMQServer, error) {
	bin, err := findRabbitMQ(ctx)
	if err != nil {
		return nil, err
	}
	r := &RabbitMQServer{bin: bin, password: newPassword()}
	if o != nil {
		r.options = *o
	}
	if r.dir, err = os.MkdirTemp("", "sixfold-rabbitmq-"); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	if err := r.create(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// create writes what the node needs, and starts it.
func (r *RabbitMQServer) create(ctx context.Context) error {
	for name, text := range map[string]string{".erlang.cookie": newPassword(), "enabled_plugins": "[].\n"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o400); err != nil {
			return fmt.Errorf("servers: %w", err)
		}
	}
	for _, pidFile := range []string{r.path("node.pid"), r.path("epmd.pid")} { // each removes the directory; once is enough
		guard, err := watch(pidFile, r.dir)
		if err != nil {
			return err
		}
		r.guards = append(r.guards, guard)
	}
	return r.Start(ctx)
}

// Start starts a node that was stopped, killed or has crashed, on the ports it had, and returns once it takes
// connections. It does nothing if the node runs.
func (r *RabbitMQServer) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("servers: start RabbitMQ: it was closed; start another")
	}
	if r.server.running() {
		return nil
	}
	for try := 1; ; try++ {
		err := r.startOnce(ctx)
		if err == nil {
			return nil
		}
		// A port that was free may be taken by now.
		var early *earlyExit
		again := errors.As(err, &early) && (early.says("eaddrinuse") || early.says("Address already in use"))
		if !again || try == 10 {
			return fmt.Errorf("servers: start RabbitMQ: %w", err)
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("servers: start RabbitMQ: %w", errors.Join(ended, err))
		}
	}
}

// startOnce starts epmd, if it does not run, and the node, and waits until that is ready or ends.
func (r *RabbitMQServer) startOnce(ctx context.Context) error {
	if r.server == nil { // no start has succeeded yet: draw the ports, again if they were taken
		ports, err := freePorts(4)
		if err != nil {
			return err
		}
		r.port, r.tlsPort, r.epmdPort, r.distPort = ports[0], ports[1], ports[2], ports[3]
		if err := r.epmd.stop(os.Kill, time.Minute); err != nil {
			return err
		}
		if err := os.WriteFile(r.path("rabbitmq.conf"), []byte(r.config()), 0o600); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(r.path("log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if !r.epmd.running() {
		cmd := exec.Command(r.bin.epmd, "-port", strconv.Itoa(r.epmdPort), "-address", "127.0.0.1")
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env(), log, log
		if r.epmd, err = r.launch(cmd, "epmd.pid"); err != nil {
			return err
		}
	}
	cmd := exec.Command(r.bin.server)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env(), log, log
	server, err := r.launch(cmd, "node.pid")
	if err != nil {
		return err
	}
	if err := r.awaitReady(ctx, server); err != nil {
		return errors.Join(err, server.stop(os.Kill, time.Minute))
	}
	r.server = server
	return nil
}

// launch starts a child and tells its watchdog.
func (r *RabbitMQServer) launch(cmd *exec.Cmd, pidFile string) (*process, error) {
	p, err := startProcess(cmd, os.Kill)
	if err != nil {
		return nil, fmt.Errorf("%w (program %s)", err, cmd.Path)
	}
	if err := os.WriteFile(r.path(pidFile), []byte(strconv.Itoa(p.pid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, p.stop(os.Kill, time.Minute))
	}
	return p, nil
}

// config returns rabbitmq.conf.
func (r *RabbitMQServer) config() string {
	lines := []string{"listeners.tcp.1 = " + loopback(r.port), "default_user = " + rabbitUser, "default_pass = " + r.password,
		"log.console = true", "log.console.level = warning", "log.file = false",
		// Disks and memory of test machines are small and shared; an alarm would block publishers.
		"disk_free_limit.absolute = 50MB", "vm_memory_high_watermark.relative = 0.8"}
	if r.options.CertFile != "" {
		lines = append(lines, "listeners.ssl.1 = "+loopback(r.tlsPort), "ssl_options.cacertfile = "+r.options.CAFile, "ssl_options.certfile = "+r.options.CertFile,
			"ssl_options.keyfile = "+r.options.KeyFile, "ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true")
	}
	return strings.Join(append(lines, r.options.Config...), "\n") + "\n"
}

// env is the environment of everything that belongs to the node. Nothing of the machine's own settings reaches it.
func (r *RabbitMQServer) env() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RABBITMQ_") && !strings.HasPrefix(v, "ERL_") && !strings.HasPrefix(v, "HOME=") {
			env = append(env, v)
		}
	}
	const quiet = " +sbwt none +sbwtdcpu none +sbwtdio none" // schedulers that spin would take the processors from the tests
	return append(env, "HOME="+r.dir, "RABBITMQ_NODENAME=sixfold@localhost", "ERL_EPMD_PORT="+strconv.Itoa(r.epmdPort), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_DIST_PORT="+strconv.Itoa(r.distPort), "RABBITMQ_MNESIA_BASE="+r.path("mnesia"), "RABBITMQ_LOG_BASE="+r.path("logs"), "RABBITMQ_CONFIG_FILE="+r.path("rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+r.path("enabled_plugins"), "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_PID_FILE="+r.path("rabbit.pid"),
		"RUNNING_UNDER_SYSTEMD=1", // the script becomes the node, so that its process id is the node's
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"+quiet)
}

// tlsListens asks whether the listener for TLS, which opens after the other one, is there.
func (r *RabbitMQServer) tlsListens() error {
	if r.options.CAFile == "" {
		return nil
	}
	conn, err := net.Dial("tcp", loopback(r.tlsPort))
	if err != nil {
		return err
	}
	return conn.Close()
}

// awaitReady returns once a client can log in.
func (r *RabbitMQServer) awaitReady(ctx context.Context, server *process) error {
	for {
		conn, err := amqp.Dial(r.url("amqp", r.port))
		if err == nil {
			err = errors.Join(conn.Close(), r.tlsListens())
		}
		if err == nil {
			return nil
		}
		select {
		case <-server.ended:
			return &earlyExit{log: r.Log()}
		case <-ctx.Done():
			return fmt.Errorf("%w before the node was ready; its log says:\n%s", ctx.Err(), r.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Control runs rabbitmqctl with the arguments against the node, which must run.
func (r *RabbitMQServer) Control(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, r.bin.control, args...)
	cmd.Dir, cmd.Env = r.dir, r.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: rabbitmqctl %s: %w: %s", args[0], err, tail(out))
	}
	return nil
}

// State is what the node says of its queues and of what it owes to publishers, for people: rabbitmqctl's own text, or its error.
func (r *RabbitMQServer) State(ctx context.Context) string {
	var text strings.Builder
	for _, args := range [][]string{
		{"list_queues", "name", "type", "state", "messages", "messages_unacknowledged", "consumers"},
		{"list_channels", "name", "state", "confirm", "messages_unconfirmed", "messages_unacknowledged", "prefetch_count"},
		{"eval", "rabbit_alarm:get_alarms()."},
	} {
		cmd := exec.CommandContext(ctx, r.bin.control, args...)
		cmd.Dir, cmd.Env = r.dir, r.env()
		out, err := cmd.CombinedOutput()
		fmt.Fprintf(&text, "%s:\n%s", args[0], out)
		if err != nil {
			fmt.Fprintf(&text, "%v\n", err)
		}
	}
	return text.String()
}

// CloseConnections lets the node close every connection, as an operator does with rabbitmqctl.
func (r *RabbitMQServer) CloseConnections(ctx context.Context) error {
	return r.Control(ctx, "close_all_connections", "closed by a test")
}

// Stop ends the node in order (SIGTERM) and returns once it has ended. It does nothing if the node does not run.
func (r *RabbitMQServer) Stop() error { return r.end(sigTerminate) }

// Kill kills the node (SIGKILL) and returns once it has ended. It does nothing if the node does not run.
func (r *RabbitMQServer) Kill() error { return r.end(os.Kill) }

func (r *RabbitMQServer) end(sig os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.server.stop(sig, time.Minute); err != nil {
		return fmt.Errorf("servers: stop RabbitMQ: %w", err)
	}
	return nil
}

// Close ends node and epmd, and removes what they made. It may be called more than once.
func (r *RabbitMQServer) Close() error {
	err := r.Kill() // the data go away; an orderly end would be for nothing
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return err
	}
	r.closed = true
	err = errors.Join(err, r.epmd.stop(os.Kill, time.Minute))
	for _, pidFile := range []string{"node.pid", "epmd.pid"} {
		os.Remove(r.path(pidFile)) // the numbers may be other processes' by now
	}
	for _, guard := range r.guards {
		guard.release()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// Pid returns the node's process id, or 0 if it does not run. A test may signal it: Start works after every end.
func (r *RabbitMQServer) Pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.server.running() {
		return 0
	}
	return r.server.pid()
}

// URL returns the address for amqp.Dial, with the credentials. It stays the same over restarts.
func (r *RabbitMQServer) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url("amqp", r.port)
}

// TLSURL is the address of the listener for TLS.
func (r *RabbitMQServer) TLSURL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url("amqps", r.tlsPort)
}

func (r *RabbitMQServer) url(scheme string, port int) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(rabbitUser, r.password), Host: loopback(port), Path: "/"}
	return u.String()
}

// Log returns the end of the log of the node's run.
func (r *RabbitMQServer) Log() string {
	text, err := os.ReadFile(r.path("log"))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return tail(text)
}

func (r *RabbitMQServer) path(name string) string { return filepath.Join(r.dir, name) }
