package protobuf_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/codec/protobuf"
	"github.com/sixfold-go/sixfold/codec/protobuf/internal/testpb"
)

func codec(t testing.TB, o *protobuf.Options) sixfold.Codec {
	t.Helper()
	c, err := protobuf.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// placed holds a generated message as the documentation says.
type placed struct{ *testpb.OrderPlaced }

func (placed) MessageName() string  { return "orders.placed" }
func (m placed) MessageKey() string { return m.GetOrderId() }

// command has a result too.
type command struct {
	sixfold.Returns[string]
	Order *testpb.OrderPlaced // not embedded
}

func (command) MessageName() string { return "orders.place" }

// next is the same message in a newer program.
type next struct{ *testpb.OrderPlacedNext }

func (next) MessageName() string { return "orders.placed" }

func full() *testpb.OrderPlaced {
	return &testpb.OrderPlaced{OrderId: "o-1 €", Cents: -5, Note: []byte{0, 255}, Items: []*testpb.Item{{Sku: "a", Part: &testpb.Item{Sku: "b"}}}, Prices: map[string]int64{"a": 1, "b": 2, "c": 3}}
}

// roundTrip goes through an envelope as between two services.
func TestRoundTrip(t *testing.T) {
	c := codec(t, nil)
	ctx := sixfold.WithCodecs(t.Context(), c)
	env, err := sixfold.NewEnvelope(ctx, "shop", c, placed{full()})
	if err != nil {
		t.Fatal(err)
	}
	if env.ContentType != "application/protobuf" || env.Key != "o-1 €" || env.Type != "orders.placed" {
		t.Errorf("%v, content type %q", env, env.ContentType)
	}
	got, err := sixfold.Decode[placed](ctx, env)
	if err != nil || !proto.Equal(got.OrderPlaced, full()) {
		t.Errorf("%v, %v", got, err)
	}
	// With a parameter, and beside JSON.
	env.ContentType = "application/protobuf; proto=sixfold.test.OrderPlaced"
	if _, err := sixfold.Decode[placed](ctx, env); err != nil {
		t.Error(err)
	}
	if _, err := sixfold.Decode[placed](context.Background(), env); !errors.Is(err, sixfold.ErrUndecodable) {
		t.Errorf("without the codec: %v", err)
	}
	env, err = sixfold.NewEnvelope(ctx, "shop", c, command{Order: full()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sixfold.Decode[command](ctx, env); err != nil || !proto.Equal(got.Order, full()) {
		t.Errorf("%v, %v", got, err)
	}
}

// A consumer's route takes the holder: it is a value, as a route wants it.
func TestRoutes(t *testing.T) {
	c := codec(t, nil)
	ctx := sixfold.WithCodecs(t.Context(), c)
	var got placed
	route := sixfold.On(func(_ context.Context, m placed) error { got = m; return nil })
	env, err := sixfold.NewEnvelope(ctx, "shop", c, placed{full()})
	if err == nil {
		err = route.Handle(ctx, env)
	}
	if err != nil || !proto.Equal(got.OrderPlaced, full()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyIsNotMissing(t *testing.T) {
	c := codec(t, nil)
	b, err := c.Marshal(placed{&testpb.OrderPlaced{}})
	if err != nil || b == nil || len(b) != 0 {
		t.Errorf("%#v, %v", b, err)
	}
	var m placed
	if err := c.Unmarshal(b, &m); err != nil || m.OrderPlaced == nil || m.GetCents() != 0 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := c.Marshal(placed{}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "OrderPlaced is nil") {
		t.Errorf("a holder of nothing: %v", err)
	}
}

// An older program reads what a newer one sent, and passes on what it does not know.
func TestUnknownFieldsAreKept(t *testing.T) {
	c := codec(t, nil)
	sent, err := c.Marshal(next{&testpb.OrderPlacedNext{OrderId: "o-1", Voucher: "v"}})
	if err != nil {
		t.Fatal(err)
	}
	var old placed
	if err := c.Unmarshal(sent, &old); err != nil || old.GetOrderId() != "o-1" {
		t.Fatalf("%v, %v", old, err)
	}
	on, err := c.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	var back next
	if err := c.Unmarshal(on, &back); err != nil || back.GetVoucher() != "v" {
		t.Errorf("%v, %v", back, err)
	}
}

// The bytes of a map do not change with the order in which Go walks it: under one id they would be another payload.
func TestEqualMessagesAreEqualBytes(t *testing.T) {
	c := codec(t, nil)
	first, err := c.Marshal(placed{full()})
	for range 50 {
		if b, err2 := c.Marshal(placed{full()}); err != nil || err2 != nil || !bytes.Equal(b, first) {
			t.Fatalf("%x and %x, %v, %v", b, first, err, err2)
		}
	}
}

func TestDecodingKeepsNothing(t *testing.T) {
	c := codec(t, nil)
	b, err := c.Marshal(placed{full()})
	if err != nil {
		t.Fatal(err)
	}
	var m placed
	if err := c.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !proto.Equal(m.OrderPlaced, full()) {
		t.Error("the message shares memory with the body")
	}
	before := m.OrderPlaced
	if err := c.Unmarshal([]byte{0xff}, &m); err == nil || m.OrderPlaced != before {
		t.Errorf("what failed left something behind: %v", err)
	}
}

func TestLimits(t *testing.T) {
	c := codec(t, &protobuf.Options{MaxBytes: 100, MaxDepth: 3})
	of := func(n int) placed { return placed{&testpb.OrderPlaced{OrderId: strings.Repeat("a", n-2)}} }
	b, err := c.Marshal(of(100))
	if err != nil || len(b) != 100 {
		t.Fatalf("at the limit: %d bytes, %v", len(b), err)
	}
	if _, err := c.Marshal(of(101)); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "101 bytes, the limit is 100") {
		t.Errorf("one byte over: %v", err)
	}
	var m placed
	if err := c.Unmarshal(b, &m); err != nil {
		t.Error(err)
	}
	if err := c.Unmarshal(append(b, 0), &m); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("one byte over: %v", err)
	}
	deep := &testpb.Item{}
	for range 5 {
		deep = &testpb.Item{Part: deep}
	}
	d, err := c.Marshal(placed{&testpb.OrderPlaced{Items: []*testpb.Item{deep}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unmarshal(d, &m); err == nil {
		t.Error("what is too deep was read")
	}
	if _, err := protobuf.New(&protobuf.Options{MaxBytes: -1, MaxDepth: -1}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "MaxBytes") || !strings.Contains(err.Error(), "MaxDepth") {
		t.Errorf("%v", err)
	}
}

type (
	more struct {
		*testpb.OrderPlaced
		Tenant string
	}
	two struct {
		A *testpb.OrderPlaced
		B *testpb.OrderPlaced
	}
	hidden struct{ order *testpb.OrderPlaced }
	plain  struct{ ID string }
	none   struct{}
)

func TestTypesThatWouldLoseSomething(t *testing.T) {
	c := codec(t, nil)
	for name, v := range map[string]any{"more": &more{OrderPlaced: full()}, "two": &two{full(), full()}, "hidden": &hidden{full()}, "plain": &plain{"x"}, "none": &none{}, "text": new(string)} {
		if err := c.Unmarshal(nil, v); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "embeds the pointer") {
			t.Errorf("decode into %s: %v", name, err)
		}
		if _, err := c.Marshal(v); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("encode %s: %v", name, err)
		}
	}
	for name, v := range map[string]any{"nil": nil, "a value": placed{}, "a nil pointer": (*placed)(nil)} {
		if err := c.Unmarshal(nil, v); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("decode into %s: %v", name, err)
		}
		if _, err := c.Marshal(v); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("encode %s: %v", name, err)
		}
	}
}

// The generated message itself, for who needs no route.
func TestGeneratedMessages(t *testing.T) {
	c := codec(t, nil)
	b, err := c.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var p *testpb.OrderPlaced
	if err := c.Unmarshal(b, &p); err != nil || !proto.Equal(p, full()) {
		t.Errorf("%v, %v", p, err)
	}
	q := &testpb.OrderPlaced{Note: []byte("old")}
	if err := c.Unmarshal(b, q); err != nil || !proto.Equal(q, full()) {
		t.Errorf("%v, %v", q, err)
	}
}

// Errors are logged, so they show nothing of the body.
func FuzzUnmarshal(f *testing.F) {
	c := codec(f, &protobuf.Options{MaxBytes: 1 << 16})
	good, err := c.Marshal(placed{full()})
	if err != nil {
		f.Fatal(err)
	}
	for i := range good {
		f.Add(good[:i])
	}
	f.Add([]byte("\x0a\xff\xff\xff\xff\x0fcanary"))
	f.Add([]byte("\x0a\x07canary\xff"))
	f.Add(bytes.Repeat([]byte{0x22, 0x80, 0x01, 0x12}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m placed
		if err := c.Unmarshal(data, &m); err != nil {
			if m.OrderPlaced != nil {
				t.Error("a failure left a message behind")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the body: %v", err)
			}
			return
		}
		again, err := c.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back placed
		if err := c.Unmarshal(again, &back); err != nil || !bytes.Equal(must(c.Marshal(back)), again) {
			t.Errorf("what was read does not survive: %v", err)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
