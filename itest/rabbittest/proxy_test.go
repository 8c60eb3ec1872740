package rabbittest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A proxy stands between one process's connections and the server.
type proxy struct {
	listener net.Listener
	backend  string
	login    *url.URL
	wg       sync.WaitGroup

	mu     sync.Mutex
	refuse bool // new connections are closed at once
	conns  map[*link]struct{}
	hold   map[string]chan struct{} // by role: what the server says waits until the channel is closed
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn
	role           string // "sender", "source", "control": from the name that the client gives itself
	greeted        bool   // the server has said that the channel confirms
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

// newProxy starts one. It ends with the test.
func newProxy(tb testing.TB, address string) *proxy {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: ln, backend: u.Host, login: u, conns: map[*link]struct{}{}, hold: map[string]chan struct{}{}}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

// url is the address with the login of the backend's.
func (p *proxy) url() string {
	u := *p.login
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *proxy) accept() {
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
func (p *proxy) up(l *link) {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		if i := bytes.Index(buf[:n], []byte("connection_nameS")); i >= 0 {
			at := i + len("connection_nameS") + 4
			name := buf[at : at+int(binary.BigEndian.Uint32(buf[at-4:]))]
			p.mu.Lock()
			l.role = strings.TrimPrefix(string(name), "sixfold ")
			p.mu.Unlock()
		}
		if _, err := l.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// down copies what the server says, unless that is held.
func (p *proxy) down(l *link) {
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
		l.greeted = l.greeted || bytes.Contains(buf[:n], []byte{0, 85, 0, 11}) // confirm.select-ok
		if _, err := l.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut closes every connection and refuses new ones, until restore.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	for l := range p.conns {
		l.close()
	}
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = false
}

// drop closes the connections of a role.
func (p *proxy) drop(role string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		if l.role == role {
			l.close()
		}
	}
}

// holdDown keeps what the server says to a role back until release.
func (p *proxy) holdDown(role string) (release func()) {
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
