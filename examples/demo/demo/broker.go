package demo

import (
	"context"
	"log/slog"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// A Broker carries messages between the services. The relays' process opens it by the same address.
type Broker struct {
	// Title for the reader: "three SQLite files, no server".
	Title string
	// Start makes the broker ready and answers its address; dir is the demo's own directory. Stop ends it.
	Start func(ctx context.Context, dir string) (address string, stop func(), err error)
	// Open connects to where the messages for a service are.
	Open func(ctx context.Context, address string, to *Service, log *slog.Logger) (bus.Transport, error)
}

// Databases is the Broker that is none: relays put messages into the database of the service that they are for.
func Databases() Broker {
	return Broker{
		Title: "three SQLite files, no server",
		Start: func(_ context.Context, dir string) (string, func(), error) { return dir, func() {}, nil },
		Open: func(_ context.Context, _ string, to *Service, log *slog.Logger) (bus.Transport, error) {
			return outbox.NewLocal(to.st.Outbox(), to.db, &outbox.LocalOptions{Lease: 2 * lease, Logger: log})
		},
	}
}
