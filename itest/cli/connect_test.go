package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// changed answers a URL with something else in it.
func changed(t *testing.T, dsn string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// listener answers the address of a server that does with each connection what serve does.
func listener(t *testing.T, serve func(net.Conn)) (addr string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), accepted
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// nobody is an address at which nobody listens: a port that was free a moment ago may be another test's by now.
const nobody = "127.0.0.1:1"

// within is how long a case may wait: those where nobody answers do wait for so long.
func within(name string) string {
	if name == "timed out" {
		return "1s"
	}
	return "20s"
}

// Five reasons, five messages, each with the address.
func TestWhyNobodyAnswers(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	mute, _ := listener(t, silent)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, c := range map[string]struct{ dsn, address, says string }{
		"wrong password":   {changed(t, dsn, func(u *url.URL) { u.User = url.UserPassword("postgres", "wrong") }), u.Host, "refused the password or the user"},
		"unknown database": {changed(t, dsn, func(u *url.URL) { u.Path = "/nowhere" }), u.Host, `has no database "nowhere"`},
		"unknown host":     {"postgres://u@nowhere.invalid:5999/db?sslmode=disable", "nowhere.invalid:5999", "is unknown"},
		"refused":          {"postgres://u@" + nobody + "/db", nobody, "nobody listens at"},
		"timed out":        {"postgres://u@" + mute + "/db", mute, "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newRunner(t, "SIXFOLD_DSN="+c.dsn).run("outbox", "stats", "--timeout", within(name), "--insecure")
			if got.code != 3 || got.out != "" || !strings.Contains(got.err, c.says) || !strings.Contains(got.err, c.address) {
				t.Errorf("code %d, %q; want 3 and %q with %q", got.code, got.all(), c.says, c.address)
			}
		})
		if seen[c.says] {
			t.Error("two reasons have one message")
		}
		seen[c.says] = true
	}
}

// certificate makes a key pair for a name, signed by itself, or by the authority.
func certificate(t *testing.T, name string, until time.Time, by *tls.Certificate) (c tls.Certificate, text []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, IsCA: by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := template, any(key)
	if by != nil {
		if parent, err = x509.ParseCertificate(by.Certificate[0]); err != nil {
			t.Fatal(err)
		}
		signer = by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TLS that is asked for and cannot be had: four messages.
func TestWhyTLSFails(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	authority, ca := certificate(t, "authority", soon, nil)
	root := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(root, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	speaks := func(c tls.Certificate) func(net.Conn) {
		return func(conn net.Conn) {
			if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil { // SSLRequest
				return
			}
			_, _ = conn.Write([]byte("S"))
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}).Handshake()
			silent(conn)
		}
	}
	good, _ := certificate(t, "localhost", soon, &authority)
	expired, _ := certificate(t, "localhost", time.Now().Add(-time.Hour), &authority)
	other, _ := certificate(t, "other.example", soon, &authority)
	for name, c := range map[string]struct {
		serve func(net.Conn)
		root  string
		says  string
	}{
		"absent":      {func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 8)); _, _ = c.Write([]byte("N")); silent(c) }, root, "takes no TLS"},
		"self-signed": {speaks(good), "", "signed by nobody who is trusted"},
		"expired":     {speaks(expired), root, "has expired"},
		"wrong name":  {speaks(other), root, "is for another name"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := listener(t, c.serve)
			_, port, _ := net.SplitHostPort(addr)
			dsn := "postgres://u@localhost:" + port + "/db?sslmode=verify-full"
			if c.root != "" {
				dsn += "&sslrootcert=" + url.QueryEscape(c.root)
			}
			got := newRunner(t, "SIXFOLD_DSN="+dsn).run("outbox", "stats", "--timeout", "20s")
			if got.code != 3 || !strings.Contains(got.err, c.says) || !strings.Contains(got.err, "localhost:"+port) {
				t.Errorf("code %d, %q; want 3 and %q", got.code, got.all(), c.says)
			}
		})
	}
}

func TestWhyNATSDoesNotAnswer(t *testing.T) {
	mute, _ := listener(t, silent)
	closed := servers.NATS(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Username, o.Password = "u", "right" }})
	u, err := url.Parse(closed.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, address, says string }{
		"wrong password": {"nats://u:wrong@" + u.Host, u.Host, "refused the credentials"},
		"unknown host":   {"nats://nowhere.invalid:5998", "nowhere.invalid:5998", "is unknown"},
		"refused":        {"nats://" + nobody, nobody, "nobody listens at"},
		"timed out":      {"nats://" + mute, mute, "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newRunner(t, "SIXFOLD_BROKER="+c.url).run("bus", "peek", "orders", "--timeout", within(name), "--insecure")
			if got.code != 3 || got.out != "" || !strings.Contains(got.err, c.says) || !strings.Contains(got.err, c.address) {
				t.Errorf("code %d, %q; want 3 and %q with %q", got.code, got.all(), c.says, c.address)
			}
		})
	}
}

func TestWhyRabbitMQDoesNotAnswer(t *testing.T) {
	mute, _ := listener(t, silent)
	u, err := url.Parse(servers.RabbitMQ(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, address, says string }{
		"wrong password": {"amqp://u:wrong@" + u.Host + "/", u.Host, "refused the credentials"},
		"unknown vhost":  {"amqp://" + u.User.String() + "@" + u.Host + "/nowhere", u.Host, "no such virtual host"},
		"unknown host":   {"amqp://nowhere.invalid:5997/", "nowhere.invalid:5997", "is unknown"},
		"refused":        {"amqp://" + nobody + "/", nobody, "nobody listens at"},
		"timed out":      {"amqp://" + mute + "/", mute, "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newRunner(t, "SIXFOLD_BROKER="+c.url).run("bus", "peek", "orders", "--timeout", within(name), "--insecure")
			if got.code != 3 || got.out != "" || !strings.Contains(got.err, c.says) || !strings.Contains(got.err, c.address) {
				t.Errorf("code %d, %q; want 3 and %q with %q", got.code, got.all(), c.says, c.address)
			}
		})
	}
}

// What destroys something opens no connection without --yes, and neither does what is refused for being read by others.
func TestRefusedCommandsConnectToNobody(t *testing.T) {
	addr, accepted := listener(t, silent)
	r := newRunner(t, "SIXFOLD_DSN=postgres://u@"+addr+"/db", "SIXFOLD_BROKER=nats://"+addr)
	for _, args := range [][]string{
		{"outbox", "purge", "--all"}, {"outbox", "purge", "--id", "0190a000-0000-7000-8000-00000000000a"}, {"migrate", "down", "--to", "0"}, {"bus", "purge", "orders"},
	} {
		if got := r.run(args...); got.code != 4 || got.out != "" || !strings.Contains(got.err, "--yes") {
			t.Errorf("%v: code %d, %q", args, got.code, got.all())
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
	if got := r.run("outbox", "purge", "--all", "--yes", "--timeout", "2s"); got.code != 3 {
		t.Errorf("with --yes: code %d, %q", got.code, got.all())
	}
	limit, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for accepted.Load() == 0 { // the system takes connections before the listener does
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("with --yes no connection was opened; is anybody asked at all?")
		}
	}
}

// With --insecure an unencrypted connection to another host is tried, and warned of.
func TestInsecureWarns(t *testing.T) {
	for variable, args := range map[string][]string{"SIXFOLD_DSN=postgres://u@nowhere.invalid/db": {"outbox", "stats"}, "SIXFOLD_BROKER=nats://nowhere.invalid": {"bus", "peek", "orders"}} {
		got := newRunner(t, variable).run(append(args, "--insecure", "--timeout", "5s")...)
		if got.code != 3 || !strings.Contains(got.err, "warning: the connection to nowhere.invalid") || !strings.Contains(got.err, "is not encrypted") {
			t.Errorf("%s: code %d, %q", variable, got.code, got.all())
		}
	}
}
