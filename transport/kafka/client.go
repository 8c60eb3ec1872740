package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

const (
	// requestLimit bounds a request about topics, with its repeats.
	requestLimit = 10 * time.Second
	dialLimit    = 5 * time.Second
)

// client makes one of our clients. It connects when it is used.
func (t *Transport) client(dial dialer, opts ...kgo.Opt) (*kgo.Client, error) {
	all := make([]kgo.Opt, 0, len(t.base)+len(t.o.Client)+len(opts)+8)
	all = append(all, t.base...)
	all = append(all, t.o.Client...)
	all = append(all,
		kgo.DialTLSConfig(nil), kgo.Dialer(dial), // which does TLS
		kgo.RequestRetries(1), kgo.RetryTimeout(requestLimit), kgo.RequestTimeoutOverhead(requestLimit),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	c, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: the client's options do not go together: %w", bus.ErrRefused, err)
	}
	return c, nil
}

// tryOptions makes a client and throws it away, so that options that do not go together are found when the transport is made.
func (t *Transport) tryOptions() error {
	c, err := t.client(t.dial)
	if err != nil {
		return fmt.Errorf("kafka: %w: %w", sixfold.ErrInvalid, err)
	}
	c.Close()
	return nil
}

// unfit says what a client has that ours cannot have.
func unfit(c *kgo.Client) string {
	if group, _ := c.OptValue(kgo.ConsumerGroup).(string); group != "" {
		return "a consumer group"
	}
	if id, _ := c.OptValue(kgo.TransactionalID).(string); id != "" {
		return "a transactional id"
	}
	if len(c.GetConsumeTopics()) > 0 {
		return "topics to consume"
	}
	if parts, _ := c.OptValue(kgo.ConsumePartitions).(map[string]map[int32]kgo.Offset); len(parts) > 0 {
		return "partitions to consume"
	}
	return ""
}

// controlClient answers the client for looking up and declaring.
func (t *Transport) controlClient(ctx context.Context) (*kgo.Client, error) {
	if t.user != nil {
		return t.user, nil
	}
	select {
	case t.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.making }()
	t.mu.Lock()
	c, closed := t.control, t.closed
	t.mu.Unlock()
	switch {
	case closed:
		return nil, errTransportClosed
	case c != nil:
		return c, nil
	}
	c, err := t.client(t.dial)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		c.Close()
		return nil, errTransportClosed
	}
	t.control = c
	t.mu.Unlock()
	return c, nil
}

// manage runs requests on the client for them.
func (t *Transport) manage(ctx context.Context, f func(ctx context.Context, c *kgo.Client) error) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	c, err := t.controlClient(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	err = f(inner, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && inner.Err() != nil:
		return fmt.Errorf("%w: the brokers did not answer within %v", bus.ErrUnavailable, requestLimit)
	}
	return err
}

// Client makes a client of franz-go's that connects as this transport does, for what the transport does not do. Whoever makes
// one closes it.
func (t *Transport) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	c, err := t.client(t.dial, opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka: make a client: %w", err)
	}
	return c, nil
}

// Ping reports whether a broker answers and accepts the credentials. Errors wrap those of package bus.
func (t *Transport) Ping(ctx context.Context) error {
	err := t.manage(ctx, func(ctx context.Context, c *kgo.Client) error { return classify(c.Ping(ctx)) })
	if err != nil {
		return fmt.Errorf("kafka: ping: %w", err)
	}
	return nil
}
