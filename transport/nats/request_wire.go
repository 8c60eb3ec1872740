package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/wire"
)

// requestWire is the connection of a port or an ear. When the network stands still the client's publish does so too, for
// writeLimit, with a lock that all others need: who has not that much time sends through a goroutine, for which it waits with its context. So does
// who is in a crowd: the client writes as soon as somebody has published, which is often before those who are about to have.
type requestWire struct {
	*wire.Line[*outgoing]
	queued atomic.Int64 // handed over and not sent
	crowd  wire.Crowd
	l      *RequestLane
	nc     *natsgo.Conn
	most   int // bytes of a message that the server takes, as it said first
	subs   []*requestSub
}

// writeLimit is how long one write to the network may stand still before the connection is given up.
const writeLimit = time.Second

// outgoing is a message on its way to the connection. They are used again.
type outgoing struct {
	until time.Time // not sent later; zero: no limit
	msg   natsgo.Msg
	frame []byte
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

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
	w.most = int(w.nc.MaxPayload())
	go w.Write(w.together)
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

// send encodes p, as a frame or with headers, and hands it to the connection, or to the goroutine that does.
func (w *requestWire) send(ctx context.Context, subject, reply string, p *request.Packet, framed bool) error {
	o := outgoings.Get().(*outgoing)
	o.msg.Subject, o.msg.Reply = subject, reply
	if err := o.encode(p, framed); err != nil {
		o.spent()
		return err
	}
	if err := w.Check(); err != nil {
		o.spent()
		return err
	}
	until, bounded := ctx.Deadline()
	o.until = until
	now := time.Now()
	patient := !bounded || until.Sub(now) > 2*writeLimit        // there is time for a write that stands still
	if patient && !w.crowd.Comes(now) && w.queued.Load() == 0 { // what one goroutine sends keeps its order
		err := w.nc.PublishMsg(&o.msg)
		if errors.Is(err, natsgo.ErrMaxPayload) { // which the client looks at with its lock held, so that nobody needs that twice
			err = w.tooLarge(o)
		} else if err != nil {
			w.unsent(err)
			err = nil
		}
		o.spent()
		return err
	}
	if o.size() > w.most && int64(o.size()) > w.nc.MaxPayload() {
		err := w.tooLarge(o)
		o.spent()
		return err
	}
	w.queued.Add(1)
	err := w.Send(ctx, o)
	if err != nil {
		w.queued.Add(-1)
	}
	return err
}

func (w *requestWire) tooLarge(o *outgoing) error {
	return fmt.Errorf("nats: %w: %d bytes with its attributes, the server's limit is %d; send less, or raise max_payload", bus.ErrTooLarge, o.size(), w.nc.MaxPayload())
}

// unsent takes a failure of the connection, which ends with it.
func (w *requestWire) unsent(err error) {
	if !errors.Is(err, natsgo.ErrConnectionClosed) {
		w.l.t.o.Logger.Warn("nats: a request or a reply could not be sent", "err", err)
	}
}

var errWireGone = fmt.Errorf("nats: %w: the connection was lost or closed", bus.ErrUnavailable)

// encode fills in the data, and the header where it is no frame.
func (o *outgoing) encode(p *request.Packet, framed bool) (err error) {
	if framed && len(p.Envelope.Body) <= request.MaxFramed {
		if o.frame, err = p.AppendFrame(o.frame[:0]); err != nil {
			return fmt.Errorf("nats: %w: %w", bus.ErrRefused, err)
		}
		o.msg.Data = o.frame
		return nil
	}
	heads, err := p.AppendHeaders(nil, requestBinding)
	if err != nil {
		return fmt.Errorf("nats: %w: %w", bus.ErrRefused, err)
	}
	o.msg.Header = make(natsgo.Header, len(heads))
	for _, h := range heads {
		o.msg.Header[h.Name] = []string{h.Value}
	}
	o.msg.Data = p.Envelope.Body
	return nil
}

// size is what the server bounds.
func (o *outgoing) size() int {
	size := len(o.msg.Data)
	if len(o.msg.Header) > 0 {
		size += len("NATS/1.0\r\n\r\n")
		for name, values := range o.msg.Header {
			size += len(name) + len(values[0]) + len(": \r\n")
		}
	}
	return size
}

// spent gives o back.
func (o *outgoing) spent() {
	o.msg.Header, o.msg.Data = nil, nil
	outgoings.Put(o)
}

// together sends what was handed over: o, and all that waits behind it. In a crowd the others come first, with what they are about to send.
func (w *requestWire) together(o *outgoing) {
	w.crowd.Wait()
	n := 0
	for ok := true; ok; o, ok = w.Next() {
		w.publish(o)
		n++
	}
	w.crowd.Sent(n)
}

// publish sends one message unless it is too late.
func (w *requestWire) publish(o *outgoing) {
	if o.until.IsZero() || time.Now().Before(o.until) {
		if err := w.nc.PublishMsg(&o.msg); err != nil {
			w.unsent(err)
		}
	}
	o.spent()
	w.queued.Add(-1)
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

// readRequest makes the packet of a message: a frame, unless it has the protocol's headers. Others may have any, which a server adds where a message
// passes from an account to another.
func readRequest(m *natsgo.Msg) *request.Packet {
	if request.IsFrame(m.Data) && len(m.Header[request.HeaderProtocol]) == 0 {
		return request.ReadFrame(m.Data)
	}
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
