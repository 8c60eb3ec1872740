package rabbittest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

const canary = "canary-p4ss"

// refused checks that a transport is refused at once, and that nothing it says shows its password.
func refused(t *testing.T, address string, o rabbitmq.Options) {
	t.Helper()
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tr, err := rabbitmq.New(address, &o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = tr.Open(ctx)
	if !errors.Is(err, bus.ErrRefused) {
		t.Errorf("open: %v", err)
	}
	_, err2 := tr.Subscribe(ctx, group("orders", true))
	if !errors.Is(err2, bus.ErrRefused) {
		t.Errorf("subscribe: %v", err2)
	}
	if all := fmt.Sprintf("%v %v %s %v %#v", err, err2, log.String(), tr, tr); strings.Contains(all, canary) {
		t.Errorf("the password is shown: %s", all)
	}
}

// [NoSecretAnywhere]
func TestWrongCredentials(t *testing.T) {
	f := newFixture(t)
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	wrong := *u
	wrong.User = url.UserPassword(u.User.Username(), canary)
	refused(t, wrong.String(), rabbitmq.Options{})
	wrong = *u
	wrong.Path = "/nowhere"
	refused(t, wrong.String(), rabbitmq.Options{})
	refused(t, wrong.Scheme+"s://u:"+canary+"@"+u.Host, rabbitmq.Options{}) // TLS required and absent
}

// What is no AMQP is refused; what cannot be reached is an outage.
func TestOtherPrograms(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		}
	}()
	refused(t, "amqp://u:"+canary+"@"+l.Addr().String(), rabbitmq.Options{})
	const nobody = "127.0.0.1:1" // no other test listens there
	f := &fixture{TB: t}
	_, err = f.connect(t, "amqp://u:"+canary+"@"+nobody, nil).Open(t.Context())
	if !errors.Is(err, bus.ErrUnavailable) || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), nobody) {
		t.Errorf("where nobody listens: %v", err)
	}
}

// A node that dies in the middle of the log-in is an outage, not a wrong password.
func TestANodeThatDiesAtTheLogIn(t *testing.T) {
	f := newFixture(t)
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host := u.Host
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		node, err := net.Dial("tcp4", host)
		if err != nil {
			return
		}
		defer node.Close()
		buf := make([]byte, 4096)
		for range 2 { // the header and its answer, then the credentials, which get none
			n, _ := c.Read(buf)
			node.Write(buf[:n])
			if bytes.Contains(buf[:n], []byte("PLAIN")) {
				return
			}
			n, _ = node.Read(buf)
			c.Write(buf[:n])
		}
	}()
	u.Host = l.Addr().String()
	if _, err := f.connect(t, u.String(), nil).Open(t.Context()); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
}

// Rights that are withdrawn end Receive; an outage does not.
func TestRightsThatAreWithdrawn(t *testing.T) {
	f := newFixture(t)
	user := "u-" + f.prefix
	control := func(args ...string) {
		t.Helper()
		if err := f.server.Control(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	control("add_user", user, canary)
	control("set_permissions", user, ".*", ".*", ".*")
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, canary)
	tr := f.connect(t, u.String(), nil)
	src := hand.Subscribe(t, tr, group(f.topic(), true))
	sender := hand.Open(t, tr)
	control("clear_permissions", user)
	topic := f.place(t, f.connect(t, f.url, nil))
	if errs := hand.Send(t, sender, hand.Messages(topic, "k/1")...); !errors.Is(errs[0], bus.ErrRefused) || strings.Contains(errs[0].Error(), canary) {
		t.Errorf("send without the right to: %v", errs[0])
	}
	control("delete_user", user)
	control("close_all_connections", "the user is gone")
	if _, err := src.Receive(t.Context(), 1); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("receive: %v", err)
	}
}

// authority is a certificate authority for one test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.cert = a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(c *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// files writes a certificate and its key in PEM.
func (a *authority) files(name string, c *x509.Certificate) (cert, key string) {
	a.t.Helper()
	k, issued := a.issue(c)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", issued.Raw), a.write(name+".key", "PRIVATE KEY", der)
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func TestTLSAndClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	roots := ca.write("ca.pem", "CERTIFICATE", ca.cert.Raw)
	cert, key := ca.files("server", &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	node := servers.PrivateRabbitMQ(t, &servers.RabbitMQOptions{CAFile: roots, CertFile: cert, KeyFile: key})
	f := &fixture{TB: t, url: node.TLSURL(), server: node, prefix: "tls"}
	mine, mineKey := ca.files("client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	parameters := "?cacertfile=" + url.QueryEscape(roots) + "&certfile=" + url.QueryEscape(mine) + "&keyfile=" + url.QueryEscape(mineKey)
	pair, err := tls.LoadX509KeyPair(mine, mineKey)
	if err != nil {
		t.Fatal(err)
	}
	good := &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	for address, o := range map[string]*rabbitmq.Options{f.url: {TLS: good}, f.url + parameters: nil} {
		tr := f.connect(t, address, o)
		src := hand.Subscribe(t, tr, group(f.topic(), true))
		hand.MustSend(t, hand.Open(t, tr), hand.Messages(fmt.Sprintf("topic.tls.%d", f.topics.Load()), "k/1")...)
		hand.Settle(t, src, hand.Receive(t, src, 1)...)
	}
	refused(t, f.url, rabbitmq.Options{TLS: &tls.Config{RootCAs: newAuthority(t).pool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}) // self-signed
	refused(t, f.url, rabbitmq.Options{TLS: &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ServerName: "elsewhere"}})
	refused(t, f.url, rabbitmq.Options{TLS: &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}}) // no client certificate
	refused(t, f.url+"?cacertfile=/nowhere", rabbitmq.Options{})
	refused(t, strings.Replace(f.url, "amqps", "amqp", 1), rabbitmq.Options{})
}
