package rabbitmq

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// An encoder makes publishings of envelopes. It reuses what it makes, so one is good until the next.
type encoder struct {
	t       *Transport
	frame   int // bytes of the largest frame
	binding *cloudevents.Binding
	heads   []cloudevents.Header
	table   amqp.Table
	msg     amqp.Publishing
}

func newEncoder(t *Transport, frame int) *encoder {
	if frame <= 0 {
		frame = frameSize
	}
	return &encoder{t: t, frame: frame, binding: cloudevents.AMQP(), table: make(amqp.Table, 24)}
}

// encode checks everything that can be checked before sending: what the node refuses costs the channel, and with it what
// others have in flight. size is that of attributes, headers and body on the wire.
func (e *encoder) encode(ctx context.Context, o *bus.Outgoing) (key string, size int, err error) {
	if o.Envelope == nil {
		return "", 0, fmt.Errorf("%w: there is no envelope; give one", bus.ErrRefused)
	}
	body := len(o.Body)
	for k, v := range o.Headers {
		body += len(k) + len(v)
	}
	if body > e.t.o.MaxBody {
		return "", 0, fmt.Errorf("%w: %d bytes of body and headers, the limit is %d; send less, or raise MaxBody and the node's max_message_size", bus.ErrTooLarge, body, e.t.o.MaxBody)
	}
	if err := e.t.route(ctx, o.Topic); err != nil {
		return "", 0, err
	}
	if e.heads, err = e.binding.AppendHeaders(e.heads[:0], o.Envelope); err != nil {
		return "", 0, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	e.msg = amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: o.ID, CorrelationId: o.CorrelationID, Type: o.Type, Timestamp: o.Time,
		Expiration: expiration(o.Expires), Headers: e.table, Body: o.Body}
	if e.t.o.Priority != nil {
		e.msg.Priority = e.t.o.Priority(o)
	}
	key = o.Type
	if e.t.o.RoutingKey != nil {
		key = e.t.o.RoutingKey(o)
	}
	size, err = e.headers()
	if err == nil {
		err = shorts(&e.msg, key)
	}
	if err != nil {
		return "", 0, err
	}
	return key, size + len(o.Body), nil
}

// headers fills the table and answers the size of the frame with the attributes.
func (e *encoder) headers() (size int, err error) {
	const each, fixed = 1 + 1 + 4, 512 // of a field; of frame and properties that are bounded one by one
	clear(e.table)
	size = fixed + len(e.msg.MessageId) + len(e.msg.CorrelationId) + len(e.msg.Type)
	for _, h := range e.heads {
		switch {
		case h.Name == "content-type" && len(h.Value) <= maxShort:
			e.msg.ContentType = h.Value
			continue
		case h.Name == "CC" || h.Name == "BCC":
			return 0, fmt.Errorf("%w: header %s: RabbitMQ takes it for more routing keys; choose another name", bus.ErrRefused, driver.Quote(h.Name))
		case len(h.Name) > maxShort:
			return 0, fmt.Errorf("%w: header %s: its name has %d bytes, the limit is %d; shorten it", bus.ErrRefused, driver.Quote(h.Name), len(h.Name), maxShort)
		}
		e.table[h.Name] = h.Value
		size += each + len(h.Name) + len(h.Value)
	}
	if size > e.frame {
		return 0, fmt.Errorf("%w: %d bytes of attributes and headers, the limit is one frame of %d; send less, or put them into the body", bus.ErrTooLarge, size, e.frame)
	}
	return size, nil
}

// shorts refuses what does not fit into AMQP's short strings: the client would cut it, and spoil what follows.
func shorts(m *amqp.Publishing, key string) error {
	for _, f := range [...]struct{ name, s string }{{"routing key", key}, {"id", m.MessageId}, {"correlation id", m.CorrelationId}, {"type", m.Type}} {
		if len(f.s) > maxShort {
			return fmt.Errorf("%w: %s %s: it has %d bytes, the limit is %d; shorten it", bus.ErrRefused, f.name, driver.Quote(f.s), len(f.s), maxShort)
		}
	}
	return nil
}

// expiration lets the node drop what nobody may handle any more. RabbitMQ refuses more than 2³²−1 ms, of which nothing is said then.
func expiration(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	left := max(time.Until(at).Milliseconds(), 0)
	if left >= 1<<32 {
		return ""
	}
	return strconv.FormatInt(left, 10)
}

// decode reads a delivery: binary or structured mode of the AMQP binding.
func decode(binding *cloudevents.Binding, d *amqp.Delivery, env *sixfold.Envelope) error {
	return binding.Read(env, headersOf(d), d.Body)
}

// headersOf are the headers of a delivery that are texts, or can be read as one, with the content type. Tables and arrays are
// RabbitMQ's own.
func headersOf(d *amqp.Delivery) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if d.ContentType != "" && !yield("content-type", d.ContentType) {
			return
		}
		for k, v := range d.Headers {
			s, ok := v.(string)
			if !ok {
				s, ok = native(k, v)
			}
			if !ok || brokers(k) || d.ContentType != "" && k == "content-type" {
				continue
			}
			if !yield(k, s) {
				return
			}
		}
	}
}

// native is the text of an attribute that came as a number, a boolean or a time, which AMQP Protocol Binding 1.0.2, section 3.1.3, allows. A
// number as a time is milliseconds since 1970. Other headers with such values are RabbitMQ's own, or of no concern.
func native(name string, v any) (string, bool) {
	i := strings.IndexAny(name, ":_-") // of "cloudEvents:", "cloudEvents_" and "ce-"
	if i < 0 || !sixfold.IsReservedHeader(name) {
		return "", false
	}
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	}
	n := reflect.ValueOf(v)
	switch {
	case n.CanInt():
		if at := name[i+1:]; at == "time" || at == "expirytime" {
			return time.UnixMilli(n.Int()).UTC().Format(time.RFC3339Nano), true
		}
		return strconv.FormatInt(n.Int(), 10), true
	case n.CanUint():
		return strconv.FormatUint(n.Uint(), 10), true
	}
	return "", false
}

// brokers reports whether a header that is a text is RabbitMQ's own.
func brokers(name string) bool {
	switch name {
	case "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason":
		return true
	}
	return false
}
