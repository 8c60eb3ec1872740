package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// OrderPlaced is what both sides know.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string { return "orders.placed" }

// trip is an event that a foreign program sends, and the envelope that must arrive.
type trip struct {
	name string
	wish wish
	want sixfold.Envelope
}

var noon = time.Date(2026, 2, 3, 12, 30, 0, 0, time.UTC)

const euro = "Euro € 😀 ñ"

// trips are what every client can send. ID is set by its place.
func trips() []trip {
	order := map[string]any{"order_id": "o-1"}
	orderJSON := []byte(`{"order_id":"o-1"}`)
	base := func(more map[string]any) map[string]any {
		a := map[string]any{"source": "/foreign", "type": "orders.placed", "time": "2026-02-03T12:30:00.000Z"}
		maps.Copy(a, more)
		return a
	}
	want := func(change func(*sixfold.Envelope)) sixfold.Envelope {
		e := sixfold.Envelope{Source: "/foreign", Type: "orders.placed", Time: noon, ContentType: "application/json", Body: orderJSON}
		change(&e)
		return e
	}
	jsonType := map[string]any{"datacontenttype": "application/json"}
	var all []trip
	for _, mode := range []string{"binary", "structured"} {
		all = append(all,
			trip{mode + " JSON", wish{Mode: mode, Attributes: base(jsonType), JSON: order}, want(func(*sixfold.Envelope) {})},
			trip{mode + " with all attributes", wish{Mode: mode, JSON: order, Attributes: base(map[string]any{"datacontenttype": "application/json", "subject": "s", "partitionkey": "k1", "correlationid": "c1", "causationid": "c0",
				"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": "a", "dataschema": "https://example.com/schema"})},
				want(func(e *sixfold.Envelope) {
					e.Subject, e.Key, e.CorrelationID, e.CausationID = "s", "k1", "c1", "c0"
					e.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
					e.Headers = map[string]string{"tenant": "a", "dataschema": "https://example.com/schema"}
				})},
			trip{mode + " non-ASCII", wish{Mode: mode, Attributes: base(map[string]any{"datacontenttype": "application/json", "subject": euro, "tenant": "Zürich", "partitionkey": "ключ"}), JSON: map[string]any{"order_id": euro}},
				want(func(e *sixfold.Envelope) {
					e.Subject, e.Key, e.Headers = euro, "ключ", map[string]string{"tenant": "Zürich"}
					e.Body, _ = json.Marshal(OrderPlaced{euro})
				})},
			trip{mode + " typed extensions", wish{Mode: mode, Attributes: base(map[string]any{"datacontenttype": "application/json", "tries": 3, "urgent": true}), JSON: order},
				want(func(e *sixfold.Envelope) { e.Headers = map[string]string{"tries": "3", "urgent": "true"} })},
			trip{mode + " bytes", wish{Mode: mode, Attributes: base(map[string]any{"datacontenttype": "application/octet-stream"}), Base64: []byte("\x00\x01\xff\xfe")},
				want(func(e *sixfold.Envelope) {
					e.ContentType, e.Body = "application/octet-stream", []byte("\x00\x01\xff\xfe")
				})},
		)
	}
	all = append(all, trip{"binary with headers beside", wish{Mode: "binary", Attributes: base(jsonType), JSON: order, Headers: map[string]any{"x-request-id": "r1", "X-Odd_Name.1": "100% \"odd\"", "empty": ""}},
		want(func(e *sixfold.Envelope) {
			e.Headers = map[string]string{"x-request-id": "r1", "X-Odd_Name.1": "100% \"odd\"", "empty": ""}
		})})
	for i := range all {
		id := fmt.Sprintf("id-%02d", i)
		all[i].wish.Attributes["id"], all[i].want.ID = id, id
	}
	return all
}

// raws are what a client without an SDK sends, under names with this prefix.
func raws(prefix string) []trip {
	attributes := func(id string, more map[string]any) map[string]any {
		h := map[string]any{prefix + "specversion": "1.0", prefix + "id": id, prefix + "type": "orders.placed", prefix + "source": "/raw"}
		maps.Copy(h, more)
		return h
	}
	body := []byte(`{"order_id":"o-1"}`)
	return []trip{
		{"no content type", wish{Mode: "raw", Headers: attributes("raw-0", nil), Base64: body}, sixfold.Envelope{ID: "raw-0", Source: "/raw", Type: "orders.placed", Body: body}},
		{"a foreign id", wish{Mode: "raw", Headers: attributes("any string: ünique/1", nil), Base64: body}, sixfold.Envelope{ID: "any string: ünique/1", Source: "/raw", Type: "orders.placed", Body: body}},
		{"no body", wish{Mode: "raw", Headers: attributes("raw-2", nil)}, sixfold.Envelope{ID: "raw-2", Source: "/raw", Type: "orders.placed"}},
		{"forged control headers", wish{Mode: "raw", Headers: attributes("raw-3", map[string]any{"sixfold-dead-reason": "x", prefix + "sequence": "1/1"}), Base64: body},
			sixfold.Envelope{ID: "raw-3", Source: "/raw", Type: "orders.placed", Sequence: "1/1", Body: body}},
	}
}

// arrivals runs a consumer of topic until the test ends. Each envelope that a handler gets comes through the channel, and no message may
// become a dead letter.
func arrivals(t *testing.T, broker bus.Transport, topic string) <-chan *sixfold.Envelope {
	t.Helper()
	got := make(chan *sixfold.Envelope, 100)
	c, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{topic}, Group: "service"},
		&bus.Options{Hooks: bus.Hooks{Dead: func(d *bus.Delivery, reason string, err error) {
			t.Errorf("%s became a dead letter: %s: %v", d.ID, reason, err)
			got <- &d.Envelope
		}}},
		sixfold.Raw(func(ctx context.Context, env *sixfold.Envelope) error {
			if strings.HasPrefix(string(env.Body), "{") {
				if m, err := sixfold.Decode[OrderPlaced](ctx, env); err != nil || m.OrderID == "" {
					t.Errorf("%s cannot be decoded: %v", env.ID, err)
				}
			}
			got <- env
			return nil
		}))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return got
}

// compare waits for each trip's envelope.
func compare(t *testing.T, got <-chan *sixfold.Envelope, trips []trip) {
	t.Helper()
	by := map[string]*sixfold.Envelope{}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for range trips {
		select {
		case env := <-got:
			by[env.ID] = env
		case <-limit.C:
			t.Fatalf("%d of %d events arrived", len(by), len(trips))
		}
	}
	for _, tr := range trips {
		env := by[tr.want.ID]
		if env == nil {
			t.Errorf("%s: %q did not arrive", tr.name, tr.want.ID)
			continue
		}
		if strings.EqualFold(env.Headers["urgent"], "true") {
			env.Headers["urgent"] = "true" // the SDK for Python writes "True", where the type system of CloudEvents says "true"
		}
		if problem := differ(env, &tr.want); problem != "" {
			t.Errorf("%s: %s", tr.name, problem)
		}
	}
}

// differ says how an envelope is not what it should be. JSON bodies are compared as values.
func differ(got, want *sixfold.Envelope) string {
	type attrs struct{ ID, Source, Type, Subject, Key, ContentType, Correlation, Causation, TraceParent, Sequence string }
	of := func(e *sixfold.Envelope) attrs {
		content, _, _ := strings.Cut(e.ContentType, ";")
		return attrs{e.ID, e.Source, e.Type, e.Subject, e.Key, content, e.CorrelationID, e.CausationID, e.TraceParent, e.Sequence}
	}
	switch {
	case of(got) != of(want):
		return fmt.Sprintf("attributes\n got %+v\nwant %+v", of(got), of(want))
	case !got.Time.Equal(want.Time):
		return fmt.Sprintf("time %v, want %v", got.Time, want.Time)
	case !maps.Equal(got.Headers, want.Headers):
		return fmt.Sprintf("headers %q, want %q", got.Headers, want.Headers)
	case !sameBody(got.Body, want.Body):
		return fmt.Sprintf("body %q, want %q", got.Body, want.Body)
	}
	return ""
}

func sameBody(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil {
		return fmt.Sprint(x) == fmt.Sprint(y)
	}
	return bytes.Equal(a, b)
}

// outgoing are the envelopes that a Go service sends.
func outgoing() []*sixfold.Envelope {
	base := func(id string, change func(*sixfold.Envelope)) *sixfold.Envelope {
		e := &sixfold.Envelope{ID: id, Source: "/sixfold", Type: "orders.placed", Time: noon, ContentType: "application/json", Body: []byte(`{"order_id":"o-1"}`)}
		change(e)
		return e
	}
	return []*sixfold.Envelope{
		base("00dc6acf-ac00-7000-9000-000000000001", func(*sixfold.Envelope) {}),
		base("00dc6acf-ac00-7000-9000-000000000002", func(e *sixfold.Envelope) {
			e.Subject, e.Key, e.CorrelationID, e.CausationID = "s", "k1", "c1", "c0"
			e.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			e.Expires = noon.Add(1000*time.Hour).AddDate(50, 0, 0)
			e.Headers = map[string]string{"x-request-id": "r1", "tenant": "a", "dataschema": "https://example.com/schema"}
		}),
		base("00dc6acf-ac00-7000-9000-000000000003", func(e *sixfold.Envelope) {
			e.Subject, e.Key, e.Headers = euro, "ключ", map[string]string{"tenant": "Zürich", "X-Odd_Name.1": "100% odd"}
			e.Body, _ = json.Marshal(OrderPlaced{euro})
		}),
		base("00dc6acf-ac00-7000-9000-000000000004", func(e *sixfold.Envelope) {
			e.ContentType, e.Body = "application/octet-stream", []byte("\x00\x01\xff\xfe")
		}),
		base("00dc6acf-ac00-7000-9000-000000000005", func(e *sixfold.Envelope) { e.ContentType, e.Body = "", nil }),
	}
}

// check says how what a foreign SDK saw is not the envelope. Some SDKs do not decode the percent-encoding that the
// bindings of HTTP and NATS ask for: encoded says so.
func check(env *sixfold.Envelope, s seen, encoded bool) error {
	text := func(v any) string {
		s, ok := v.(string)
		if plain, err := url.PathUnescape(s); encoded && ok && err == nil {
			return plain
		}
		return fmt.Sprint(v)
	}
	for name, want := range map[string]string{"specversion": "1.0", "id": env.ID, "source": env.Source, "type": env.Type, "subject": env.Subject, "partitionkey": env.Key, "correlationid": env.CorrelationID,
		"causationid": env.CausationID, "traceparent": env.TraceParent, "dataschema": env.Headers["dataschema"]} {
		got := ""
		if v, ok := s.Attributes[name]; ok && v != nil {
			got = text(v)
		}
		if got != want {
			return fmt.Errorf("attribute %s is %q, want %q", name, got, want)
		}
	}
	if at, err := time.Parse(time.RFC3339, text(s.Attributes["time"])); err != nil || !at.Equal(env.Time) {
		return fmt.Errorf("time is %v, want %v", s.Attributes["time"], env.Time)
	}
	if content := s.Attributes["datacontenttype"]; env.ContentType != "" && fmt.Sprint(content) != env.ContentType {
		return fmt.Errorf("content type is %v, want %q", content, env.ContentType)
	}
	for name, want := range env.Headers {
		if got := s.Headers[name]; name != "dataschema" && ascii(want) && got != want {
			return fmt.Errorf("header %s is %q, want %q; all: %q", name, got, want, s.Headers)
		}
	}
	body := s.Bytes
	if len(s.Data) > 0 && string(s.Data) != "null" {
		body = s.Data
	}
	if !sameBody(body, env.Body) {
		return fmt.Errorf("body is %q, want %q", body, env.Body)
	}
	return nil
}

func ascii(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x7f }) < 0 }

// publish sends the outgoing envelopes as a service does.
func publish(t *testing.T, broker bus.Transport, topic string) {
	t.Helper()
	p, err := bus.NewPublisher(broker, nil)
	must(t, err)
	must(t, p.PublishEnvelopes(t.Context(), topic, outgoing()))
	must(t, p.Close(t.Context()))
}

// checkAll compares what a program saw with what was sent, in order.
func checkAll(t *testing.T, next func() seen, encoded bool) {
	t.Helper()
	left := map[string]*sixfold.Envelope{}
	for _, env := range outgoing() {
		left[env.ID] = env
	}
	for range len(left) {
		s := next()
		id := fmt.Sprint(s.Attributes["id"])
		env := left[id]
		if env == nil {
			t.Errorf("%q came, which was not sent or came before", id)
			continue
		}
		delete(left, id)
		if err := check(env, s, encoded); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
