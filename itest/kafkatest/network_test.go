package kafkatest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// A network stands between one process's connections and the brokers. It is the dialer of a transport: Kafka's clients
// find brokers by the addresses that these tell them, so no proxy could stay between.
type network struct {
	mu     sync.Mutex
	refuse bool
	conns  map[*link]struct{}
	hold   chan struct{} // what brokers say to producers waits until it is closed; nil: nothing does
}

func newNetwork() *network { return &network{conns: map[*link]struct{}{}} }

// link is one connection.
type link struct {
	net.Conn
	n    *network
	mu   sync.Mutex
	key  int16 // of the last request
	gone chan struct{}
	once sync.Once
}

var errCut = errors.New("the network is cut")

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	refuse := n.refuse
	n.mu.Unlock()
	if refuse {
		return nil, errCut
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, n: n, gone: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse {
		c.Close()
		return nil, errCut
	}
	n.conns[l] = struct{}{}
	return l, nil
}

func (l *link) Close() error {
	l.once.Do(func() { close(l.gone) })
	l.n.mu.Lock()
	delete(l.n.conns, l)
	l.n.mu.Unlock()
	return l.Conn.Close()
}

// Write remembers what was asked: the client writes one request at a time.
func (l *link) Write(p []byte) (int, error) {
	if len(p) >= 6 {
		l.mu.Lock()
		l.key = int16(binary.BigEndian.Uint16(p[4:]))
		l.mu.Unlock()
	}
	return l.Conn.Write(p)
}

// Read keeps back what a broker says to a producer while that is held.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	produce := l.key == 0
	l.mu.Unlock()
	if produce && err == nil {
		l.n.mu.Lock()
		hold := l.n.hold
		l.n.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-l.gone:
				return 0, net.ErrClosed
			}
		}
	}
	return n, err
}

// cut ends every connection, and refuses others until restore.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = true
	for l := range n.conns {
		l.once.Do(func() { close(l.gone) })
		l.Conn.Close()
	}
	clear(n.conns)
}

func (n *network) restore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = false
}

// holdConfirms keeps back what brokers say to producers.
func (n *network) holdConfirms() (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := make(chan struct{})
	n.hold = c
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.hold = nil
		close(c)
	})
}
