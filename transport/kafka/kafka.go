package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Transport is Kafka as a broker. It is safe for concurrent use.
type Transport struct {
	o     Options
	base  []kgo.Opt   // of all clients
	dial  dialer      // of all clients
	user  *kgo.Client // the user's own; nil: none
	where string      // the hosts, for messages to people; without credentials

	making chan struct{} // held by who makes the control client

	mu       sync.Mutex // guards what follows
	control  *kgo.Client
	declared bool // Options.Topology and Options.Topics are
	closed   bool
	senders  map[*sender]struct{}
	sources  map[*source]struct{}
}

var _ bus.Transport = (*Transport)(nil)

// New makes a transport for the brokers at address: "kafka://host:9092,host:9092", with user and password before an @ and
// the parameters tls and sasl (plain, scram-sha-256, scram-sha-512), or hosts alone. One broker that answers is enough to
// find the others. It does not connect. Errors name everything that is wrong with the options, and wrap
// sixfold.ErrInvalid; they never show an address, since it may have a password. Passwords and tokens that would go
// unencrypted to another host are refused unless Options.AllowPlaintext.
func New(address string, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	a, aerr := parseAddress(address)
	if err := errors.Join(aerr, err); err != nil {
		return nil, err
	}
	login := a.login
	if o.SASL != nil {
		login = o.SASL
	}
	if o.Token != nil {
		login = oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := o.Token(ctx)
			return oauth.Auth{Token: token}, err
		})
	}
	t := newTransport(o)
	secure := a.tls || o.TLS != nil
	if login != nil {
		for _, seed := range a.seeds {
			if secure || loopback(seed) {
				continue
			}
			if bare := login.Name() == "PLAIN" || login.Name() == "OAUTHBEARER"; bare && !o.AllowPlaintext {
				return nil, fmt.Errorf("kafka: broker address: %w: %s would send its secret unencrypted to %s; add tls=true, or set Options.AllowPlaintext", sixfold.ErrInvalid, login.Name(), driver.Quote(seed))
			}
			o.Logger.Warn("kafka: credentials and messages go unencrypted to another host; use TLS", "host", seed)
		}
		t.base = append(t.base, kgo.SASL(login))
	}
	t.base = append(t.base, kgo.SeedBrokers(a.seeds...))
	t.where = strings.Join(a.seeds, ", ")
	t.dial = newDialer(o.Dial, o.TLS, secure)
	return t, t.tryOptions()
}

// NewClient makes a transport on a client of the user's, which is never closed here. Requests about topics go through it.
// Senders and sources have clients of their own, made with its options (addresses, TLS, SASL, dialer, hooks), since
// franz-go fixes groups and acknowledgements when a client is made; so it is to be a plain one, without group, topics or
// transactions. The options about connecting of this package are not used.
func NewClient(client *kgo.Client, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	if client == nil {
		return nil, errors.Join(fmt.Errorf("kafka: client: %w: it is nil; give what kgo.NewClient answered", sixfold.ErrInvalid), err)
	}
	if what := unfit(client); what != "" {
		err = errors.Join(fmt.Errorf("kafka: client: %w: it has %s; give one without, since senders and sources are made with its options", sixfold.ErrInvalid, what), err)
	}
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	t.user, t.where = client, "the brokers of the given client"
	t.base = client.Opts()
	t.dial = dialerOf(client)
	return t, t.tryOptions()
}

func newTransport(o Options) *Transport {
	return &Transport{o: o, making: make(chan struct{}, 1), senders: make(map[*sender]struct{}), sources: make(map[*source]struct{})}
}

// Capabilities implements bus.Transport. Kafka cannot redeliver a single message; a source does that from its memory.
func (t *Transport) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "kafka", OrderPerKey: true, PrefixPerKey: true, Confirms: true, Copies: true, MaxBody: t.o.MaxBody}
}

// String names the hosts, without credentials.
func (t *Transport) String() string { return "kafka at " + t.where }

// GoString is String, so that %#v shows no credentials either.
func (t *Transport) GoString() string { return t.String() }

// usable says why nothing can be opened.
func (t *Transport) usable(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTransportClosed
	}
	return ctx.Err()
}

var errTransportClosed = fmt.Errorf("%w: the transport was closed; make another", bus.ErrClosed)

// Close implements bus.Transport. Sources give back what they hold, as long as ctx lasts.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	senders, sources := t.senders, t.sources
	t.senders, t.sources = make(map[*sender]struct{}), make(map[*source]struct{})
	control := t.control
	t.control = nil
	t.mu.Unlock()
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	closing := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	for s := range senders {
		closing(s.Close)
	}
	for s := range sources {
		closing(s.Close)
	}
	all.Wait()
	if control != nil {
		control.Close()
	}
	return errors.Join(errs...)
}
