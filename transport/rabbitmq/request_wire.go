package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/wire"
)

// requestWire is the channel of a port or an ear. The client's publish knows no context, and stands still when the network or the node does:
// on a connection of our own for writeLimit, after which that is given up. Who has time for it, finds nobody else sending and
// is in no crowd sends itself. The others hand over to one goroutine, which sends what has gathered in one write.
type requestWire struct {
	*wire.Line[*outgoing]
	sending sync.Mutex   // held while something is sent
	queued  atomic.Int64 // handed over and not sent
	crowd   wire.Crowd
	l       *RequestLane
	link    *link
	ch      *amqp.Channel
	frame   int
	wg      sync.WaitGroup // what takes what comes
}

// outgoing is a message on its way to the channel. They are used again.
type outgoing struct {
	until         time.Time // not sent later; zero: no limit
	exchange, key string
	mandatory     bool
	msg           amqp.Publishing
	frame         []byte
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// requestBinding does not change.
var requestBinding = cloudevents.AMQP()

func newRequestWire(l *RequestLane) *requestWire {
	return &requestWire{Line: wire.New[*outgoing](256, errWireGone), l: l}
}

// begin dials, runs declare on a channel, and lets the sending begin. lost is told when the channel ends before Close.
func (w *requestWire) begin(ctx context.Context, role string, lost func(error), declare func() error) (err error) {
	if err := w.l.t.usable(ctx); err != nil {
		return fmt.Errorf("rabbitmq: %w", err)
	}
	if w.link, err = w.l.t.link(ctx, role); err != nil {
		return fmt.Errorf("rabbitmq: %w", classify(err))
	}
	if w.frame = w.link.conn.Config.FrameSize; w.frame <= 0 {
		w.frame = frameSize
	}
	err = w.link.asking(ctx, func() error {
		if w.ch, err = w.link.conn.Channel(); err != nil {
			return err
		}
		return declare()
	})
	if err != nil {
		w.hangUp(context.Background(), false)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("rabbitmq: %w", classify(err))
	}
	closes := w.ch.NotifyClose(make(chan *amqp.Error, 1))
	cancels := w.ch.NotifyCancel(make(chan string, 64))
	w.wg.Go(func() {
		var why error = errors.New("the channel was closed")
		select {
		case e := <-closes:
			if e != nil {
				why = e
			}
		case _, ok := <-cancels:
			if ok {
				why = errors.New("a queue was deleted, or moved")
			}
		}
		w.Lose()
		w.HandOver(func() { lost(fmt.Errorf("rabbitmq: %w", classify(why))) })
	})
	if w.link.sock != nil {
		w.link.sock.bound(writeLimit)
	}
	go w.Write(w.gathered)
	return nil
}

// writeLimit is how long one write to the network may stand still before the connection is given up.
const writeLimit = time.Second

var errWireGone = fmt.Errorf("rabbitmq: %w: the connection was lost or closed", bus.ErrUnavailable)

// send encodes p, as a frame or with headers, and sends it or hands it to the goroutine that sends.
func (w *requestWire) send(ctx context.Context, exchange, key, replyTo string, mandatory bool, p *request.Packet, framed bool) error {
	o := outgoings.Get().(*outgoing)
	if err := o.encode(w, p, framed); err != nil {
		o.spent()
		return err
	}
	o.exchange, o.key, o.mandatory, o.msg.ReplyTo = exchange, key, mandatory, replyTo
	if err := w.Check(); err != nil {
		o.spent()
		return err
	}
	until, bounded := ctx.Deadline()
	o.until = until
	now := time.Now()
	if w.link.sock != nil && (!bounded || until.Sub(now) > 2*writeLimit) && !w.crowd.Comes(now) && w.sending.TryLock() {
		direct := w.queued.Load() == 0 // what one goroutine sends keeps its order
		if direct {
			w.publish(o)
		}
		w.sending.Unlock()
		if direct {
			return nil
		}
	}
	w.queued.Add(1)
	err := w.Send(ctx, o)
	if err != nil {
		w.queued.Add(-1)
	}
	return err
}

// encode checks what would cost the channel if the node refused it.
func (o *outgoing) encode(w *requestWire, p *request.Packet, framed bool) (err error) {
	most := w.l.t.o.MaxBody
	if n := len(p.Envelope.Body); n > most {
		return fmt.Errorf("rabbitmq: %w: %d bytes of body, the limit is %d; send less, or raise MaxBody and the node's max_message_size", bus.ErrTooLarge, n, most)
	}
	o.msg = amqp.Publishing{DeliveryMode: amqp.Transient}
	if framed = framed && len(p.Envelope.Body) <= request.MaxFramed; framed {
		if o.frame, err = p.AppendFrame(o.frame[:0]); err != nil {
			return fmt.Errorf("rabbitmq: %w: %w", bus.ErrRefused, err)
		}
		framed = len(o.frame) <= most
	}
	if framed {
		o.msg.Body = o.frame
	} else if err := o.headers(w, p); err != nil {
		return err
	}
	if p.Status == "" && len(p.Request) <= maxShort {
		o.msg.MessageId = p.Request // by which a return says what it returns
		o.msg.Expiration = expiry(p.Timeout)
	}
	return nil
}

// headers fills in a table of headers, and the body.
func (o *outgoing) headers(w *requestWire, p *request.Packet) error {
	heads, err := p.AppendHeaders(nil, requestBinding)
	if err != nil {
		return fmt.Errorf("rabbitmq: %w: %w", bus.ErrRefused, err)
	}
	o.msg.Headers, o.msg.Body = make(amqp.Table, len(heads)), p.Envelope.Body
	e := encoder{heads: heads, table: o.msg.Headers, msg: o.msg, frame: w.frame}
	if _, err := e.headers(); err != nil {
		return fmt.Errorf("rabbitmq: %w", err)
	}
	o.msg = e.msg
	return nil
}

// spent gives o back.
func (o *outgoing) spent() {
	o.msg = amqp.Publishing{}
	outgoings.Put(o)
}

// expiry is the time after which the node drops a request that nobody has taken: what was left of its deadline.
func expiry(timeout string) string {
	if len(timeout) > 9 || timeout == "" || timeout[0] == '0' {
		return ""
	}
	for i := range len(timeout) {
		if timeout[i] < '0' || timeout[i] > '9' {
			return ""
		}
	}
	return timeout
}

// gathered sends what was handed over: o, and all that waits behind it, in one write.
func (w *requestWire) gathered(o *outgoing) {
	const most = 64 // so that a write is not held up for long
	w.crowd.Wait()
	w.sending.Lock()
	defer w.sending.Unlock()
	if w.link.sock != nil {
		w.link.sock.hold()
		defer w.link.sock.release()
	}
	for n := 1; ; n++ {
		w.publish(o)
		w.queued.Add(-1)
		if n == most {
			w.crowd.Sent(n)
			return
		}
		next, ok := w.Next()
		if !ok {
			w.crowd.Sent(n)
			return
		}
		o = next
	}
}

// publish sends one message unless it is too late. A failure is that of the channel, which ends with it.
func (w *requestWire) publish(o *outgoing) {
	if o.until.IsZero() || time.Now().Before(o.until) {
		if err := w.ch.PublishWithContext(context.Background(), o.exchange, o.key, o.mandatory, false, o.msg); err != nil && !errors.Is(err, amqp.ErrClosed) {
			w.l.t.o.Logger.Warn("rabbitmq: a request or a reply could not be sent", "err", err)
		}
	}
	o.spent()
}

// Close implements request.Port.
func (w *requestWire) Close(ctx context.Context) error {
	first := w.End()
	err := within(ctx, func() { <-w.Written() }) // what was handed over goes out
	if first {
		w.hangUp(ctx, true)
	}
	return errors.Join(err, within(ctx, w.wg.Wait))
}

// hangUp ends the channel, and the connection if it is ours: in order as long as ctx lasts, or at once.
func (w *requestWire) hangUp(ctx context.Context, inOrder bool) {
	switch {
	case w.link.raw == nil:
		if w.ch != nil {
			w.ch.Close()
		}
	case inOrder && ctx.Err() == nil:
		w.link.close(ctx)
	default:
		w.link.abort()
	}
}

// within waits for f as long as ctx lasts.
func within(ctx context.Context, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read makes the packet of a delivery: a frame, unless it has the protocol's headers.
func read(d *amqp.Delivery) *request.Packet {
	if request.IsFrame(d.Body) && d.Headers[request.HeaderProtocol] == nil {
		return request.ReadFrame(d.Body)
	}
	return request.ReadPacket(requestBinding, headersOf(d), d.Body)
}
