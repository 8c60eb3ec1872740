package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// natsBroker is NATS JetStream.
type natsBroker struct {
	nc    *natsgo.Conn
	js    jetstream.JetStream
	t     *nats.Transport
	where string
}

func (a *app) openNATS(ctx context.Context, urls string) (broker, error) {
	var hosts []string
	for one := range strings.SplitSeq(urls, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return nil, usage("the URL of the broker cannot be read", "write nats://host:4222, with @ : / # ? % in a password as %40 %3A %2F %23 %3F %25")
		}
		hosts = append(hosts, u.Host)
		if (u.Scheme == "nats" || u.Scheme == "ws") && !loopback(u.Hostname()) {
			if err := a.plaintext("NATS", u.Host, "write tls:// in the URL"); err != nil {
				return nil, err
			}
		}
	}
	b := &natsBroker{where: strings.Join(hosts, ", ")}
	o := []natsgo.Option{natsgo.Name("sixfold"), natsgo.NoReconnect(), natsgo.Timeout(a.timeout), natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {})}
	var err error
	if b.nc, err = natsgo.Connect(urls, o...); err != nil {
		return nil, whyNoNATS(err, b.where)
	}
	if b.js, err = jetstream.New(b.nc); err == nil {
		b.t, err = nats.NewConn(b.nc, &nats.Options{Require: true})
	}
	if err != nil {
		b.nc.Close()
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// whyNoNATS tells apart why nobody answered. The client says "no servers" of a refused connection.
func whyNoNATS(err error, where string) error {
	var dns *net.DNSError
	var network net.Error
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.Is(err, natsgo.ErrAuthorization), errors.Is(err, natsgo.ErrAuthExpired), errors.Is(err, natsgo.ErrAuthRevoked):
		return cannotConnect("NATS at "+where+" refused the credentials", "look at user, password or token of the URL")
	case errors.As(err, &dns):
		return cannotConnect("the host of "+where+" is unknown", "look at its spelling, and at the name servers of this machine")
	case errors.Is(err, natsgo.ErrNoServers):
		return cannotConnect("nobody listens at "+where, "start NATS there, or correct host and port of the URL")
	case errors.As(err, &host):
		return cannotConnect("the certificate of "+where+" is for another name", "use the name that it has")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return cannotConnect("the certificate of "+where+" has expired, or is not valid yet", "renew it, and look at the clocks")
	case errors.As(err, &authority), errors.As(err, &verify):
		return cannotConnect("the certificate of "+where+" is signed by nobody who is trusted here", "add its authority to those of this machine")
	case errors.Is(err, natsgo.ErrSecureConnWanted), errors.Is(err, natsgo.ErrSecureConnRequired):
		return cannotConnect("NATS at "+where+" and this program do not agree about TLS", "write tls:// where the server has it, nats:// where it has not")
	case errors.Is(err, natsgo.ErrTimeout), errors.As(err, &network) && network.Timeout():
		return cannotConnect("NATS at "+where+" did not answer in time", "look whether a firewall is in the way, or raise --timeout")
	}
	return cannotConnect("NATS at "+where+" cannot be reached", "look at the URL and at the log of the server")
}

func (b *natsBroker) transport() bus.Transport { return b.t }

func (b *natsBroker) close() {
	_ = b.t.Close(context.Background())
	b.nc.Close()
}

// asked bounds a request.
func asked(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 5*time.Second)
}

func (b *natsBroker) check(ctx context.Context) (text, fix string, err error) {
	ctx, cancel := asked(ctx)
	defer cancel()
	info, err := b.js.AccountInfo(ctx)
	if errors.Is(err, natsgo.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return "NATS at " + b.where + " answers, but without JetStream", "switch JetStream on, for the server and for the account", nil
	}
	if err != nil {
		return "", "", b.failed("be asked about its state", err)
	}
	return fmt.Sprintf("NATS at %s, version %s, with %d streams", b.where, b.nc.ConnectedServerVersion(), info.Streams), "", nil
}

func (b *natsBroker) failed(what string, err error) error {
	return failedWith("NATS at "+b.where+" could not "+what+": "+safe(err.Error()), "look at the rights of the user, and at the log of the server")
}

// stream answers the stream of a topic with the subjects that it has there, nil when there is none.
func (b *natsBroker) stream(ctx context.Context, topic string) (jetstream.Stream, string, error) {
	for _, subject := range []string{topic + ".0", topic} {
		name, err := b.js.StreamNameBySubject(ctx, subject)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, "", b.failed("look for the stream of "+quote(topic), err)
		}
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return nil, "", b.failed("look at stream "+quote(name), err)
		}
		if subject != topic {
			return s, topic + ".*", nil
		}
		return s, topic, nil
	}
	return nil, "", nil
}

func (b *natsBroker) find(ctx context.Context, topic string) (string, error) {
	ctx, cancel := asked(ctx)
	defer cancel()
	s, subjects, err := b.stream(ctx, topic)
	if err != nil || s == nil {
		return "", err
	}
	return fmt.Sprintf("stream %s with subjects %s", s.CachedInfo().Config.Name, subjects), nil
}

func (b *natsBroker) declare(ctx context.Context, t topic) error {
	maker, err := nats.NewConn(b.nc, &nats.Options{Lanes: t.Lanes, Replicas: t.Replicas, Dedup: time.Duration(t.Dedup)})
	if err != nil {
		f := asFailure(err)
		return usage("topic "+quote(t.Name)+": "+f.Message, f.Hint)
	}
	defer maker.Close(context.WithoutCancel(ctx))
	return maker.Declare(ctx, t.Name)
}

func (b *natsBroker) peekCost() string {
	return "NATS: each message is one request by its number; nothing is acknowledged or delivered, and what groups have handled is shown as long as the stream keeps it."
}

func (b *natsBroker) peek(ctx context.Context, topic string, most int) (list []peeked, total uint64, err error) {
	s, subjects, err := b.stream(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	if s == nil {
		return nil, 0, noTopic(topic)
	}
	if total, err = b.count(ctx, s, subjects); err != nil {
		return nil, 0, err
	}
	binding := cloudevents.NATS()
	for seq := s.CachedInfo().State.FirstSeq; len(list) < most; {
		limited, cancel := asked(ctx)
		m, err := s.GetMsg(limited, seq, jetstream.WithGetMsgSubject(subjects))
		cancel()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, 0, b.failed("show messages of "+quote(topic), err)
		}
		p := peeked{at: fmt.Sprintf("%s/%d", m.Subject, m.Sequence)}
		p.damaged = binding.Read(&p.env, firstOf(m.Header), m.Data)
		list = append(list, p)
		seq = m.Sequence + 1
	}
	return list, total, nil
}

// firstOf walks over the first value of each header.
func firstOf(h natsgo.Header) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for name, values := range h {
			if len(values) > 0 && !yield(name, values[0]) {
				return
			}
		}
	}
}

func noTopic(topic string) error {
	return failedWith("the broker has no topic "+quote(topic), "correct the name, or make it with sixfold bus declare")
}

// count answers how many messages a stream has of some subjects.
func (b *natsBroker) count(ctx context.Context, s jetstream.Stream, subjects string) (n uint64, err error) {
	ctx, cancel := asked(ctx)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return 0, b.failed("count messages", err)
	}
	for _, of := range info.State.Subjects {
		n += of
	}
	return n, nil
}

func (b *natsBroker) purge(ctx context.Context, topic string) (n uint64, err error) {
	s, subjects, err := b.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	if s == nil {
		return 0, noTopic(topic)
	}
	if n, err = b.count(ctx, s, subjects); err != nil {
		return 0, err
	}
	limited, cancel := asked(ctx)
	defer cancel()
	if err := s.Purge(limited, jetstream.WithPurgeSubject(subjects)); err != nil {
		return 0, b.failed("purge "+quote(topic), err)
	}
	return n, nil
}
