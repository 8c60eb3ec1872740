package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A dialer connects to a broker.
type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// newDialer adds TLS to base; nil is TCP.
func newDialer(base dialer, c *tls.Config, secure bool) dialer {
	if base == nil {
		base = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		inner, cancel := context.WithTimeout(ctx, dialLimit)
		defer cancel()
		raw, err := base(inner, network, address)
		if err != nil || !secure {
			return raw, err
		}
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if c != nil {
			config = c.Clone()
		}
		if config.ServerName == "" {
			if host, _, err := net.SplitHostPort(address); err == nil {
				config.ServerName = host
			}
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(inner); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

// dialerOf is what a client of the user's connects with.
func dialerOf(c *kgo.Client) dialer {
	config, _ := c.OptValue(kgo.DialTLSConfig).(*tls.Config)
	base, _ := c.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	if config != nil {
		base = nil // which the client has made for itself
	}
	return newDialer(base, config, config != nil)
}

var errPipeOver = errors.New("the pipe has ended, and makes no connection any more")

// A guard stands between a client and its connections, so that they can be ended at once and for good, and so that the
// loss of one is seen before the client can do anything about it.
type guard struct {
	base dialer

	mu    sync.Mutex // guards what follows
	conns map[*guarded]struct{}
	over  bool
	down  bool // the last thing that happened was a failure
	lost  func(error)
}

func newGuard(base dialer) *guard {
	return &guard{base: base, conns: make(map[*guarded]struct{})}
}

// arm has lost called from now on when the other side ends a connection.
func (g *guard) arm(lost func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = lost
}

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	over := g.over
	g.mu.Unlock()
	if over {
		return nil, errPipeOver
	}
	c, err := g.base(ctx, network, address)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = err != nil
	if err != nil {
		return nil, err
	}
	if g.over {
		c.Close()
		return nil, errPipeOver
	}
	conn := &guarded{Conn: c, g: g}
	g.conns[conn] = struct{}{}
	return conn, nil
}

// isDown reports whether the brokers could not be reached just now.
func (g *guard) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// abort ends every connection, and allows no other.
func (g *guard) abort() {
	g.mu.Lock()
	g.over = true
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
}

// failed is told by a connection that it is over. It answers whether the other side, and not we, ended it.
func (g *guard) failed(c *guarded, err error) {
	g.mu.Lock()
	_, ours := g.conns[c]
	delete(g.conns, c)
	g.down = g.down || ours && !errors.Is(err, os.ErrDeadlineExceeded) // which is the client's own doing
	lost := g.lost
	g.mu.Unlock()
	if ours && lost != nil {
		lost(err)
	}
}

// guarded is one connection. It hides the type of the real one, so that the client does not look into its socket.
type guarded struct {
	net.Conn
	g *guard
}

func (c *guarded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.g.failed(c, err)
	}
	return n, err
}

func (c *guarded) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.g.failed(c, err)
	}
	return n, err
}

// Close is the client's own.
func (c *guarded) Close() error {
	c.g.mu.Lock()
	delete(c.g.conns, c)
	c.g.mu.Unlock()
	return c.Conn.Close()
}
