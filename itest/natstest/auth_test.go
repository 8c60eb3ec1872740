package natstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// through sends and receives one message.
func through(t *testing.T, tr *nats.Transport) {
	t.Helper()
	src := hand.Subscribe(t, tr, group("orders", true))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/1")...)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// refused checks that neither a sender nor a source can be opened, and that nothing secret is shown. [NoSecretAnywhere]
func refused(t *testing.T, url string, secret string, options ...natsgo.Option) {
	t.Helper()
	var log bytes.Buffer
	tr, err := nats.New(url, &nats.Options{Nats: patient(options...), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(t.Context())
	_, err = tr.Open(t.Context())
	_, err2 := tr.Subscribe(t.Context(), group("orders", true))
	for _, err := range []error{err, err2} {
		if !errors.Is(err, bus.ErrRefused) {
			t.Errorf("got %v", err)
		}
		if secret != "" && strings.Contains(err.Error()+log.String(), secret) {
			t.Errorf("the secret is shown: %v\n%s", err, log.String())
		}
	}
}

func TestUserAndPassword(t *testing.T) {
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Username, o.Password = "user", "hunter2" }})
	host := strings.TrimPrefix(f.url, "nats://")
	through(t, f.connect(t, "nats://user:hunter2@"+host, calm(nats.Options{})))
	through(t, f.connect(t, f.url, calm(nats.Options{Nats: []natsgo.Option{natsgo.UserInfo("user", "hunter2")}})))
	refused(t, "nats://user:hunter3@"+host, "hunter3")
	refused(t, f.url, "hunter3", natsgo.UserInfo("user", "hunter3"))
	refused(t, f.url, "")
}

func TestToken(t *testing.T) {
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Authorization = "t0ken" }})
	host := strings.TrimPrefix(f.url, "nats://")
	through(t, f.connect(t, "nats://t0ken@"+host, calm(nats.Options{})))
	refused(t, "nats://wr0ng@"+host, "wr0ng")
}

func TestNkey(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }})
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	option, err := natsgo.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	through(t, f.connect(t, f.url, calm(nats.Options{Nats: []natsgo.Option{option}})))
	other, _ := nkeys.CreateUser()
	otherPublic, _ := other.PublicKey()
	refused(t, f.url, "", natsgo.Nkey(otherPublic, other.Sign))
}

// credentials makes the files of a server with an operator: an account with JetStream, and a user's credentials.
func credentials(t *testing.T) (configure func(*server.Options), file string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	operator, err := nkeys.CreateOperator()
	must(err)
	operatorKey, _ := operator.PublicKey()
	account := func(name string, set func(*jwt.AccountClaims)) (nkeys.KeyPair, string, string) {
		pair, err := nkeys.CreateAccount()
		must(err)
		key, _ := pair.PublicKey()
		claims := jwt.NewAccountClaims(key)
		claims.Name = name
		if set != nil {
			set(claims)
		}
		text, err := claims.Encode(operator)
		must(err)
		return pair, key, text
	}
	_, system, systemJWT := account("SYS", nil)
	shop, shopKey, shopJWT := account("SHOP", func(c *jwt.AccountClaims) {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	})
	user, err := nkeys.CreateUser()
	must(err)
	userKey, _ := user.PublicKey()
	userJWT, err := jwt.NewUserClaims(userKey).Encode(shop)
	must(err)
	seed, _ := user.Seed()
	text, err := jwt.FormatUserConfig(userJWT, seed)
	must(err)
	file = filepath.Join(t.TempDir(), "user.creds")
	must(os.WriteFile(file, text, 0o600))
	operatorClaims := jwt.NewOperatorClaims(operatorKey)
	operatorClaims.SystemAccount = system
	_, err = operatorClaims.Encode(operator)
	must(err)
	return func(o *server.Options) {
		resolver := &server.MemAccResolver{}
		must(errors.Join(resolver.Store(system, systemJWT), resolver.Store(shopKey, shopJWT)))
		o.TrustedOperators, o.SystemAccount, o.AccountResolver = []*jwt.OperatorClaims{operatorClaims}, system, resolver
	}, file
}

func TestCredentialsFile(t *testing.T) {
	configure, file := credentials(t)
	f := newFixture(t, &servers.NATSOptions{Configure: configure})
	through(t, f.connect(t, f.url, calm(nats.Options{Nats: []natsgo.Option{natsgo.UserCredentials(file)}})))
	refused(t, f.url, "")
	_, foreign := credentials(t)
	refused(t, f.url, "", natsgo.UserCredentials(foreign))
	if _, err := nats.New(f.url, &nats.Options{Nats: []natsgo.Option{natsgo.UserCredentials(filepath.Join(t.TempDir(), "missing.creds"))}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("credentials that are not there: %v", err)
	}
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, a.cert = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"}})
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

func (a *authority) pair(c *x509.Certificate) tls.Certificate {
	key, cert := a.issue(c)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func TestTLSAndClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	client := ca.pair(&x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	local := &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	config := &tls.Config{Certificates: []tls.Certificate{ca.pair(local)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS12}
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.TLSConfig, o.TLSVerify, o.TLSTimeout = config, true, 60 }})
	good := &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{client}, MinVersion: tls.VersionTLS12}
	through(t, f.connect(t, f.url, calm(nats.Options{Nats: []natsgo.Option{natsgo.Secure(good)}})))

	host := strings.TrimPrefix(f.url, "nats://")
	nc, err := natsgo.Connect(f.url, patient(natsgo.Secure(good))...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	own, err := nats.NewConn(nc, calm(nats.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close(t.Context())
	through(t, own)

	without := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}
	refused(t, f.url, "", natsgo.Secure(without))
	refused(t, f.url, "", natsgo.Secure(&tls.Config{RootCAs: newAuthority(t).pool(), Certificates: []tls.Certificate{client}, MinVersion: tls.VersionTLS12}))
	foreign := newAuthority(t).pair(&x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	refused(t, "tls://"+host, "", natsgo.Secure(&tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{foreign}, MinVersion: tls.VersionTLS12}))
	plain := newFixture(t, nil)
	refused(t, plain.url, "", natsgo.Secure(good)) // TLS required and absent
}

func TestServerWithoutJetStream(t *testing.T) {
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.JetStream = false }})
	tr := f.connect(t, f.url, nil)
	if _, err := tr.Subscribe(t.Context(), group("orders", false)); !errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "is JetStream enabled") {
		t.Errorf("subscribe: %v", err)
	}
	if errs := hand.Send(t, hand.Open(t, tr), hand.Messages("orders", "k/1")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("send: %v", errs[0])
	}
}

// Credentials that are withdrawn end Receive; an outage does not.
func TestCredentialsThatAreWithdrawn(t *testing.T) {
	password := "first"
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Username, o.Password = "user", password }})
	tr := f.connect(t, f.url, calm(nats.Options{Nats: []natsgo.Option{natsgo.UserInfo("user", "first")}}))
	src := hand.Subscribe(t, tr, group("orders", true))
	f.server.Stop()
	password = "second"
	if err := f.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Receive(t.Context(), 1); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("receive: %v", err)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
