package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Transport is RabbitMQ as a broker. It is safe for concurrent use.
type Transport struct {
	o       Options
	nodes   []node           // of our own connections
	user    *amqp.Connection // the user's own; nil: none
	where   string           // the hosts, for messages to people; without credentials
	dialing chan struct{}
	routes  driver.Known[struct{}]

	mu       sync.Mutex // guards what follows
	control  *link
	declared bool // Options.Topology and Options.Topics are
	closed   bool
	senders  map[*sender]struct{}
	sources  map[*source]struct{}
}

var _ bus.Transport = (*Transport)(nil)

// New makes a transport for the nodes at urls, separated by commas, of which the first that answers is taken. It does
// not connect. Errors name everything that is wrong with the options, and wrap sixfold.ErrInvalid; they never show an
// address, since it may have a password.
func New(urls string, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	nodes, hosts, plain, nerr := addresses(urls)
	if err := errors.Join(nerr, err); err != nil {
		return nil, err
	}
	if plain != "" {
		o.Logger.Warn("rabbitmq: credentials go unencrypted to another host; use amqps://", "host", plain)
	}
	t := newTransport(o)
	t.nodes, t.where = nodes, strings.Join(hosts, ", ")
	return t, nil
}

// NewConn makes a transport on a connection of the user's, which is never closed here: senders and sources are channels
// on it. When it is lost they are too, and a source waits until it can have another: make another transport then.
// Options about connecting are not used.
func NewConn(conn *amqp.Connection, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	switch {
	case conn == nil:
		err = errors.Join(fmt.Errorf("rabbitmq: connection: %w: it is nil; give what amqp091.Dial answered", sixfold.ErrInvalid), err)
	case conn.IsRecoveryEnabled():
		err = errors.Join(fmt.Errorf("rabbitmq: connection: %w: it has the client's Recovery, which sends again in another order; leave Config.Recovery nil", sixfold.ErrInvalid), err)
	case conn.IsClosed():
		err = errors.Join(fmt.Errorf("rabbitmq: connection: %w: it was closed; give an open one", sixfold.ErrInvalid), err)
	}
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	t.user, t.where = conn, "the node of the given connection"
	return t, nil
}

func newTransport(o Options) *Transport {
	return &Transport{o: o, dialing: make(chan struct{}, 1), senders: make(map[*sender]struct{}), sources: make(map[*source]struct{})}
}

// Capabilities implements bus.Transport. PrefixPerKey is false with Options.OnePerKey.
func (t *Transport) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "rabbitmq", OrderPerKey: true, PrefixPerKey: !t.o.OnePerKey, Confirms: true, Copies: true, MaxBody: t.o.MaxBody}
}

// String names the hosts, without credentials.
func (t *Transport) String() string { return "rabbitmq at " + t.where }

// GoString is String, so that %#v shows no credentials either.
func (t *Transport) GoString() string { return t.String() }

// usable says why nothing can be opened.
func (t *Transport) usable(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTransportClosed
	}
	return ctx.Err()
}

var errTransportClosed = fmt.Errorf("%w: the transport was closed; make another", bus.ErrClosed)

// Close implements bus.Transport. Sources give back what they hold, as long as ctx lasts.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	senders, sources := t.senders, t.sources
	t.senders, t.sources = make(map[*sender]struct{}), make(map[*source]struct{})
	control := t.control
	t.control = nil
	t.mu.Unlock()
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	closing := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	for s := range senders {
		closing(s.Close)
	}
	for s := range sources {
		closing(s.Close)
	}
	all.Wait()
	if control != nil {
		control.close(ctx)
	}
	return errors.Join(errs...)
}
