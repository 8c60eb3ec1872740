package sixfold

import (
	"fmt"
	"log/slog"
	"time"
)

// An Envelope is a message on its way: its attributes and its body, as bytes that nothing between the producer
// and the handler changes. The attributes are those of CloudEvents 1.0; package cloudevents has the mapping.
//
// An envelope belongs to whoever made it until it is handed over (published, sent, passed to a handler); after
// that nobody may change it. Printing one shows the length of its body, never a byte of it. Package fmt calls
// no methods on unexported fields, though: a type that keeps an envelope in one needs a String method of its own.
type Envelope struct {
	// ID is unique for its Source. Those made here are UUIDs of version 7; from the wire, any string up to 255 bytes.
	ID string
	// Source names the producer: a URI reference, often the service's name.
	Source string
	// Type is the message's wire name.
	Type string
	// Subject says what the message is about, in the producer's terms. Optional.
	Subject string
	// Key keeps messages in order: those with the same key arrive in the order of their publishing. Optional.
	Key string
	// Time is the producer's clock at publishing, in UTC.
	Time time.Time
	// ContentType says how Body is encoded ("application/json").
	ContentType string
	// CorrelationID is shared by everything that came of one first message.
	CorrelationID string
	// CausationID is the ID of the message whose handler published this one.
	CausationID string
	// TraceParent and TraceState are the W3C trace context of the publisher.
	TraceParent, TraceState string
	// Expires is the instant after which no handler should run any more. Zero: never.
	Expires time.Time
	// ReplyTo says where an answer is expected. It is a hint from the sender and grants nothing.
	ReplyTo string
	// Sequence orders the envelopes of one outbox partition ("<partition>/<seq>"); the relay sets it, and a driver
	// can restore order with it after a redelivery.
	Sequence string
	// Headers are the user's own. Nil when there are none.
	Headers map[string]string
	// Body is the payload. Nil (no payload) and empty are different and both legal.
	Body []byte

	local Local
}

// Issuer is the owner of the key that the envelope was signed with, where whoever received it has verified that; else it is
// empty. Unlike Source it is nothing that the message claims.
func (e *Envelope) Issuer() string {
	if e != nil {
		if i, ok := e.local.(issued); ok {
			return i.owner
		}
	}
	return ""
}

// SetIssuer says who signed the envelope. It is meant for what verifies signatures, and never comes from the wire.
func (e *Envelope) SetIssuer(owner string) {
	l := e.local
	if i, ok := l.(issued); ok {
		l = i.local
	}
	if owner != "" { // else it costs nothing
		l = issued{l, owner}
	}
	e.local = l
}

// issued is what an envelope carries, and who signed it. Both are rare, and a call of a mediator allocates every field that an
// envelope has.
type issued struct {
	local Local // nil: nothing
	owner string
}

func (i issued) Message() any {
	if i.local == nil {
		return nil
	}
	return i.local.Message()
}

// Local is a message that travels as the value that it is, without bytes: a mediator's call.
type Local interface {
	// Message is the value.
	Message() any
}

// Carry makes the envelope carry a value in place of a body. It is meant for packages that hand messages on within the
// process.
func (e *Envelope) Carry(l Local) {
	if i, ok := e.local.(issued); ok {
		l = issued{l, i.owner}
	}
	e.local = l
}

// Message is the value itself where the envelope never left the process (in a mediator), else nil.
func (e *Envelope) Message() any {
	if e == nil || e.local == nil {
		return nil
	}
	return e.local.Message()
}

// String describes the envelope without its body and its headers' values.
func (e *Envelope) String() string {
	if e == nil {
		return "<nil envelope>"
	}
	return fmt.Sprintf("%s id=%s key=%s body=%d bytes", quote(e.Type), quote(e.ID), quote(e.Key), len(e.Body))
}

// GoString is String, so that %#v shows no body either.
func (e *Envelope) GoString() string { return e.String() }

// Format prints String for every verb, so that no verb shows a body, also not for an Envelope value's fields.
func (e Envelope) Format(f fmt.State, _ rune) { fmt.Fprint(f, (&e).String()) }

// LogValue implements slog.LogValuer: id, type, key and the body's length.
func (e *Envelope) LogValue() slog.Value {
	if e == nil {
		return slog.StringValue("<nil envelope>")
	}
	return slog.GroupValue(slog.String("id", e.ID), slog.String("type", e.Type), slog.String("key", e.Key),
		slog.Int("body_bytes", len(e.Body)))
}

// MarshalJSON refuses, so that neither a log in JSON shows a body nor a second form of the wire comes into being.
func (e Envelope) MarshalJSON() ([]byte, error) {
	return nil, invalid("envelope %s: it has no JSON form of its own; encode it with package cloudevents", quote(e.ID))
}

// UnmarshalJSON refuses, as MarshalJSON does.
func (e *Envelope) UnmarshalJSON([]byte) error {
	return invalid("envelope: it has no JSON form of its own; decode it with package cloudevents")
}
