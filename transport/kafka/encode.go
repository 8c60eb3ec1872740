package kafka

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// An encoder makes records of envelopes. It reuses what it makes, so one is good until the next.
type encoder struct {
	binding *cloudevents.Binding
	heads   []cloudevents.Header
	out     []byte
}

// encode answers what follows a record's offset and time in the format of version 2 of Kafka's messages: key, value and
// headers. The binding is the Kafka Protocol Binding of CloudEvents 1.0.2, in binary mode.
func (e *encoder) encode(o *bus.Outgoing) (rest []byte, err error) {
	if e.heads, err = e.binding.AppendHeaders(e.heads[:0], o.Envelope); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	b := e.out[:0]
	if o.Key == "" {
		b = kbin.AppendVarint(b, -1)
	} else {
		b = kbin.AppendVarint(b, int32(len(o.Key)))
		b = append(b, o.Key...)
	}
	if o.Body == nil {
		b = kbin.AppendVarint(b, -1)
	} else {
		b = kbin.AppendVarint(b, int32(len(o.Body)))
		b = append(b, o.Body...)
	}
	b = kbin.AppendVarint(b, int32(len(e.heads)))
	for _, h := range e.heads {
		b = kbin.AppendVarint(b, int32(len(h.Name)))
		b = append(b, h.Name...)
		b = kbin.AppendVarint(b, int32(len(h.Value)))
		b = append(b, h.Value...)
	}
	e.out = b
	return b, nil
}

// decode reads a record: binary or structured mode. The key of the record is the message's where no attribute says one.
func decode(binding *cloudevents.Binding, r *kgo.Record, env *sixfold.Envelope) error {
	var all strings.Builder // the values become one piece of memory
	size := 0
	for _, h := range r.Headers {
		size += len(h.Value)
	}
	all.Grow(size)
	for _, h := range r.Headers {
		all.Write(h.Value)
	}
	values := all.String()
	err := binding.Read(env, func(yield func(string, string) bool) {
		at := 0
		for _, h := range r.Headers {
			to := at + len(h.Value)
			if !yield(h.Key, values[at:to]) {
				return
			}
			at = to
		}
	}, r.Value)
	if env.Key == "" && len(r.Key) > 0 && len(r.Key) <= sixfold.MaxName && utf8.Valid(r.Key) {
		env.Key = string(r.Key)
	}
	return err
}
