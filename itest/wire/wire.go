// Package wire stands between the connections of one process and a server, for tests of what becomes of a driver when they are cut, or
// when the server is no longer heard.
package wire

import (
	"net"
	"sync"
	"testing"
)

// Protocol is what a [Proxy] understands of what it passes on. It sees it as it arrives, in pieces of up to 64 kB; that what it looks for
// lies in one piece is so while a connection begins.
type Protocol struct {
	// Role finds the name that a client gives its connection in what it says, such as "sender", and "" where there is none.
	Role func(said []byte) string
	// Greeted reports whether the server has said the last of what begins a connection. That is never held back.
	Greeted func(said []byte) bool
}

// A Proxy passes connections on to a server. Its methods may be called by several goroutines.
type Proxy struct {
	listener net.Listener
	backend  string
	protocol Protocol
	wg       sync.WaitGroup

	mu     sync.Mutex
	refuse bool // new connections are closed at once
	conns  map[*link]struct{}
	hold   map[string]chan struct{} // by role: what the server says waits until the channel is closed
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn
	role           string
	greeted        bool
	gone           chan struct{}
	once           sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.gone)
		l.client.Close()
		l.server.Close()
	})
}

// NewProxy starts one to backend, host and port. It ends with the test.
func NewProxy(tb testing.TB, backend string, protocol Protocol) *Proxy {
	tb.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: ln, backend: backend, protocol: protocol, conns: map[*link]struct{}{}, hold: map[string]chan struct{}{}}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		ln.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Addr is where it listens, host and port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		server, err := net.Dial("tcp4", p.backend)
		if err != nil || refuse {
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		l := &link{client: client, server: server, gone: make(chan struct{})}
		p.mu.Lock()
		if p.refuse {
			l.close()
		}
		p.conns[l] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.up(l) })
		p.wg.Go(func() { p.down(l) })
	}
}

// up copies what the client says.
func (p *Proxy) up(l *link) {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		if role := p.protocol.Role(buf[:n]); role != "" {
			p.mu.Lock()
			l.role = role
			p.mu.Unlock()
		}
		if _, err := l.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// down copies what the server says, unless that is held.
func (p *Proxy) down(l *link) {
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.conns, l)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		held := p.hold[l.role]
		p.mu.Unlock()
		if held != nil && l.greeted {
			select {
			case <-held:
			case <-l.gone:
				return
			}
		}
		l.greeted = l.greeted || p.protocol.Greeted(buf[:n])
		if _, err := l.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Cut closes every connection and refuses new ones, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	for l := range p.conns {
		l.close()
	}
}

// Restore takes connections again.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// Drop closes the connections of a role, which may come again.
func (p *Proxy) Drop(role string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		if l.role == role {
			l.close()
		}
	}
}

// HoldDown keeps what the server says to a role back until release, which may be called more than once.
func (p *Proxy) HoldDown(role string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan struct{})
	p.hold[role] = c
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.hold, role)
		close(c)
	})
}
