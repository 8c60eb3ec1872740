package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSOptions are the options of a NATS server. The zero value, and nil, is a server with JetStream and no accounts.
type NATSOptions struct {
	// StoreDir holds JetStream's files. Empty: a new directory, removed by Close.
	StoreDir string
	// Port is the loopback port. Zero: one that is free.
	Port int
	// SyncAlways syncs each write before it is acknowledged. JetStream's default is every two minutes, so that only the
	// death of the machine loses messages, not of the process.
	SyncAlways bool
	// ConfigFile is a configuration of the server's own, for TLS, accounts and the like. The fields above count more.
	ConfigFile string
	// Configure changes the server's options last. Only the embedded server takes it.
	Configure func(*server.Options) `json:"-"`
}

// serverOptions builds what nats-server takes.
func (o NATSOptions) serverOptions() (*server.Options, error) {
	opts := &server.Options{}
	if o.ConfigFile != "" {
		read, err := server.ProcessConfigFile(o.ConfigFile)
		if err != nil {
			return nil, fmt.Errorf("servers: read NATS configuration %s: %w", o.ConfigFile, err)
		}
		opts = read
	}
	opts.Host, opts.Port = "127.0.0.1", o.Port
	opts.JetStream, opts.StoreDir = true, o.StoreDir
	opts.NoSigs, opts.NoLog = true, true
	if opts.AuthTimeout == 0 {
		opts.AuthTimeout = 60 // seconds; the default, 2, is less than a busy machine may stand still
	}
	if o.SyncAlways {
		opts.SyncAlways = true
	}
	if o.Configure != nil {
		o.Configure(opts)
	}
	return opts, nil
}

// A NATSServer is a NATS server with JetStream inside this process. Its methods may be called by several goroutines.
type NATSServer struct {
	mu      sync.Mutex // held while the server starts or stops
	options NATSOptions
	server  *server.Server
	log     *natsLog
	ownDir  bool
}

// StartNATS starts a server and returns once it takes connections. Whoever starts a server must close it.
func StartNATS(ctx context.Context, o *NATSOptions) (*NATSServer, error) {
	n := &NATSServer{}
	if o != nil {
		n.options = *o
	}
	if n.options.StoreDir == "" {
		dir, err := os.MkdirTemp("", "sixfold-nats-")
		if err != nil {
			return nil, fmt.Errorf("servers: %w", err)
		}
		n.options.StoreDir, n.ownDir = dir, true
	}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Start starts a server that was stopped, on the port and the files it had. It does nothing if the server runs.
func (n *NATSServer) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		return nil
	}
	for try := 1; ; try++ {
		again, err := n.startOnce(ctx)
		if err == nil {
			return nil
		}
		if !again || try == 50 {
			return fmt.Errorf("servers: start NATS: %w", err)
		}
		if ended := pause(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("servers: start NATS: %w", errors.Join(ended, err))
		}
	}
}

// startOnce starts the server once; again says that its port was taken, and that another try may do.
func (n *NATSServer) startOnce(ctx context.Context) (again bool, err error) {
	o := n.options
	if o.Port == 0 {
		if o.Port, err = freePort(); err != nil {
			return false, err
		}
	}
	opts, err := o.serverOptions()
	if err != nil {
		return false, err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return false, err
	}
	log := &natsLog{}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if err := awaitNATS(ctx, s, log); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return strings.Contains(err.Error(), "address already in use"), err
	}
	n.options.Port, n.server, n.log = o.Port, s, log
	return false, nil
}

// awaitNATS waits until the server takes connections or has said why it never will.
func awaitNATS(ctx context.Context, s *server.Server, log *natsLog) error {
	const limit = time.Minute // a large store takes a while to recover
	for end := time.Now().Add(limit); ; {
		switch {
		case s.ReadyForConnections(50 * time.Millisecond): // which looks every 25 ms
			return nil
		case log.failed(), time.Now().After(end):
			return fmt.Errorf("the server is not ready for connections; it says:\n%s", log)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Stop stops the server in order. It does nothing if the server does not run.
func (n *NATSServer) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server = nil
}

// Close stops the server, and removes its files if it made their directory.
func (n *NATSServer) Close() error {
	n.Stop()
	if n.ownDir {
		return os.RemoveAll(n.options.StoreDir)
	}
	return nil
}

// URL returns the server's address for nats.Connect, which stays the same over restarts.
func (n *NATSServer) URL() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return "nats://" + loopback(n.options.Port)
}

// Server returns the running server itself, or nil: for what a test must look at inside.
func (n *NATSServer) Server() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// Log returns the last warnings and errors of the server's run.
func (n *NATSServer) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log == nil {
		return ""
	}
	return n.log.String()
}
