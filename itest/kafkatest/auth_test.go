package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// certificate makes one for 127.0.0.1, and the roots that trust it.
func certificate(tb testing.TB) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestTLSAndSCRAM(t *testing.T) {
	pair, roots := certificate(t)
	f := newFake(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "user", "right"), kfake.Superuser("SCRAM-SHA-512", "user5", "right"))
	good := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	for name, test := range map[string]struct {
		address string
		c       *tls.Config
		want    error
	}{
		"right":               {"kafka://user:right@" + f.seeds + "?sasl=scram-sha-256", good, nil},
		"right, 512":          {"kafkas://user5:right@" + f.seeds + "?sasl=scram-sha-512", good, nil},
		"unknown authority":   {"kafka://user:right@" + f.seeds + "?sasl=scram-sha-256", &tls.Config{}, bus.ErrRefused},
		"another name":        {"kafka://user:right@" + f.seeds + "?sasl=scram-sha-256", &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "kafka.example"}, bus.ErrRefused},
		"no TLS":              {"kafka://user:right@" + f.seeds + "?sasl=scram-sha-256", nil, bus.ErrUnavailable},
		"no log-in":           {"kafka://" + f.seeds, good, bus.ErrUnavailable},
		"nobody listens":      {"kafka://user:right@127.0.0.1:1?sasl=scram-sha-256", good, bus.ErrUnavailable},
		"another mechanism":   {"kafka://user:right@" + f.seeds + "?sasl=plain", good, nil},
		"wrong password":      {"kafka://user:wrong@" + f.seeds + "?sasl=scram-sha-256", good, nil},
		"wrong password, 512": {"kafka://user5:wrong@" + f.seeds + "?sasl=scram-sha-512", good, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := kafka.New(test.address, fast(kafka.Options{TLS: test.c}))
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close(t.Context())
			topic := f.topic()
			err = tr.Declare(t.Context(), topic)
			if err == nil {
				var s bus.Sender
				if s, err = tr.Open(t.Context()); err == nil {
					err = errors.Join(hand.Send(t, s, hand.Messages(topic, "k/1")...)...)
				}
			}
			bad := strings.Contains(name, "wrong") || strings.Contains(name, "mechanism") // the fake brokers hang up then
			if bad && err == nil || !bad && !errors.Is(err, test.want) || !bad && test.want == nil && err != nil {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), ":right") || strings.Contains(err.Error(), ":wrong")) {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

// A token function is asked for each connection, and its token shows nowhere. [NoSecretAnywhere]
func TestToken(t *testing.T) {
	f := newFake(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"))
	f.fake.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.fake.KeepControl()
		return req.ResponseKind(), nil, req.(*kmsg.SASLHandshakeRequest).Mechanism == "OAUTHBEARER"
	})
	var sent atomic.Value
	f.fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.fake.KeepControl()
		sent.Store(string(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes))
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse) // the fake brokers know no tokens
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	var asked atomic.Int64
	tr, err := kafka.New("kafka://"+f.seeds, &kafka.Options{Token: func(context.Context) (string, error) { asked.Add(1); return "hunter2", nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(t.Context())
	_, err = tr.Open(t.Context())
	shown, _ := sent.Load().(string)
	if !errors.Is(err, bus.ErrRefused) || asked.Load() == 0 || !strings.Contains(shown, "Bearer hunter2") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v after %d tokens", err, asked.Load())
	}
}

// What the user may not do is said, at once.
func TestRights(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	f.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup}, Group: "shipping", Err: kerr.GroupAuthorizationFailed, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := hand.Subscribe(t, tr, group(topic)).Receive(ctx, 1); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("without rights to the group: %v", err)
	}
	h := f.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
	for _, err := range hand.Send(t, hand.Open(t, tr), hand.Messages(topic, "k/1", "l/2")...) {
		if !errors.Is(err, bus.ErrRefused) && !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("without rights to the topic: %v", err)
		}
	}
	h.Remove()
}

// Topics are made when that is asked for, checked, and never changed.
func TestTopology(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	name := f.topic()
	want, err := kafka.NewTopology(kafka.Topic{Name: name, Partitions: 3, Replication: 1, Config: map[string]string{"retention.ms": "60000"}})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := tr.CheckTopology(t.Context(), want)
	if err != nil || len(ds) != 1 || ds[0].State != bus.Missing {
		t.Fatalf("%v, %v", ds, err)
	}
	if err := tr.DeclareTopology(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if ds, err = tr.CheckTopology(t.Context(), want); err != nil || len(ds) != 1 || ds[0].State != bus.There {
		t.Fatalf("%v, %v", ds, err)
	}
	other, _ := kafka.NewTopology(kafka.Topic{Name: name, Partitions: 6, Config: map[string]string{"retention.ms": "1"}})
	if err := tr.DeclareTopology(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if ds, err = tr.CheckTopology(t.Context(), other); err != nil || len(ds) != 1 || ds[0].State != bus.Differs || !strings.Contains(ds[0].Text, "it has 3 partitions, declared are 6") || !strings.Contains(ds[0].Text, "60000") {
		t.Fatalf("%v, %v", ds, err)
	}
	strict, _ := f.connect(t, &kafka.Options{Require: true})
	for what, err := range map[string]error{"declare": strict.Declare(t.Context(), "missing"), "subscribe": func() error { _, err := strict.Subscribe(t.Context(), group("missing")); return err }()} {
		if !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "create") {
			t.Errorf("%s of a missing topic: %v", what, err)
		}
	}
	if f.fake.TopicInfo("missing") != nil {
		t.Error("Require made a topic")
	}
	if err := tr.Declare(t.Context(), "a b"); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
