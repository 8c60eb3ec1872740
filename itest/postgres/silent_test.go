package postgres

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
)

// A connection that is open on our side only, as after a firewall has forgotten it, brings no error, and no
// notification either. The listener notices by asking, and is then told what it missed.
func TestListenNoticesASilentConnection(t *testing.T) {
	as := database(t, nil)
	shop, other := start(t, as, as.Application, nil), start(t, as, as.Application, nil)
	shop.listen(shop.pool, postgres.ListenOptions{})
	network, through := newNetwork(t, as.Application)
	own := open(t, through)
	rings, stop := other.st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	l := other.listen(own, postgres.ListenOptions{Check: time.Second})
	next(t, rings) // that of the first connection

	network.silent.Store(true)
	shop.do(message{Key: "k"})
	var err error
	other.until("the listener notices", func() bool { err = l.Err(); return err != nil })
	if !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	network.silent.Store(false)
	if r := next(t, rings); r != outbox.Heard {
		t.Errorf("rang %v", r)
	}
}

// A network stands between a client and PostgreSQL. While it is silent it drops everything and closes nothing.
type network struct {
	silent  atomic.Bool
	backend string
	wg      sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn
}

func newNetwork(t *testing.T, dsn string) (*network, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{backend: u.Host}
	n.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			n.serve(client)
		}
	})
	t.Cleanup(func() {
		l.Close()
		n.mu.Lock()
		for _, c := range n.conns {
			c.Close()
		}
		n.mu.Unlock()
		n.wg.Wait()
	})
	u.Host = l.Addr().String()
	return n, u.String()
}

func (n *network) serve(client net.Conn) {
	server, err := net.Dial("tcp4", n.backend)
	if err != nil {
		client.Close()
		return
	}
	n.mu.Lock()
	n.conns = append(n.conns, client, server)
	n.mu.Unlock()
	n.wg.Go(func() { n.pass(server, client) })
	n.wg.Go(func() { n.pass(client, server) })
}

func (n *network) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		count, err := from.Read(buf)
		if err != nil {
			return
		}
		if n.silent.Load() {
			continue
		}
		if _, err := to.Write(buf[:count]); err != nil {
			return
		}
	}
}
