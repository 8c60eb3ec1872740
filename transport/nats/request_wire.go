package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/wire"
)

// requestWire is the connection of a port or an ear. When the network stands still the client's publish does so too, for
// writeLimit, with a lock that all others need: who has not that much time sends through a goroutine, for which it waits with its context.
type requestWire struct {
	*wire.Line[*outgoing]
	l    *RequestLane
	nc   *natsgo.Conn
	subs []*requestSub
}

// writeLimit is how long one write to the network may stand still before the connection is given up.
const writeLimit = time.Second

// outgoing is a message on its way to the connection. They are used again.
type outgoing struct {
	until  time.Time // not sent later; zero: no limit
	msg    natsgo.Msg
	heads  []cloudevents.Header
	values []string
}

var outgoings = sync.Pool{New: func() any {
	return &outgoing{msg: natsgo.Msg{Header: make(natsgo.Header, 16)}, values: make([]string, 0, 32)}
}}

func newRequestWire(l *RequestLane) *requestWire {
	return &requestWire{Line: wire.New[*outgoing](256, errWireGone), l: l}
}

// connect dials. lost is told when the connection ends before Close.
func (w *requestWire) connect(ctx context.Context, role string, lost func(error)) error {
	nc, err := w.l.t.dial(ctx, role, func(o *natsgo.Options) {
		const ping = 10 * time.Second // so that a silent network is noticed
		if o.PingInterval <= 0 || o.PingInterval > ping {
			o.PingInterval, o.MaxPingsOut = ping, 2
		}
		o.FlusherTimeout = writeLimit
		o.ClosedCB = func(nc *natsgo.Conn) { // not for our own Close
			w.Lose()
			w.HandOver(func() { lost(fmt.Errorf("nats: %w", classify(orClosed(nc.LastError())))) })
		}
	})
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	w.nc = nc
	return nil
}

func orClosed(err error) error {
	if err == nil {
		return natsgo.ErrConnectionClosed
	}
	return err
}

// requestSub is a subscription; done is closed when its goroutine has ended.
type requestSub struct {
	*natsgo.Subscription
	done chan struct{}
}

func (w *requestWire) subscribe(subject, group string, f func(m *natsgo.Msg)) (*requestSub, error) {
	sub, err := w.nc.QueueSubscribe(subject, group, func(m *natsgo.Msg) { w.HandOver(func() { f(m) }) })
	if err != nil {
		return nil, fmt.Errorf("nats: subscribe to %s: %w", driver.Quote(subject), classify(err))
	}
	s := &requestSub{sub, make(chan struct{})}
	over := sync.OnceFunc(func() { close(s.done) })
	sub.SetClosedHandler(func(string) { over() })
	if w.nc.IsClosed() { // perhaps before it had the handler
		over()
	}
	w.subs = append(w.subs, s)
	return s, nil
}

// begin waits until the server knows the subscriptions, and lets the sending begin.
func (w *requestWire) begin(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, requestLimit)
		defer cancel()
		ctx = limited
	}
	err := w.nc.FlushWithContext(ctx)
	if last := w.nc.LastError(); err == nil && last != nil && notAllowed(last) {
		err = last
	}
	if err != nil {
		w.abandon()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("nats: %w", classify(err))
	}
	go w.Write(w.publish)
	return nil
}

// abandon gives up what has not begun.
func (w *requestWire) abandon() {
	w.End()
	w.nc.Close()
	w.Lose()
	w.awaitSubs()
}

func (w *requestWire) awaitSubs() {
	for _, s := range w.subs {
		<-s.done
	}
}

// send encodes p and hands it to the goroutine that sends.
func (w *requestWire) send(ctx context.Context, subject, reply string, p *request.Packet) error {
	o := outgoings.Get().(*outgoing)
	if err := o.encode(w, subject, reply, p); err != nil {
		outgoings.Put(o)
		return err
	}
	until, bounded := ctx.Deadline()
	o.until = until
	if err := w.Check(); err != nil {
		return err
	}
	if !bounded || time.Until(until) > 2*writeLimit { // there is time for a write that stands still
		w.publish(o)
		return nil
	}
	return w.Send(ctx, o)
}

var errWireGone = fmt.Errorf("nats: %w: the connection was lost or closed", bus.ErrUnavailable)

func (o *outgoing) encode(w *requestWire, subject, reply string, p *request.Packet) (err error) {
	if o.heads, err = p.AppendHeaders(o.heads[:0], requestBinding); err != nil {
		return fmt.Errorf("nats: %w: %w", bus.ErrRefused, err)
	}
	size := len("NATS/1.0\r\n\r\n") + len(p.Envelope.Body)
	clear(o.msg.Header)
	o.values = o.values[:0]
	for _, h := range o.heads {
		o.values = append(o.values, h.Value)
		size += len(h.Name) + len(h.Value) + len(": \r\n")
	}
	for i, h := range o.heads {
		o.msg.Header[h.Name] = o.values[i : i+1 : i+1]
	}
	if most := int(w.nc.MaxPayload()); size > most {
		return fmt.Errorf("nats: %w: %d bytes with its attributes, the server's limit is %d; send less, or raise max_payload", bus.ErrTooLarge, size, most)
	}
	o.msg.Subject, o.msg.Reply, o.msg.Data = subject, reply, p.Envelope.Body
	return nil
}

// publish sends one message unless it is too late. A failure is that of the connection, which ends with it.
func (w *requestWire) publish(o *outgoing) {
	if o.until.IsZero() || time.Now().Before(o.until) {
		if err := w.nc.PublishMsg(&o.msg); err != nil && !errors.Is(err, natsgo.ErrConnectionClosed) {
			w.l.t.o.Logger.Warn("nats: a request or a reply could not be sent", "err", err)
		}
	}
	o.msg.Data = nil
	outgoings.Put(o)
}

// Close implements request.Port and request.Ear.
func (w *requestWire) Close(ctx context.Context) error {
	first := w.End()
	select { // what was handed over goes out
	case <-w.Written():
		if first {
			w.flush(ctx)
		}
	case <-ctx.Done():
	}
	over := make(chan struct{})
	go func() {
		w.nc.Close() // which waits for a publish that stands still
		w.Lose()
		<-w.Written()
		w.awaitSubs()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush waits until the server has what was written, for a while: what it has not then nobody waits for.
func (w *requestWire) flush(ctx context.Context) {
	const limit = time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = w.nc.FlushWithContext(ctx)
}

// read makes the packet of a message.
func read(m *natsgo.Msg) *request.Packet {
	return request.ReadPacket(requestBinding, func(yield func(string, string) bool) {
		for name, values := range m.Header {
			for _, v := range values {
				if !yield(name, v) {
					return
				}
			}
		}
	}, m.Data)
}

// requestBinding does not change.
var requestBinding = cloudevents.NATS()
