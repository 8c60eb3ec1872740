package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
)

// requestLimit bounds a request to JetStream's API.
const requestLimit = 5 * time.Second

// dialLimit bounds a connection and its log-in, unless the user says otherwise: the client's own 2 s are less than a busy machine stands still.
const dialLimit = 10 * time.Second

// dial makes a connection that never reconnects. set changes its options last.
func (t *Transport) dial(ctx context.Context, role string, set func(o *natsgo.Options)) (*natsgo.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := t.clientOptions()
	o.Name = "sixfold " + role
	o.AllowReconnect, o.RetryOnFailedConnect = false, false
	o.ConnectedCB, o.ReconnectedCB, o.DiscoveredServersCB, o.DisconnectedErrCB, o.ReconnectErrCB, o.LameDuckModeHandler = nil, nil, nil, nil, nil, nil
	o.ClosedCB, o.CustomReconnectDelayCB = nil, nil
	o.AsyncErrorCB = func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
		t.o.Logger.Warn("nats: the server or the client reports an error", "role", role, "err", err)
	}
	o.NoCallbacksAfterClientClose, o.SkipSubjectValidation = true, true
	o.FlusherTimeout = t.o.AckTimeout
	if end, ok := ctx.Deadline(); ok && time.Until(end) < o.Timeout {
		o.Timeout = max(time.Until(end), time.Millisecond)
	}
	if set != nil {
		set(&o)
	}
	nc, err := o.Connect()
	// A server that refuses our certificate closes the connection after the handshake; but one that dies then does so too.
	for try := 0; try < 3 && errors.Is(err, natsgo.ErrTLS); try++ {
		nc, err = o.Connect()
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.where, classify(err))
	}
	return nc, nil
}

// clientOptions are the user's, from the options or from the user's connection.
func (t *Transport) clientOptions() natsgo.Options {
	if t.user != nil {
		o := t.user.Opts
		o.Url = t.user.ConnectedUrl()
		o.Servers = t.user.Servers()
		if o.Url != "" {
			o.NoRandomize = true // begin with the server that the user is connected to
		}
		return o
	}
	o := natsgo.GetDefaultOptions()
	o.Timeout = dialLimit
	o.Servers = append([]string(nil), t.urls...)
	for _, option := range t.o.Nats {
		_ = option(&o) // New has seen its error
	}
	return o
}

// controlConn answers the connection for looking streams up: the user's, or our own, which is made anew where it was lost.
func (t *Transport) controlConn(ctx context.Context) (*natsgo.Conn, error) {
	if t.user != nil {
		if !t.user.IsConnected() {
			return nil, fmt.Errorf("%w: the connection that was given to NewConn is not connected", bus.ErrUnavailable)
		}
		return t.user, nil
	}
	select {
	case t.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.dialing }()
	t.mu.Lock()
	nc, closed := t.control, t.closed
	t.mu.Unlock()
	switch {
	case closed:
		return nil, errTransportClosed
	case nc != nil && nc.IsConnected():
		return nc, nil
	}
	nc, err := t.dial(ctx, "control", nil)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		nc.Close()
		return nil, errTransportClosed
	}
	t.control = nc
	return nc, nil
}

var errTransportClosed = fmt.Errorf("%w: the transport was closed; make another", bus.ErrClosed)

// jetStream is the API on a connection.
func (t *Transport) jetStream(nc *natsgo.Conn) (jetstream.JetStream, error) {
	switch {
	case t.o.Domain != "":
		return jetstream.NewWithDomain(nc, t.o.Domain)
	case t.o.APIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, t.o.APIPrefix)
	}
	return jetstream.New(nc)
}

// api is the subject of a request to the API.
func (t *Transport) api(subject string) string {
	switch {
	case t.o.Domain != "":
		return "$JS." + t.o.Domain + ".API." + subject
	case t.o.APIPrefix != "":
		return strings.TrimSuffix(t.o.APIPrefix, ".") + "." + subject
	}
	return "$JS.API." + subject
}

// asking bounds a request. The caller's own end is told from the server's silence by ended.
func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestLimit)
}

// ended answers ctx's own error where that ended a request, else err in one of bus's kinds.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, natsgo.ErrTimeout)) {
		return ctx.Err()
	}
	return classify(err)
}
