package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/internal/signed"
)

// An encoder makes messages of envelopes. It reuses what it makes, so a message is good until the next one.
type encoder struct {
	t        *Transport
	payload  int // the server's limit
	binding  *cloudevents.Binding
	heads    []cloudevents.Header
	header   natsgo.Header
	values   []string // what the header's slices share
	msg      natsgo.Msg
	turn     int // lane of the next message without a key
	origin   origin
	dedups   bool
	maxBody  int
	prefixes bool // streams have to keep them
}

// origin is the part of a dedup id that messages share.
type origin struct {
	source, topic string
	text          string
}

func newEncoder(t *Transport, payload int) *encoder {
	return &encoder{t: t, payload: payload, binding: cloudevents.NATS(), header: make(natsgo.Header, 16), values: make([]string, 0, 32),
		dedups: !t.o.NoDedup, maxBody: t.o.MaxBody, prefixes: !t.o.OnePerKey}
}

// encode checks everything that can be checked before sending: what is only refused by the server has others behind it
// already. size is that of headers and body on the wire.
func (e *encoder) encode(ctx context.Context, o *bus.Outgoing) (m *natsgo.Msg, r *route, size int, err error) {
	if o.Envelope == nil {
		return nil, nil, 0, fmt.Errorf("%w: there is no envelope; give one", bus.ErrRefused)
	}
	body := len(o.Body)
	for k, v := range o.Headers {
		body += len(k) + len(v)
	}
	if body > e.maxBody {
		return nil, nil, 0, fmt.Errorf("%w: %d bytes of body and headers, the limit is %d; send less, or raise MaxBody", bus.ErrTooLarge, body, e.maxBody)
	}
	if r, err = e.t.route(ctx, o.Topic); err != nil {
		return nil, nil, 0, err
	}
	if r.unsafe != "" && e.prefixes {
		return nil, nil, 0, fmt.Errorf("%w: stream %s can refuse a message and take the next one of its key (%s); set Options.OnePerKey, or change the stream", bus.ErrRefused, r.stream, r.unsafe)
	}
	if e.heads, err = e.binding.AppendHeaders(e.heads[:0], o.Envelope); err != nil {
		return nil, nil, 0, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	if e.dedups {
		if id := e.dedupID(r, o); id != "" {
			e.heads = append(e.heads, cloudevents.Header{Name: jetstream.MsgIDHeader, Value: id})
		}
	}
	const line, each = len("NATS/1.0\r\n\r\n"), len(": \r\n")
	size = line + len(o.Body)
	clear(e.header)
	e.values = e.values[:0]
	for _, h := range e.heads {
		e.values = append(e.values, h.Value)
		size += len(h.Name) + len(h.Value) + each
	}
	for i, h := range e.heads {
		e.header[h.Name] = e.values[i : i+1 : i+1]
	}
	limit := e.payload
	if r.maxMsg > 0 {
		limit = min(limit, r.maxMsg)
	}
	if size > limit {
		return nil, nil, 0, fmt.Errorf("%w: %d bytes with its attributes, the limit of server and stream is %d; send less, or raise max_payload", bus.ErrTooLarge, size, limit)
	}
	e.msg = natsgo.Msg{Subject: r.subjects[e.lane(r, o.Key)], Header: e.header, Data: o.Body}
	return &e.msg, r, size, nil
}

func (e *encoder) lane(r *route, key string) int {
	if key == "" {
		e.turn = (e.turn + 1) % len(r.subjects)
		return e.turn
	}
	return int(hashKey(key) % uint32(len(r.subjects)))
}

// dedupID names a message within its stream: ids are unique for a source only, and a stream may have several topics.
// Dead letters have none: two groups that give one message up both mean it. A message that was redriven to its topic bears
// its old id and would be dropped inside the window, so its redrive epoch is part of the name; so is a mark of its signature.
func (e *encoder) dedupID(r *route, o *bus.Outgoing) string {
	if strings.HasSuffix(o.Topic, bus.DeadSuffix) {
		return ""
	}
	if len(o.Headers) > 0 && o.Headers[bus.DeadConsumer] != "" {
		return ""
	}
	if e.origin.text == "" || e.origin.source != o.Source || e.origin.topic != o.Topic {
		h := fnv.New64a()
		h.Write([]byte(o.Source + "\x00" + r.topic))
		e.origin = origin{o.Source, o.Topic, hex.EncodeToString(h.Sum(nil)) + "/"}
	}
	id := o.ID
	if !plain(o.Envelope) {
		sum := sha256.Sum256([]byte(o.ID))
		id = hex.EncodeToString(sum[:])
	}
	if mark := signed.Mark(o.Headers); mark != "" { // or a forged one that came first would have it dropped
		id = mark + "/" + id
	}
	if o.Epoch > 0 { // no other id of this origin begins so
		return strings.TrimSuffix(e.origin.text, "/") + "#" + strconv.Itoa(o.Epoch) + "/" + id
	}
	return e.origin.text + id
}

// plain reports whether an id can stand in a header as it is.
func plain(env *sixfold.Envelope) bool {
	for i := 0; i < len(env.ID); i++ {
		if env.ID[i] <= ' ' || env.ID[i] >= 0x7f {
			return false
		}
	}
	return len(env.ID) > 0
}
