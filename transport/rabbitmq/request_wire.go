package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/wire"
)

// requestWire is the channel of a port or an ear. What it sends goes through one goroutine, since the client's publish
// knows no context and stands still when the network or the node does.
type requestWire struct {
	*wire.Line[*outgoing]
	l     *RequestLane
	link  *link
	ch    *amqp.Channel
	frame int
	wg    sync.WaitGroup // what takes what comes
}

// outgoing is a message on its way to the channel. They are used again.
type outgoing struct {
	until         time.Time // not sent later; zero: no limit
	exchange, key string
	mandatory     bool
	msg           amqp.Publishing
	table         amqp.Table
	heads         []cloudevents.Header
}

var outgoings = sync.Pool{New: func() any { return &outgoing{table: make(amqp.Table, 24)} }}

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
	go w.Write(w.publish)
	return nil
}

var errWireGone = fmt.Errorf("rabbitmq: %w: the connection was lost or closed", bus.ErrUnavailable)

// send encodes p and hands it to the goroutine that sends.
func (w *requestWire) send(ctx context.Context, exchange, key, replyTo string, mandatory bool, p *request.Packet) error {
	o := outgoings.Get().(*outgoing)
	if err := o.encode(w, p); err != nil {
		outgoings.Put(o)
		return err
	}
	o.exchange, o.key, o.mandatory, o.msg.ReplyTo = exchange, key, mandatory, replyTo
	o.until, _ = ctx.Deadline()
	return w.Send(ctx, o)
}

// encode checks what would cost the channel if the node refused it.
func (o *outgoing) encode(w *requestWire, p *request.Packet) (err error) {
	if n := len(p.Envelope.Body); n > w.l.t.o.MaxBody {
		return fmt.Errorf("rabbitmq: %w: %d bytes of body, the limit is %d; send less, or raise MaxBody and the node's max_message_size", bus.ErrTooLarge, n, w.l.t.o.MaxBody)
	}
	if o.heads, err = p.AppendHeaders(o.heads[:0], requestBinding); err != nil {
		return fmt.Errorf("rabbitmq: %w: %w", bus.ErrRefused, err)
	}
	o.msg = amqp.Publishing{DeliveryMode: amqp.Transient, Headers: o.table, Body: p.Envelope.Body}
	e := encoder{heads: o.heads, table: o.table, msg: o.msg, frame: w.frame}
	if _, err := e.headers(); err != nil {
		return fmt.Errorf("rabbitmq: %w", err)
	}
	o.msg = e.msg
	if p.Status == "" && len(p.Request) <= maxShort {
		o.msg.MessageId = p.Request // by which a return says what it returns
		o.msg.Expiration = expiry(p.Timeout)
	}
	return nil
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

// publish sends one message unless it is too late. A failure is that of the channel, which ends with it.
func (w *requestWire) publish(o *outgoing) {
	if o.until.IsZero() || time.Now().Before(o.until) {
		if err := w.ch.PublishWithContext(context.Background(), o.exchange, o.key, o.mandatory, false, o.msg); err != nil && !errors.Is(err, amqp.ErrClosed) {
			w.l.t.o.Logger.Warn("rabbitmq: a request or a reply could not be sent", "err", err)
		}
	}
	o.msg.Body = nil
	outgoings.Put(o)
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

// read makes the packet of a delivery.
func read(d *amqp.Delivery) *request.Packet {
	return request.ReadPacket(requestBinding, headersOf(d), d.Body)
}
