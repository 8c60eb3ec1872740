package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Transport is JetStream as a broker. It is safe for concurrent use.
type Transport struct {
	o       Options
	urls    []string     // of our own connections
	user    *natsgo.Conn // the user's own; nil: none
	where   string       // the hosts, for messages to people; without credentials
	dialing chan struct{}
	routes  driver.Known[*route]

	mu       sync.Mutex // guards what follows
	control  *natsgo.Conn
	declared bool // Options.Topics are
	closed   bool
	senders  map[*sender]struct{}
	sources  map[*source]struct{}
}

var _ bus.Transport = (*Transport)(nil)

// New makes a transport for the servers at urls, separated by commas. It does not connect. Errors name everything that is
// wrong with the options, and wrap sixfold.ErrInvalid; they never show an address, since it may have a password.
func New(urls string, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	list, hosts, plain, serr := servers(urls)
	if err := errors.Join(serr, err); err != nil {
		return nil, err
	}
	if plain != "" {
		o.Logger.Warn("nats: credentials go unencrypted to another host; use tls:// or a certificate", "host", plain)
	}
	t := newTransport(o)
	t.urls, t.where = list, strings.Join(hosts, ", ")
	return t, nil
}

// NewConn makes a transport on a connection of the user's, which is never closed here. Senders and sources have
// connections of their own, made with its options; Options.Nats is not used.
func NewConn(nc *natsgo.Conn, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	if nc == nil {
		err = errors.Join(fmt.Errorf("nats: connection: %w: it is nil; give what nats.Connect answered", sixfold.ErrInvalid), err)
	} else if nc.IsClosed() {
		err = errors.Join(fmt.Errorf("nats: connection: %w: it was closed; give an open one", sixfold.ErrInvalid), err)
	}
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	t.user, t.where = nc, "the servers of the given connection"
	return t, nil
}

func newTransport(o Options) *Transport {
	return &Transport{o: o, dialing: make(chan struct{}, 1), senders: make(map[*sender]struct{}), sources: make(map[*source]struct{})}
}

// Capabilities implements bus.Transport. PrefixPerKey is false with Options.OnePerKey or replicas.
func (t *Transport) Capabilities() bus.Capabilities {
	c := bus.Capabilities{Name: "nats", OrderPerKey: true, PrefixPerKey: !t.o.OnePerKey, Confirms: true, Copies: true, MaxBody: t.o.MaxBody,
		ExtendEvery: t.o.AckWait / 3, DedupWindow: t.o.Dedup}
	if t.o.NoDedup {
		c.DedupWindow = 0
	}
	return c
}

// usable says why nothing can be opened.
func (t *Transport) usable(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTransportClosed
	}
	return ctx.Err()
}

// Close implements bus.Transport. Sources give back what they hold, as long as ctx lasts.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	senders, sources := t.senders, t.sources
	t.senders, t.sources = make(map[*sender]struct{}), make(map[*source]struct{})
	control := t.control
	t.control = nil
	t.mu.Unlock()
	for s := range senders {
		s.end(errSenderClosed)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for s := range sources {
		all.Go(func() {
			if err := s.Close(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if control != nil {
		control.Close()
	}
	return errors.Join(errs...)
}
