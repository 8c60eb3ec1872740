package sixfold

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// NewEnvelope makes the envelope of m: a new id, m's name and key, the producer's clock, the body by c (JSON when
// nil), and what ctx hands on (see Join). Errors say what about m cannot be sent.
func NewEnvelope(ctx context.Context, source string, c Codec, m Message) (*Envelope, error) {
	if m == nil {
		return nil, invalid("message: it is nil; pass a message value")
	}
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, invalid("message: it is a nil %T; pass a message value", m)
	}
	if c == nil {
		c = JSON
	}
	name := m.MessageName()
	if err := CheckMessageName(name); err != nil {
		return nil, err
	}
	body, err := c.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("sixfold: encode %s: %w", quote(name), errors.Join(ErrInvalid, err))
	}
	env := &Envelope{ID: NewID(), Source: source, Type: name, Time: time.Now().UTC().Round(0), ContentType: c.ContentType(), Body: body}
	if k, ok := m.(Keyed); ok {
		env.Key = k.MessageKey()
	}
	Join(ctx, env)
	return env, nil
}

// CheckEnvelope says everything about env that may not be published. Sizes that only a broker limits are checked
// by its driver. Errors wrap ErrInvalid.
func CheckEnvelope(env *Envelope) error {
	if env == nil {
		return invalid("envelope: it is nil")
	}
	_, iderr := ParseID(env.ID)
	var exp error
	if y := env.Expires.Year(); !env.Expires.IsZero() && (y < 1970 || y > 9999) {
		exp = invalid("expiry %v: the year is outside 1970 to 9999; check the unit of the duration", env.Expires)
	}
	if iderr == nil && exp == nil && plain(env) {
		return nil
	}
	return errors.Join(iderr, exp, CheckMessageName(env.Type), checkText("source", env.Source), checkText("subject", env.Subject),
		checkText("key", env.Key), checkText("content type", env.ContentType), checkText("correlation id", env.CorrelationID),
		checkText("causation id", env.CausationID), checkText("reply address", env.ReplyTo),
		checkText("traceparent", env.TraceParent), checkTraceState(env.TraceState), CheckHeaders(env.Headers))
}

func checkTraceState(s string) error {
	if len(s) <= 512 { // the least that W3C Trace Context asks everybody to carry
		return nil
	}
	return invalid("tracestate: it has %d bytes, the limit is 512", len(s))
}

// plain is the quick way through CheckEnvelope for nearly all envelopes.
func plain(e *Envelope) bool {
	if len(e.Headers) != 0 || len(e.TraceState) > 512 || CheckMessageName(e.Type) != nil {
		return false
	}
	for _, s := range [...]string{e.Source, e.Subject, e.Key, e.ContentType, e.CorrelationID, e.CausationID, e.ReplyTo, e.TraceParent} {
		if len(s) > MaxName {
			return false
		}
		for i := 0; i < len(s); i++ {
			if s[i] < ' ' || s[i] >= 0x7f {
				return false
			}
		}
	}
	return true
}
