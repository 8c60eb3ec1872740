package sqltx_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// What the proxy does with the connection that sends next.
type cut int

const (
	pass cut = iota
	// beforeServer throws away what the client sends next, and cuts both sides.
	beforeServer
	// halfOpen does the same, but the server keeps its side open, as behind a network that drops packets.
	halfOpen
	// afterServer hands on what the client sends next, and cuts both sides when the server answers.
	afterServer
	// silent hands on what the client sends next, and keeps the server's answers to itself.
	silent
)

// A proxy stands between a client and PostgreSQL and cuts connections at a given point of their conversation.
type proxy struct {
	listener net.Listener
	backend  string
	wg       sync.WaitGroup

	mu      sync.Mutex
	next    cut
	refuse  bool          // new connections are closed at once
	refused chan struct{} // closed when one was
	conns   map[net.Conn]struct{}
	trips   int           // how often a client has sent something after having heard something
	arrived chan struct{} // closed when the server has answered a connection that is cut afterServer or silent
}

// newProxy starts one and answers the DSN that leads through it. It ends with the test.
func newProxy(t testing.TB, dsn string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, backend: u.Host, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

// arm says what happens to the connection that sends next; the channel closes when the server has answered it.
func (p *proxy) arm(c cut) (answered <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.arrived = c, make(chan struct{})
	return p.arrived
}

// refuseAll closes new connections at once; the channel closes when one was.
func (p *proxy) refuseAll() (refused <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.refused = true, make(chan struct{})
	return p.refused
}

func (p *proxy) acceptAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

func (p *proxy) roundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		refuse := p.refuses()
		server, err := net.Dial("tcp4", p.backend)
		if err != nil || refuse {
			client.Close()
			if server != nil {
				server.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		l := &link{p: p, client: client, server: server}
		p.wg.Go(l.toServer)
		p.wg.Go(l.toClient)
	}
}

func (p *proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		select {
		case <-p.refused:
		default:
			close(p.refused)
		}
	}
	return p.refuse
}

// A link is one connection through the proxy.
type link struct {
	p              *proxy
	client, server net.Conn

	mu    sync.Mutex
	state cut
	heard bool // the server spoke last
}

func (l *link) toServer() {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			if l.is(halfOpen) {
				return // the server is not told
			}
			l.server.Close()
			return
		}
		switch l.sent() {
		case beforeServer:
			l.client.Close()
			l.server.Close()
			return
		case halfOpen:
			l.client.Close()
			return
		}
		if _, err := l.server.Write(buf[:n]); err != nil {
			l.client.Close()
			return
		}
	}
}

func (l *link) toClient() {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if err != nil {
			if !errors.Is(err, io.EOF) && l.is(silent) {
				return
			}
			l.client.Close()
			return
		}
		l.mu.Lock()
		l.heard = true
		state := l.state
		l.mu.Unlock()
		switch state {
		case afterServer, silent:
			l.p.mu.Lock()
			select {
			case <-l.p.arrived:
			default:
				close(l.p.arrived)
			}
			l.p.mu.Unlock()
			if state == silent {
				continue
			}
			l.client.Close()
			l.server.Close()
			return
		}
		if _, err := l.client.Write(buf[:n]); err != nil {
			l.server.Close()
			return
		}
	}
}

func (l *link) is(c cut) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == c
}

// sent notes that the client has sent something, and answers what to do with it.
func (l *link) sent() cut {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard {
		l.p.trips++
	}
	l.heard = false
	if l.p.next != pass {
		l.state, l.p.next = l.p.next, pass
	}
	return l.state
}
