package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Transport is SQS, with SNS, as a broker. It is safe for concurrent use.
type Transport struct {
	o      Options
	sqs    *sqs.Client
	sns    *sns.Client     // nil: PointToPoint
	own    *http.Transport // of the clients that were made here; nil: they are the user's
	routes driver.Known[*route]
	home   home

	mu       sync.Mutex // guards what follows
	declared bool       // Options.Topology, Topics and Groups are
	closed   bool
	senders  map[*sender]struct{}
	sources  map[*source]struct{}
}

var _ bus.Transport = (*Transport)(nil)

// New makes a transport with clients of its own, configured by the standard chain (environment, shared files, container,
// instance) and the options. It reads files, and may ask the instance for its region while ctx lasts; it does not
// connect to SQS. Errors name everything that is wrong with the options, and wrap sixfold.ErrInvalid.
func New(ctx context.Context, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	if err != nil {
		return nil, err
	}
	c, own, err := configure(ctx, &o)
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	t.own = own
	t.sqs = sqs.NewFromConfig(c)
	if !o.PointToPoint {
		t.sns = sns.NewFromConfig(c)
	}
	return t, nil
}

// NewClients makes a transport on clients of the user's, which are never closed here. Their retryers do not count when
// messages are sent, since a sender never repeats. n is nil with Options.PointToPoint. Region, Endpoint, Plain and
// Credentials are the clients' own and not used.
func NewClients(q *sqs.Client, n *sns.Client, opts *Options) (*Transport, error) {
	o, err := opts.defaulted()
	if q == nil {
		err = errors.Join(fmt.Errorf("sqs: client: %w: it is nil; give what sqs.NewFromConfig answered", sixfold.ErrInvalid), err)
	}
	if n == nil && !o.PointToPoint {
		err = errors.Join(fmt.Errorf("sqs: client of SNS: %w: it is nil; give what sns.NewFromConfig answered, or set PointToPoint", sixfold.ErrInvalid), err)
	}
	if err != nil {
		return nil, err
	}
	t := newTransport(o)
	t.sqs, t.sns = q, n
	if o.PointToPoint {
		t.sns = nil
	}
	return t, nil
}

func newTransport(o Options) *Transport {
	return &Transport{o: o, senders: make(map[*sender]struct{}), sources: make(map[*source]struct{})}
}

// Clients answers the clients of SQS and SNS, for what the transport does not do; n is nil with Options.PointToPoint. Their connections
// end with the transport, unless they are the user's own.
func (t *Transport) Clients() (q *sqs.Client, n *sns.Client) { return t.sqs, t.sns }

// longestHold is how long SQS keeps a message invisible, extended or not.
const longestHold = 12 * time.Hour

// Capabilities implements bus.Transport. OrderPerKey is false with Options.Standard, and there is then no DedupWindow.
func (t *Transport) Capabilities() bus.Capabilities {
	c := bus.Capabilities{Name: "sqs", OrderPerKey: !t.o.Standard, Confirms: true, MaxBody: t.o.MaxBody, ExtendEvery: t.o.Visibility / 3, Copies: t.sns != nil, LongestHold: longestHold}
	if !t.o.Standard {
		c.DedupWindow = dedupWindow
	}
	return c
}

// String names the region, without credentials.
func (t *Transport) String() string { return "sqs in " + t.sqs.Options().Region }

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

// Close implements bus.Transport. Sources give back what they hold, as long as ctx lasts.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	senders, sources := t.senders, t.sources
	t.senders, t.sources = make(map[*sender]struct{}), make(map[*source]struct{})
	t.mu.Unlock()
	for s := range senders {
		s.end(errSenderClosed)
	}
	for s := range senders {
		s.work.Wait()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for s := range sources {
		all.Go(func() {
			if err := s.Close(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if t.own != nil {
		t.own.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// once and onceSNS are options of requests that the client does not repeat.
func once(o *sqs.Options)    { o.Retryer = aws.NopRetryer{} }
func onceSNS(o *sns.Options) { o.Retryer = aws.NopRetryer{} }

// twice and twiceSNS are options of requests that may be repeated without harm: a connection that the service has closed shows
// only when it is used. Outages are left to whoever asked.
func twice(o *sqs.Options)    { o.Retryer = again() }
func twiceSNS(o *sns.Options) { o.Retryer = again() }

func again() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 2, 100*time.Millisecond, ratelimit.None
	})
}
