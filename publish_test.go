package sixfold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

func TestNewEnvelope(t *testing.T) {
	before := time.Now()
	env, err := sixfold.NewEnvelope(t.Context(), "shop", nil, placed{OrderID: "o1", Total: 3})
	if err != nil {
		t.Fatal(err)
	}
	if env.Source != "shop" || env.Type != "orders.placed" || env.Key != "o1" || env.ContentType != "application/json" {
		t.Errorf("%v", env)
	}
	if string(env.Body) != `{"order_id":"o1","total":3}` || env.Headers != nil || env.Message() != nil {
		t.Errorf("body %s, headers %v, message %v", env.Body, env.Headers, env.Message())
	}
	if env.Time.Location() != time.UTC || env.Time.Before(before.Add(-time.Second)) || env.Time.After(time.Now().Add(time.Second)) {
		t.Error(env.Time)
	}
	if _, err := sixfold.ParseID(env.ID); err != nil {
		t.Error(err)
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		t.Error(err)
	}
}

func TestNewEnvelopeTakesThePointerOfAMessageToo(t *testing.T) {
	env, err := sixfold.NewEnvelope(t.Context(), "shop", shout{"application/x-shout"}, &placed{OrderID: "o1"})
	if err != nil || env.Key != "o1" || env.Type != "orders.placed" || env.ContentType != "application/x-shout" {
		t.Errorf("%v, %v", env, err)
	}
	got, err := sixfold.Decode[placed](sixfold.WithCodecs(t.Context(), shout{"application/x-shout"}), env)
	if err != nil || got.OrderID != "O1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReturnsAddsNothingToTheWire(t *testing.T) {
	env, err := sixfold.NewEnvelope(t.Context(), "shop", nil, charge{Cents: 5})
	if err != nil || string(env.Body) != `{"Cents":5}` {
		t.Errorf("%s, %v", env.Body, err)
	}
}

func TestNewEnvelopeRefuses(t *testing.T) {
	cycle := &linked{}
	cycle.Next = cycle
	for name, c := range map[string]struct {
		m   sixfold.Message
		say string
	}{
		"nil":                {nil, "it is nil"},
		"nil pointer":        {(*placed)(nil), "nil *sixfold_test.placed"},
		"nil method pointer": {(*onPointer)(nil), "nil *sixfold_test.onPointer"},
		"empty name":         {named{""}, "it is empty"},
		"256 bytes of name":  {named{strings.Repeat("n", 256)}, "256 bytes, the limit is 255"},
		"10 kB of name":      {named{strings.Repeat("n", 10_000)}, "the limit is 255"},
		"NaN":                {anyBody{math.NaN()}, "NaN"},
		"infinity":           {anyBody{math.Inf(-1)}, "Inf"},
		"channel":            {anyBody{make(chan int)}, "chan int"},
		"function":           {anyBody{func() {}}, "func()"},
		"cycle":              {*cycle, "cycle"},
		"year 10000":         {anyBody{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "year"},
		"odd map":            {anyBody{map[complex128]int{1: 1}}, "map[complex128]int"},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := sixfold.NewEnvelope(t.Context(), "shop", nil, c.m)
			if env != nil || !errors.Is(err, sixfold.ErrInvalid) {
				t.Fatalf("%v, %v", env, err)
			}
			if s := err.Error(); !strings.Contains(s, c.say) || !strings.HasPrefix(s, "sixfold: ") || strings.ContainsRune(s, '\n') || len(s) > 300 {
				t.Errorf("the error does not say %q in one short line: %s", c.say, s)
			}
		})
	}
}

func TestCheckEnvelope(t *testing.T) {
	long, ok := strings.Repeat("x", 256), strings.Repeat("x", 255)
	for name, c := range map[string]struct {
		change func(*sixfold.Envelope)
		say    string // empty: it is fine
	}{
		"as made":                {func(*sixfold.Envelope) {}, ""},
		"nil body":               {func(e *sixfold.Envelope) { e.Body = nil }, ""},
		"empty body":             {func(e *sixfold.Envelope) { e.Body = []byte{} }, ""},
		"bytes in the body":      {func(e *sixfold.Envelope) { e.Body = []byte("\x00\xff\r\n") }, ""},
		"unicode":                {func(e *sixfold.Envelope) { e.Key, e.Subject = "ключ", "件名" }, ""},
		"limits":                 {func(e *sixfold.Envelope) { e.Key, e.Subject, e.Source = ok, ok, ok }, ""},
		"zero time":              {func(e *sixfold.Envelope) { e.Time = time.Time{} }, ""},
		"id empty":               {func(e *sixfold.Envelope) { e.ID = "" }, `id ""`},
		"id no UUID":             {func(e *sixfold.Envelope) { e.ID = "4711" }, `id "4711"`},
		"id of 10 kB":            {func(e *sixfold.Envelope) { e.ID = strings.Repeat("i", 10_000) }, "it is not a UUID"},
		"name with a space":      {func(e *sixfold.Envelope) { e.Type = "orders placed" }, "byte 6"},
		"name with a newline":    {func(e *sixfold.Envelope) { e.Type = "orders\nplaced" }, `"orders\nplaced"`},
		"name not ASCII":         {func(e *sixfold.Envelope) { e.Type = "заказ" }, "not ASCII"},
		"key too long":           {func(e *sixfold.Envelope) { e.Key = long }, "key"},
		"key with CR":            {func(e *sixfold.Envelope) { e.Key = "a\rb" }, `key "a\rb"`},
		"key not UTF-8":          {func(e *sixfold.Envelope) { e.Key = "\xff\xfe" }, "UTF-8"},
		"key of odd bytes":       {func(e *sixfold.Envelope) { e.Key = strings.Repeat("\x80", 300) }, "300 bytes"},
		"subject":                {func(e *sixfold.Envelope) { e.Subject = "a\nb" }, "subject"},
		"source":                 {func(e *sixfold.Envelope) { e.Source = "a\x00" }, "source"},
		"content type":           {func(e *sixfold.Envelope) { e.ContentType = long }, "content type"},
		"correlation":            {func(e *sixfold.Envelope) { e.CorrelationID = "a\r\nb: c" }, "correlation id"},
		"causation":              {func(e *sixfold.Envelope) { e.CausationID = long }, "causation id"},
		"reply address":          {func(e *sixfold.Envelope) { e.ReplyTo = "a\r\nb" }, "reply address"},
		"traceparent":            {func(e *sixfold.Envelope) { e.TraceParent = "a\r\nb" }, "traceparent"},
		"tracestate":             {func(e *sixfold.Envelope) { e.TraceState = "a=1\r\nb: c" }, "tracestate"},
		"tracestate too long":    {func(e *sixfold.Envelope) { e.TraceState = strings.Repeat("x", 513) }, "513 bytes"},
		"time in year 10000":     {func(e *sixfold.Envelope) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "time 10000"},
		"expiry in year 10000":   {func(e *sixfold.Envelope) { e.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "expiry 10000"},
		"expiry 10000 in UTC":    {func(e *sixfold.Envelope) { e.Expires = time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200)) }, "expiry 9999"},
		"expiry before the time": {func(e *sixfold.Envelope) { e.Expires = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC) }, "unit of the duration"},
		"header":                 {func(e *sixfold.Envelope) { e.Headers = map[string]string{"ce-id": "x"} }, "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			env := newPlaced(t, t.Context())
			c.change(env)
			err := sixfold.CheckEnvelope(env)
			if c.say == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), c.say) || strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 400 {
				t.Errorf("the error does not say %q in one short line: %q", c.say, err)
			}
		})
	}
	if err := sixfold.CheckEnvelope(nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
	all := sixfold.CheckEnvelope(&sixfold.Envelope{Key: long, Subject: "\n", Headers: map[string]string{"": ""}})
	for _, s := range []string{"id", "message name", "key", "subject", "header"} {
		if !strings.Contains(all.Error(), s+` "`) {
			t.Errorf("not all at once, %s is missing: %v", s, all)
		}
	}
}

// guarantees: O5
func TestBodyIsWhatTheCodecWrote(t *testing.T) {
	env, err := sixfold.NewEnvelope(t.Context(), "s", exact{}, anyBody{[]byte("{\"b\":1e400, \"a\":9007199254740993}\x00\xff")})
	if err != nil || !bytes.Equal(env.Body, []byte("{\"b\":1e400, \"a\":9007199254740993}\x00\xff")) {
		t.Errorf("%q, %v", env.Body, err)
	}
}

type exact struct{}

func (exact) ContentType() string { return "application/octet-stream" }
func (exact) Marshal(v any) ([]byte, error) {
	b, ok := v.(anyBody).V.([]byte)
	if !ok {
		return nil, fmt.Errorf("not bytes")
	}
	return b, nil
}
func (exact) Unmarshal([]byte, any) error { return nil }

func BenchmarkNewEnvelope(b *testing.B) {
	m := placed{OrderID: sixfold.NewID(), Total: b.N}
	b.Run("fresh", func(b *testing.B) { benchmarkNewEnvelope(b, context.Background(), m) })
	b.Run("in a handler", func(b *testing.B) {
		from, _ := sixfold.NewEnvelope(context.Background(), "shop", nil, m)
		benchmarkNewEnvelope(b, sixfold.WithInfo(context.Background(), &sixfold.Info{Envelope: from}), m)
	})
}

func benchmarkNewEnvelope(b *testing.B, ctx context.Context, m placed) {
	b.ReportAllocs()
	for b.Loop() {
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, m)
		if err != nil {
			b.Fatal(err)
		}
		if err := sixfold.CheckEnvelope(env); err != nil {
			b.Fatal(err)
		}
	}
}

// The publisher's budget of allocations is 20 for everything, the database's included.
func TestNewEnvelopeAllocates(t *testing.T) {
	ctx, m := context.Background(), sixfold.Message(placed{OrderID: "o1", Total: 7})
	n := testing.AllocsPerRun(1000, func() {
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, m)
		if err != nil || sixfold.CheckEnvelope(env) != nil {
			t.Error(err)
		}
	})
	if n > 4 { // the envelope, the id, the body; with -race, which empties pools, one more
		t.Errorf("%v allocations", n)
	}
}
