// Command demo-nats is the demo of package examples/demo over NATS JetStream: the same shop, whose services send each
// other messages through a server that runs inside this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/examples/demo/demo"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(demo.Main(ctx, broker(), os.Args[1:], os.Stdout, os.Stderr))
}

// broker is an embedded server with JetStream. The relays' process connects to it over TCP.
func broker() demo.Broker {
	return demo.Broker{
		Title: "three SQLite files and an embedded NATS server",
		Start: func(_ context.Context, dir string) (string, func(), error) { return start(dir) },
		Open: func(_ context.Context, address string, _ *demo.Service, log *slog.Logger) (bus.Transport, error) {
			// A relay may come before the consumers whose subscriptions would make the streams.
			return nats.New(address, &nats.Options{Topics: []string{"orders", "payments", "shipping"}, Lanes: 8, Lease: 2 * time.Second, Logger: log})
		},
	}
}

// start starts a server on a loopback port that is free, with its files in dir.
func start(dir string) (address string, stop func(), err error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"),
		NoSigs: true, NoLog: true})
	if err != nil {
		return "", nil, fmt.Errorf("demo-nats: start the server: %w", err)
	}
	s.Start()
	stop = func() { s.Shutdown(); s.WaitForShutdown() }
	if !s.ReadyForConnections(30 * time.Second) {
		stop()
		return "", nil, errors.New("demo-nats: start the server: it takes no connections; is the machine very busy?")
	}
	return s.ClientURL(), stop, nil
}
