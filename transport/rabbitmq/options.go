package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Options of a Transport. The zero value, and nil, are right for a node with RabbitMQ's defaults.
type Options struct {
	// TLS is used with amqps addresses: roots, client certificates, server name. Nil: the system's roots, and what the
	// parameters cacertfile, certfile, keyfile and server_name_indication of the address say.
	TLS *tls.Config
	// SASL are the mechanisms to log in with, EXTERNAL for a client certificate. Nil: the user and password of the address.
	SASL []amqp.Authentication
	// Dial opens a connection, for proxies and the like. Nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Heartbeat is how often a silent connection is checked, at least 1 s. 0: 10 s, or what the address says.
	Heartbeat time.Duration
	// ConnectTimeout bounds connecting and logging in. 0: 30 s, or what the address says.
	ConnectTimeout time.Duration

	// Topology is declared when the first sender is opened or the first subscription made; nil: nothing.
	Topology *Topology
	// Topics are declared after it, with their dead letters.
	Topics []string
	// Groups are declared last: their topics, queues and bindings, so that messages wait for a group before its first member
	// has come. Without that it misses what is sent before.
	Groups []bus.Subscription
	// Require creates nothing: the exchanges and queues have to be there, with the bindings, which cannot be checked.
	// The queues of copies are made all the same.
	Require bool
	// Classic makes classic queues in place of quorum queues.
	Classic bool
	// DeliveryLimit is how often a quorum queue delivers a message before it drops it or dead-letters it at the broker. Each
	// death and each stop of a consumer counts for all that it had fetched, so it is far above what the inbox counts. 0: 1,000,000.
	DeliveryLimit int
	// Queue changes the queue of a group, or that of a dead topic (its group is empty), before it is declared: its name,
	// its limits, its arguments.
	Queue func(topic, group string, q *Queue)
	// Exchange changes the exchange of a topic before it is declared.
	Exchange func(topic string, e *Exchange)

	// RoutingKey says with which routing key a message is published, at most 255 bytes. Nil: its type.
	RoutingKey func(o *bus.Outgoing) string
	// Priority of a message, for queues that have priorities. Nil: none.
	Priority func(o *bus.Outgoing) uint8
	// OnePerKey is for topics whose queues can refuse a message and take the next one (x-overflow reject-publish): relays
	// then keep one unconfirmed message per key.
	OnePerKey bool
	// MaxBody in bytes of body and headers together. 0: 16 MiB, the limit of RabbitMQ 4. Raise it with max_message_size.
	MaxBody int
	// AckTimeout is how long a sender waits for a confirm before it gives its connection up. 0: 30 s.
	AckTimeout time.Duration
	// Logger, or nil for none.
	Logger *slog.Logger
}

// defaulted answers the options with the zero values filled in, and everything that is wrong with them.
func (o *Options) defaulted() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	var errs []error
	bad := func(name string, v any, rule string) {
		errs = append(errs, fmt.Errorf("rabbitmq: option %s: %w: it is %v; %s", name, sixfold.ErrInvalid, v, rule))
	}
	for _, n := range []struct {
		name        string
		value       *time.Duration
		zero, least time.Duration
	}{{"AckTimeout", &d.AckTimeout, 30 * time.Second, 100 * time.Millisecond}, {"Heartbeat", &d.Heartbeat, 0, time.Second},
		{"ConnectTimeout", &d.ConnectTimeout, 0, 100 * time.Millisecond}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < n.least:
			bad(n.name, *n.value, fmt.Sprintf("give at least %v, or 0 for the default", n.least))
		}
	}
	for _, n := range []struct {
		name       string
		value      *int
		zero, most int
	}{{"MaxBody", &d.MaxBody, 16 << 20, 128 << 20}, {"DeliveryLimit", &d.DeliveryLimit, 1_000_000, 1<<31 - 1}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < 0 || *n.value > n.most:
			bad(n.name, *n.value, fmt.Sprintf("give 1 to %d, or 0 for %d", n.most, n.zero))
		}
	}
	for _, topic := range d.Topics {
		if err := checkTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: option Topics: %w", err))
		}
	}
	for _, sub := range d.Groups {
		err := driver.CheckSubscription(sub, checkTopic)
		if sub.Group == "" {
			err = errors.Join(err, errors.New("the group's name is empty; a copy cannot be declared"))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: option Groups: %w: %w", sixfold.ErrInvalid, err))
		}
	}
	for i, a := range d.SASL {
		if a == nil {
			bad("SASL", fmt.Sprintf("nil at %d", i), "leave it out")
		}
	}
	if d.Topology != nil && !d.OnePerKey {
		for _, q := range d.Topology.queues {
			if q.refuses() {
				bad("Topology", "a queue "+driver.Quote(q.Name)+" that refuses messages when it is full", "set OnePerKey too, since it can refuse a message and take the next one of its key")
			}
		}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, errors.Join(errs...)
}
