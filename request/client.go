package request

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// ClientOptions are optional; nil and the zero value mean the defaults.
type ClientOptions struct {
	// Source of the requests' envelopes, a URI reference: often the service's name. Empty: "sixfold".
	Source string
	// Timeout of calls whose context has no deadline. 0: 10 s.
	Timeout time.Duration
	// MaxInFlight bounds how many calls wait at once, and, apart from them, how many streams and scattered requests are open. 0: 1024.
	MaxInFlight int
	// Silence is how long the responder of a stream may say nothing until it is taken for dead, and the stream ends with ErrLost, at most a third
	// of it later. It is asked after each third without a word; where the lane sees that nobody listens any more, that ends the stream at once.
	// A responder that stands still for longer loses its streams. 3 s to 45 s; 0: 15 s.
	Silence time.Duration
	// Codec of messages. Nil: sixfold.JSON.
	Codec sixfold.Codec
	// Codecs are further ones for replies, chosen by their content type. JSON is always known.
	Codecs []sixfold.Codec
	// Signer signs requests and cancellations. Nil: they are not signed.
	Signer *signature.Signer
	// Verifier says whose replies, faults included, can end a call: who has one of its keys. It should know the responders' keys
	// and no others. What is not signed as it has to be is counted as forged and leaves the call waiting. Nil: any reply can.
	Verifier *signature.Verifier
	// Logger, or nil for none.
	Logger *slog.Logger
}

// A Client calls handlers elsewhere: see Send. It connects with the first call, and again with the first one after the
// connection was lost. It is safe for concurrent use.
type Client struct {
	lane    Lane
	o       ClientOptions
	dialing chan struct{} // a token: who has it may open a port
	closing chan struct{}
	waiters sync.Pool // of waiter, each without an outcome
	flows   flows
	wg      sync.WaitGroup // of what goes on behind the back of calls: ports that are closed, cancellations, the alarm

	mu      sync.Mutex // guards what follows
	port    *port
	slots   map[string]*slot // of calls that wait
	alarm   alarm            // of calls that wait
	spare   *slot            // the first of those to use again
	history history
	calls   sync.WaitGroup // Sends that have a slot; Add only while not closed
	closed  bool
	stats   ClientStats
}

// port is a Port with what belongs to it.
type port struct {
	Port
	lost bool // guarded by Client.mu
}

// NewClient makes a client over lane, which stays the caller's. It does not connect. The error names everything that is
// wrong and wraps sixfold.ErrInvalid.
func NewClient(lane Lane, opts *ClientOptions) (*Client, error) {
	c := &Client{lane: lane, dialing: make(chan struct{}, 1), closing: make(chan struct{}), slots: make(map[string]*slot)}
	if opts != nil {
		c.o = *opts
	}
	var errs []error
	if isNil(lane) {
		errs = append(errs, invalid("new client: the lane is nil; make one, for example with memory.NewRequestLane, and look at its error"))
	}
	errs = append(errs, checkDuration("Timeout", &c.o.Timeout, 10*time.Second), checkSilence(&c.o.Silence), checkCount("MaxInFlight", &c.o.MaxInFlight, 1024), checkCodecs(c.o.Codecs))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.o.Source == "" {
		c.o.Source = "sixfold"
	}
	if c.o.Codec == nil {
		c.o.Codec = sixfold.JSON
	}
	if c.o.Logger == nil {
		c.o.Logger = slog.New(slog.DiscardHandler)
	}
	c.o.Codecs = append(c.o.Codecs[:len(c.o.Codecs):len(c.o.Codecs)], c.o.Codec)
	c.history = newHistory(4 * c.o.MaxInFlight)
	return c, nil
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// checkDuration fills in the default of an option.
func checkDuration(name string, d *time.Duration, zero time.Duration) error {
	switch {
	case *d == 0:
		*d = zero
	case *d < time.Millisecond || *d > maxTimeout:
		return invalid("option %s: it is %v; give 1ms to %v, or 0 for %v", name, *d, maxTimeout, zero)
	}
	return nil
}

// checkSilence fills in the default. A third of the longest is as often as a caller has to say that it is there.
func checkSilence(d *time.Duration) error {
	const least, most, zero = 3 * time.Second, 3 * pulseEvery, 15 * time.Second
	switch {
	case *d == 0:
		*d = zero
	case *d < least || *d > most:
		return invalid("option Silence: it is %v; give %v to %v, or 0 for %v", *d, least, most, zero)
	}
	return nil
}

func checkCount(name string, n *int, zero int) error {
	const most = 1 << 20
	switch {
	case *n == 0:
		*n = zero
	case *n < 0 || *n > most:
		return invalid("option %s: it is %d; give 1 to %d, or 0 for %d", name, *n, most, zero)
	}
	return nil
}

func checkCodecs(cs []sixfold.Codec) error {
	for i, c := range cs {
		if c == nil {
			return invalid("option Codecs: number %d is nil; leave it out", i+1)
		}
	}
	return nil
}

// open answers the port, and opens one where there is none. ctx bounds that.
func (c *Client) open(ctx context.Context) (*port, error) {
	c.mu.Lock()
	p := c.port
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	select {
	case c.dialing <- struct{}{}:
	case <-c.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	defer func() { <-c.dialing }()
	c.mu.Lock()
	p, closed := c.port, c.closed
	c.mu.Unlock()
	switch {
	case p != nil:
		return p, nil
	case closed:
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a Close ends what is under way
		select {
		case <-c.closing:
			cancel()
		case <-stop:
		}
	}()
	p = new(port)
	opened, err := c.lane.Open(ctx, Replies{
		Take:          func(packet *Packet) { c.take(p, packet) },
		Undeliverable: func(request string) { c.undeliverable(p, request) },
		Lost:          func(err error) { c.lose(p, err) },
	})
	if err != nil {
		if c.isClosed() {
			return nil, ErrClosed
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, err
	}
	c.mu.Lock()
	p.Port = opened
	lost, closed := p.lost, c.closed
	if !lost && !closed {
		c.port = p
	}
	c.mu.Unlock()
	switch {
	case closed:
		_ = p.Close(context.WithoutCancel(ctx)) // it has nothing that could be lost
		return nil, ErrClosed
	case lost:
		_ = p.Close(context.WithoutCancel(ctx))
		return nil, ErrLost
	}
	return p, nil
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// lose fails the calls of a port that was lost. The next call opens another.
func (c *Client) lose(p *port, why error) {
	c.mu.Lock()
	if p.lost {
		c.mu.Unlock()
		return
	}
	p.lost = true
	c.stats.Lost++
	if c.port == p {
		c.port = nil
	}
	for _, s := range slices.Clone(c.alarm.heap) { // which end changes
		if s.port == p {
			c.end(s, ErrLost)
		}
	}
	c.flows.lost(p)
	opened := p.Port != nil && !c.closed
	if opened {
		c.wg.Add(1) // before Close waits, since it is not closed
	}
	c.mu.Unlock()
	c.o.Logger.Warn("request: a client lost its connection; the next call connects again", "lane", c.lane.Capabilities().Name, "err", why)
	if opened {
		go func() { // not in the lane's goroutine, for which Close waits
			defer c.wg.Done()
			_ = p.Close(context.Background())
		}()
	}
}

// Close fails the calls that wait with ErrClosed and returns when all of them have returned and the port has ended, or when
// ctx has ended. A second call waits as well. Streams end with ErrClosed too, for whose loops it does not wait; so it may be called in one.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	p, first := c.port, !c.closed
	c.closed, c.port = true, nil
	for len(c.alarm.heap) > 0 {
		c.end(c.alarm.heap[len(c.alarm.heap)-1], ErrClosed)
	}
	c.silence()
	c.mu.Unlock()
	c.flows.close()
	if first {
		close(c.closing)
	}
	var err error
	if p != nil {
		err = p.Close(ctx)
	}
	over := make(chan struct{})
	go func() {
		c.calls.Wait()
		c.wg.Wait()
		close(over)
	}()
	select {
	case <-over:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}
