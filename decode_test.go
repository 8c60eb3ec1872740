package sixfold_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
)

func TestDecodeFromAnyPastForm(t *testing.T) {
	for name, body := range map[string]string{
		"shipment":          `{"box":"p1","g":5}`,
		"shipped":           `{"parcel":"p1","g":5}`,
		"orders.shipped":    `{"parcel":"p1","g":5}`,
		"orders.shipped.v4": `{"parcel":"p1","grams":5}`,
	} {
		env := &sixfold.Envelope{ID: "1", Type: name, Body: []byte(body)}
		got, err := sixfold.Decode[shipped](t.Context(), env)
		if err != nil || got != (shipped{"p1", 5}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if string(env.Body) != body {
			t.Errorf("%s: the body was changed to %s", name, env.Body)
		}
	}
}

// Once only: a present body goes through no upcaster, also where that would not fail.
func TestDecodeLeavesThePresentFormAlone(t *testing.T) {
	got, err := sixfold.Decode[shipped](t.Context(), &sixfold.Envelope{Type: "orders.shipped.v4", Body: []byte(`{"parcel":"\"box\"","grams":1}`)})
	if err != nil || got.Parcel != `"box"` {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRouteHandlesPastForms(t *testing.T) {
	var got []shipped
	r := sixfold.On(func(_ context.Context, m shipped) error { got = append(got, m); return nil })
	for _, name := range append(r.Former, r.Name) {
		if err := r.Handler()(t.Context(), &sixfold.Envelope{Type: name, Body: []byte(`{"box":"a","parcel":"a","g":1,"grams":1}`)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(got) != 4 {
		t.Errorf("handled %v", got)
	}
}

func TestUndecodableIsPermanentAndShowsNoBody(t *testing.T) {
	const secret = "4711"
	for name, env := range map[string]*sixfold.Envelope{
		"nil":               nil,
		"empty":             {Type: "orders.placed"},
		"not JSON":          {Type: "orders.placed", Body: []byte("4711\xff")},
		"truncated":         {Type: "orders.placed", Body: []byte(`{"order_id":"4711`)},
		"wrong type":        {Type: "orders.placed", Body: []byte(`{"order_id":4711}`)},
		"number too large":  {Type: "orders.placed", Body: []byte(`{"total":47114711471147114711}`)},
		"foreign type":      {Type: "orders.cancelled", Body: []byte(`{"order_id":"4711"}`)},
		"unknown media":     {Type: "orders.placed", ContentType: "application/x-4712", Body: []byte(`{}`)},
		"broken media":      {Type: "orders.placed", ContentType: "a b; ;", Body: []byte(`{}`)},
		"former upcast":     {Type: "shipment", Body: []byte(`4711`)},
		"hostile type name": {Type: strings.Repeat("\x1b[31m4712", 1000), Body: []byte(`{}`)},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if name == "former upcast" {
				_, err = sixfold.Decode[shipped](t.Context(), env)
			} else {
				_, err = sixfold.Decode[placed](t.Context(), env)
			}
			if !errors.Is(err, sixfold.ErrUndecodable) || !sixfold.IsPermanent(err) {
				t.Fatalf("not permanently undecodable: %v", err)
			}
			if s := err.Error(); strings.Contains(s, secret) || strings.ContainsRune(s, 0x1b) || len(s) > 600 {
				t.Errorf("the text shows too much: %s", s)
			}
		})
	}
}

// odd is a message whose parts fail with texts that quote the body.
type odd struct {
	At    strictTime `json:"at"`
	Count int        `json:"count,string"`
}

func (odd) MessageName() string { return "tests.odd" }

type strictTime struct{}

func (strictTime) UnmarshalJSON(b []byte) error { return errors.New("cannot read " + string(b)) }

type oddOnce struct {
	N int8 `json:"n"`
}

func (oddOnce) MessageName() string { return "tests.odd.v2" }
func (oddOnce) MessageHistory() []sixfold.Former {
	return []sixfold.Former{{Name: "tests.odd", Upcast: func(b []byte) ([]byte, error) {
		var v oddOnce
		return b, json.Unmarshal(b, &v)
	}}}
}

// [NoSecretAnywhere]
func TestDecodeErrorHidesWhatOthersQuote(t *testing.T) {
	for _, body := range []string{`{"at":"4711"}`, `{"count":"4711x"}`, `{"count":"x4711"}`} {
		_, err := sixfold.Decode[odd](t.Context(), &sixfold.Envelope{Type: "tests.odd", Body: []byte(body)})
		if err == nil || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v", body, err)
		}
	}
	_, err := sixfold.Decode[oddOnce](t.Context(), &sixfold.Envelope{Type: "tests.odd", Body: []byte(`{"n":4711}`)})
	var typ *json.UnmarshalTypeError
	if err == nil || strings.Contains(err.Error(), "4711") || !errors.As(err, &typ) {
		t.Errorf("upcaster: %v (its cause must stay in reach)", err)
	}
}

// shout is a codec that can be told from JSON.
type shout struct{ media string }

func (s shout) ContentType() string           { return s.media }
func (s shout) Marshal(v any) ([]byte, error) { return json.Marshal(v) }
func (s shout) Unmarshal(b []byte, v any) error {
	return json.Unmarshal(bytes.ToUpper(b), v)
}

func TestCodecIsChosenByContentTypeWhenDecoded(t *testing.T) {
	// The route is built without any codec.
	var got string
	h := sixfold.On(func(_ context.Context, m placed) error { got = m.OrderID; return nil }).Handler()
	both := sixfold.WithCodecs(t.Context(), nil, shout{"application/x-shout"}, shout{"Application/X-Upper"})
	for _, c := range []struct {
		ctx         context.Context
		contentType string
		want        string
	}{
		{t.Context(), "", "a"},
		{t.Context(), "application/json", "a"},
		{t.Context(), "application/json; charset=utf-8", "a"},
		{t.Context(), "APPLICATION/JSON", "a"},
		{t.Context(), "application/vnd.shop+json", "a"},
		{both, "application/json", "a"},
		{both, "application/x-shout", "A"},
		{both, "application/x-shout; v=1", "A"},
		{both, "application/x-upper", "A"},
		{sixfold.WithCodecs(t.Context(), shout{"application/json"}), "application/json", "A"},
		{sixfold.WithCodecs(t.Context(), shout{"application/json"}), "", "A"},
		{sixfold.WithCodecs(t.Context(), shout{"application/vnd.shop+json"}), "application/vnd.shop+json", "A"},
		{sixfold.WithCodecs(t.Context()), "application/json", "a"},
	} {
		got = ""
		err := h(c.ctx, &sixfold.Envelope{Type: "orders.placed", ContentType: c.contentType, Body: []byte(`{"order_id":"a"}`)})
		if err != nil || got != c.want {
			t.Errorf("%q: %q, %v; want %q", c.contentType, got, err, c.want)
		}
	}
}
