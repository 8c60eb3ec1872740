package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/request"
)

// RequestLaneOptions are optional; nil and the zero value mean the defaults.
type RequestLaneOptions struct {
	// Prefix of names: requests go to the queue <Prefix>.request.<destination>, cancellations, credit and what all shall get through
	// the exchange <Prefix>.cancel. Empty: "sixfold".
	Prefix string
}

// RequestLane carries requests and replies over queues of a RabbitMQ node, replies directly to the channel that asked
// (direct reply-to). It is safe for concurrent use.
//
// The queue of a destination lives as long as somebody listens there, and messages are transient and are not acknowledged: a request
// runs once or not at all, and one whose deadline passes in the queue is dropped by the node. Each port and each ear has a
// connection of its own, or a channel on the user's.
type RequestLane struct {
	t      *Transport
	prefix string
}

var _ request.Lane = (*RequestLane)(nil)

// RequestLane makes a lane on the transport's nodes, with its credentials. It does not connect, and has nothing to close:
// ports and ears are closed by who opened them.
func (t *Transport) RequestLane(opts *RequestLaneOptions) (*RequestLane, error) {
	l := &RequestLane{t: t, prefix: "sixfold"}
	if opts != nil && opts.Prefix != "" {
		l.prefix = opts.Prefix
	}
	if err := checkTopic(l.prefix); err != nil || len(l.prefix) > 64 {
		return nil, fmt.Errorf("rabbitmq: option Prefix: %w: it is %s; give a name like \"sixfold\", of 64 bytes at most", sixfold.ErrInvalid, driver.Quote(l.prefix))
	}
	return l, nil
}

// Capabilities implements request.Lane. Direct reply-to does not say whether a caller is still there.
func (l *RequestLane) Capabilities() request.Capabilities {
	return request.Capabilities{Name: "rabbitmq", DetectsLoss: true, DetectsNoResponder: true, Cancels: true, Streams: true, Scatters: true, MaxBody: l.t.o.MaxBody}
}

// Check implements request.Lane.
func (l *RequestLane) Check(destination string) error {
	if err := checkTopic(destination); err != nil {
		return err
	}
	if n := len(l.queue(destination)); n > maxShort {
		return fmt.Errorf("destination %s: %w: its queue's name would have %d bytes, the limit is %d; shorten it", driver.Quote(destination), sixfold.ErrInvalid, n, maxShort)
	}
	return nil
}

func (l *RequestLane) queue(destination string) string { return l.prefix + ".request." + destination }
func (l *RequestLane) cancels() string                 { return l.prefix + ".cancel" }

// Open implements request.Lane.
func (l *RequestLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	p := &requestPort{newRequestWire(l)}
	err := p.begin(ctx, "caller", in.Lost, func() error {
		if err := p.ch.ExchangeDeclare(l.cancels(), amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
			return err
		}
		returns := p.ch.NotifyReturn(make(chan amqp.Return, 64))
		p.wg.Go(func() {
			for r := range returns {
				p.HandOver(func() { in.Undeliverable(r.MessageId) })
			}
		})
		replies, err := p.ch.Consume(directReplyTo, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		p.wg.Go(func() {
			for d := range replies {
				p.HandOver(func() { in.Take(read(&d)) })
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// requestPort is a caller.
type requestPort struct{ *requestWire }

// Ask implements request.Port. What is not written by ctx's deadline is not sent.
func (p *requestPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	if packet.ToAll() {
		cancels := strings.HasPrefix(packet.Protocol, request.KindCancel+"/") // which nobody misses
		return p.send(ctx, p.l.cancels(), to, directReplyTo, !cancels, packet, true)
	}
	return p.send(ctx, "", p.l.queue(to), directReplyTo, true, packet, true)
}

// requestEar is a responder.
type requestEar struct {
	*requestWire
	form replyForm      // of the node's addresses
	tags []string       // of the consumers of requests
	asks sync.WaitGroup // what takes their deliveries
}

// Listen implements request.Lane.
func (l *RequestLane) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	e := &requestEar{requestWire: newRequestWire(l)}
	err := e.begin(ctx, "responder", in.Lost, func() error {
		if err := e.ch.ExchangeDeclare(l.cancels(), amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
			return err
		}
		if err := e.sample(); err != nil {
			return err
		}
		own, err := e.ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			return err
		}
		for _, d := range destinations {
			if err := e.ch.QueueBind(own.Name, d, l.cancels(), false, nil); err != nil {
				return err
			}
		}
		// Cancellations come before the requests that they could be about.
		if err := e.consume(own.Name, "cancels", "", &e.wg, in); err != nil {
			return err
		}
		for i, d := range destinations {
			q, err := e.ch.QueueDeclare(l.queue(d), true, true, false, false, amqp.Table{"x-queue-type": "classic"})
			if err != nil {
				return err
			}
			tag := fmt.Sprint("requests-", i)
			if err := e.consume(q.Name, tag, d, &e.asks, in); err != nil {
				return err
			}
			e.tags = append(e.tags, tag)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// consume takes what comes to a queue. The destination of a cancellation is its routing key.
func (e *requestEar) consume(queue, tag, destination string, wg *sync.WaitGroup, in request.Requests) error {
	deliveries, err := e.ch.Consume(queue, tag, true, false, false, false, nil)
	if err != nil {
		return err
	}
	wg.Go(func() {
		for d := range deliveries {
			p := read(&d)
			p.ReplyTo = e.form.address(d.ReplyTo)
			to := destination
			if to == "" {
				to = d.RoutingKey
			}
			e.HandOver(func() { in.Take(to, p) })
		}
	})
	return nil
}

// Answer implements request.Ear. The answer has the form of what was asked, unless it is large.
func (e *requestEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if asked.ReplyTo == "" {
		return fmt.Errorf("rabbitmq: answer: %w: the request has no address for answers", bus.ErrRefused)
	}
	return e.send(ctx, "", asked.ReplyTo, "", false, reply, asked.Framed)
}

// StopListening implements request.Ear.
func (e *requestEar) StopListening(ctx context.Context) error {
	for _, tag := range e.tags {
		if err := e.link.asking(ctx, func() error { return e.ch.Cancel(tag, false) }); err != nil && !errors.Is(err, amqp.ErrClosed) {
			return fmt.Errorf("rabbitmq: %w", classify(err))
		}
	}
	return within(ctx, e.asks.Wait)
}

// Close implements request.Ear.
func (e *requestEar) Close(ctx context.Context) error {
	return errors.Join(e.requestWire.Close(ctx), within(ctx, e.asks.Wait))
}
