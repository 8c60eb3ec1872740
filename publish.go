package sixfold

import (
	"context"
	"errors"
	"reflect"
	"time"
)

// NewEnvelope makes the envelope of m: a new id, m's name and key, the producer's clock, the body by c (JSON when
// nil), and what ctx hands on (see Join). Errors say what about m cannot be sent.
func NewEnvelope(ctx context.Context, source string, c Codec, m Message) (*Envelope, error) {
	env := new(Envelope)
	if err := InitEnvelope(ctx, env, source, c, m); err != nil {
		return nil, err
	}
	return env, nil
}

// InitEnvelope is NewEnvelope for an envelope that its owner uses again: whatever env was, it becomes that of m. Its
// headers and body are new.
func InitEnvelope(ctx context.Context, env *Envelope, source string, c Codec, m Message) error {
	if m == nil {
		return invalid("message: it is nil; pass a message value")
	}
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer && v.IsNil() {
		return invalid("message: it is a nil %T; pass a message value", m)
	}
	if c == nil {
		c = JSON
	}
	name := m.MessageName()
	if err := CheckMessageName(name); err != nil {
		return err
	}
	body, err := c.Marshal(m)
	if err != nil {
		return invalid("message %s: it cannot be encoded: %w; change the value, or give the type a form that its codec knows", quote(name), err)
	}
	now := time.Now()
	*env = Envelope{ID: newID(now), Source: source, Type: name, Time: now.UTC().Round(0), ContentType: c.ContentType(), Body: body}
	if k, ok := m.(Keyed); ok {
		env.Key = k.MessageKey()
	}
	Join(ctx, env)
	return nil
}

// CheckEnvelope says everything about env that may not be published. Sizes that only a broker limits are checked
// by its driver. Errors wrap ErrInvalid.
func CheckEnvelope(env *Envelope) error {
	if env == nil {
		return invalid("envelope: it is nil")
	}
	_, iderr := ParseID(env.ID)
	timeerr := errors.Join(checkTime("time", env.Time), checkTime("expiry", env.Expires))
	if iderr == nil && timeerr == nil && plain(env) {
		return nil
	}
	return errors.Join(iderr, timeerr, CheckMessageName(env.Type), checkText("source", env.Source), checkText("subject", env.Subject),
		checkText("key", env.Key), checkText("content type", env.ContentType), checkText("correlation id", env.CorrelationID),
		checkText("causation id", env.CausationID), checkText("reply address", env.ReplyTo),
		checkText("traceparent", env.TraceParent), checkTraceState(env.TraceState), CheckHeaders(env.Headers))
}

// checkTime says why t cannot travel: RFC 3339 has years of four digits only. Zero means not given.
func checkTime(what string, t time.Time) error {
	const end = 253402300800 // of the year 9999, in seconds; looking for the year takes longer
	if s := t.Unix(); !t.IsZero() && (s < 0 || s >= end) {
		return invalid("%s %v: the year is outside 1970 to 9999; check the unit of the duration", what, t)
	}
	return nil
}

// plain is the quick way through CheckEnvelope for nearly all envelopes.
func plain(e *Envelope) bool {
	if len(e.Headers) != 0 || checkTraceState(e.TraceState) != nil || CheckMessageName(e.Type) != nil {
		return false
	}
	for _, s := range [...]string{e.Source, e.Subject, e.Key, e.ContentType, e.CorrelationID, e.CausationID, e.ReplyTo, e.TraceParent} {
		if !isPlain(s) {
			return false
		}
	}
	return true
}

// isPlain reports whether s is short printable ASCII, which no rule about text attributes refuses.
func isPlain(s string) bool {
	if len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
