package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
)

// closeLimit bounds the end of a connection in order.
const closeLimit = 5 * time.Second

// A link is a connection: one of our own, or the user's, which is never closed here.
type link struct {
	conn *amqp.Connection
	raw  net.Conn // nil: the user's
	sock *socket  // around it
}

// link answers a connection for a sender or a source.
func (t *Transport) link(ctx context.Context, role string) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.user != nil {
		if t.user.IsClosed() {
			return nil, fmt.Errorf("%w: the connection that was given to NewConn is closed; make another transport", bus.ErrUnavailable)
		}
		return &link{conn: t.user}, nil
	}
	var errs []error
	for i, n := range t.nodes {
		l, err := t.dial(ctx, n, role)
		// A listener that refuses our certificate says so after the handshake, and the end of the connection can hide that; but a
		// node that dies then ends it too.
		for try := 0; try < 3 && n.Scheme == "amqps" && errors.Is(err, errSilent) && ctx.Err() == nil; try++ {
			l, err = t.dial(ctx, n, role)
		}
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = classify(err)
		if errors.Is(err, bus.ErrRefused) || i == len(t.nodes)-1 {
			return nil, fmt.Errorf("connect to %s: %w", n.address(), errors.Join(append(errs, err)...))
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial makes a connection that never reconnects.
func (t *Transport) dial(ctx context.Context, n node, role string) (*link, error) {
	limit := t.o.ConnectTimeout
	if limit == 0 {
		limit = 30 * time.Second
		if n.ConnectionTimeout > 0 {
			limit = time.Duration(n.ConnectionTimeout) * time.Millisecond
		}
	}
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dial := t.o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(inner, "tcp", n.address())
	if err != nil {
		return nil, err
	}
	// What follows knows no context: the end of ours closes the socket under it.
	end := context.AfterFunc(inner, func() { raw.Close() })
	conn := raw
	if n.Scheme == "amqps" {
		c, err := t.tlsConfig(n)
		if err == nil {
			secure := tls.Client(raw, c)
			err, conn = secure.HandshakeContext(inner), secure
		}
		if err != nil {
			end()
			raw.Close()
			return nil, err
		}
	}
	heard := newSocket(conn)
	c, err := amqp.Open(heard, t.config(n, role))
	if err == nil && !end() {
		err = context.Cause(inner)
	}
	if err != nil {
		end()
		raw.Close()
		return nil, heard.why(err)
	}
	return &link{conn: c, raw: raw, sock: heard}, nil
}

// config is that of the client. Its own recovery stays off.
func (t *Transport) config(n node, role string) amqp.Config {
	c := amqp.Config{Vhost: n.Vhost, Heartbeat: t.o.Heartbeat, Locale: "en_US", FrameSize: frameSize, Properties: amqp.NewConnectionProperties()}
	c.Properties.SetClientConnectionName("sixfold " + role)
	if c.Heartbeat == 0 {
		c.Heartbeat = 10 * time.Second
		if n.heartbeat > 0 {
			c.Heartbeat = n.heartbeat
		}
	}
	sasl := t.o.SASL
	if sasl == nil {
		sasl = []amqp.Authentication{n.PlainAuth()}
		for _, mechanism := range n.AuthMechanism {
			if mechanism == "EXTERNAL" || mechanism == "external" {
				sasl = append([]amqp.Authentication{&amqp.ExternalAuth{}}, sasl...)
			}
		}
	}
	for _, a := range sasl {
		c.SASL = append(c.SASL, login{a, c.Properties})
	}
	return c
}

// frameSize is RabbitMQ's own default. A message's attributes must fit into one frame.
const frameSize = 131072

// login is a mechanism that also asks the node to say why a log-in failed. Without it the node closes the connection without a
// word, as it does when it dies, and one could not be told from the other. The client makes its table of capabilities
// just before it asks for the response.
type login struct {
	amqp.Authentication
	properties amqp.Table
}

// Response implements amqp.Authentication.
func (l login) Response() string {
	if capabilities, ok := l.properties["capabilities"].(amqp.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return l.Authentication.Response()
}

// abort ends our own connection at once, whatever it is doing.
func (l *link) abort() {
	if l.raw != nil {
		l.raw.Close()
		_ = l.conn.CloseDeadline(time.Now()) // which waits until the client has noticed
	}
}

// close ends our own connection in order, as long as ctx and closeLimit last.
func (l *link) close(ctx context.Context) {
	if l.raw == nil {
		return
	}
	end := time.Now().Add(closeLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	stop := context.AfterFunc(ctx, func() { l.raw.Close() })
	defer stop()
	_ = l.conn.CloseDeadline(end) // it is over in any case
	l.raw.Close()
}

// on runs f on a channel of its own, which an error of the node's would close.
func (l *link) on(f func(ch *amqp.Channel) error) error {
	ch, err := l.conn.Channel()
	if err != nil {
		return classify(err)
	}
	if err := f(ch); err != nil {
		ch.Close()
		return err
	}
	return classify(ch.Close())
}

// controlLink answers the connection for declaring and looking up, which is made anew where it was lost. Requests on it end
// with the connection, so whoever waits for one watches ctx by within.
func (t *Transport) controlLink(ctx context.Context) (*link, error) {
	if t.user != nil {
		return t.link(ctx, "control")
	}
	select {
	case t.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.dialing }()
	t.mu.Lock()
	l, closed := t.control, t.closed
	t.mu.Unlock()
	switch {
	case closed:
		return nil, errTransportClosed
	case l != nil && !l.conn.IsClosed():
		return l, nil
	}
	l, err := t.link(ctx, "control")
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		l.abort()
		return nil, errTransportClosed
	}
	t.control = l
	return l, nil
}

// requestLimit bounds a request to the n.
const requestLimit = 10 * time.Second

// asking runs requests over l. The client's calls know no context: when ctx ends, or the node is silent for too long,
// the connection is given up.
func (l *link) asking(ctx context.Context, f func() error) error {
	if l.raw == nil { // nothing of the user's is given up
		return f()
	}
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	stop := context.AfterFunc(limited, func() { l.raw.Close() })
	defer stop()
	err := f()
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && limited.Err() != nil:
		return fmt.Errorf("%w: the node did not answer within %v", bus.ErrUnavailable, requestLimit)
	}
	return err
}
