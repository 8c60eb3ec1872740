package cloudevents_test

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// anyEnvelope is an envelope that may be published, as testing/quick makes them.
type anyEnvelope struct{ *sixfold.Envelope }

// Generate mixes everyday values with those that break encodings.
func (anyEnvelope) Generate(r *rand.Rand, _ int) reflect.Value {
	text := func() string {
		if r.Intn(3) == 0 {
			return ""
		}
		return anyText(r, 40)
	}
	instant := func() time.Time {
		switch r.Intn(4) {
		case 0:
			return time.Time{}
		case 1:
			return time.Date(r.Intn(10000), 1, 2, 3, 4, 5, 0, time.UTC)
		}
		zone := time.FixedZone("", r.Intn(86_000)-43_000)
		return time.Unix(r.Int63n(4e9), r.Int63n(1e9)).In(zone)
	}
	env := &sixfold.Envelope{ID: "i" + text(), Source: text(), Type: "t" + text(), Subject: text(), Key: text(), Time: instant(), Expires: instant(),
		CorrelationID: text(), CausationID: text(), ReplyTo: text(), Sequence: text(), Body: anyBody(r)}
	if r.Intn(2) == 0 {
		env.TraceParent = goodTrace
		env.TraceState = []string{"", "a=b", strings.Repeat("x", 512)}[r.Intn(3)]
	}
	env.ContentType = []string{"", "application/json", "Application/JSON ; charset=utf-8", "application/x+json", "text/plain", "application/cloudevents+json",
		"application/cloudevents-batch+json", "image/png;x=\"é\"", "a/b; " + anyText(r, 9) + "x"}[r.Intn(9)]
	for range r.Intn(8) {
		if env.Headers == nil {
			env.Headers = map[string]string{}
		}
		env.Headers[anyHeader(r)] = text()
	}
	return reflect.ValueOf(anyEnvelope{env})
}

// anyText has at most 4n bytes of UTF-8 without CR, LF and NUL.
func anyText(r *rand.Rand, n int) string {
	var b strings.Builder
	for range r.Intn(n) {
		switch r.Intn(6) {
		case 0:
			b.WriteRune([]rune("é€😀\u2028\u0085\ufffd\ufeff\u212a")[r.Intn(8)])
		case 1:
			b.WriteByte(" \"%&=\\+;,<>/{}:"[r.Intn(15)])
		case 2:
			b.WriteByte([]byte{'\t', 0x01, 0x1f, 0x7f, ' '}[r.Intn(5)])
		default:
			b.WriteByte(byte('!' + r.Intn('~'-'!')))
		}
	}
	return b.String()
}

func anyHeader(r *rand.Rand) string {
	known := []string{"id", "ID", "type", "data", "data_base64", "dataschema", "traceparent", "sixfoldheaders", "sixfoldbody", "sixfold",
		"Content-Type", "content-type", "datacontenttype", "X-Tenant", "x-tenant", "tenant", "a=b&c", "%41", "{}", "0", "Id_1"}
	if r.Intn(3) > 0 {
		return known[r.Intn(len(known))]
	}
	name := make([]byte, 1+r.Intn(128))
	for i := range name {
		for name[i] == 0 || name[i] == ':' || name[i] == '"' {
			name[i] = byte('!' + r.Intn('~'-'!'+1))
		}
	}
	if sixfold.IsReservedHeader(string(name)) {
		name[0] = '~'
	}
	return string(name)
}

func anyBody(r *rand.Rand) []byte {
	bodies := []string{`{"a":9007199254740993,"b":-0,"c":1e400}`, ` {"a":1}`, `{"a":1} `, `"text"`, `null`, ` `, `{`, "\xef\xbb\xbf{}", "\xff\xfe", `{} {}`, `01`,
		`"\ud800"`, "\"\x01\"", "{\"a\":\r\n1}", strings.Repeat("[", 63) + strings.Repeat("]", 63), strings.Repeat("[", 64) + strings.Repeat("]", 64)}
	switch n := r.Intn(len(bodies) + 3); {
	case n < len(bodies):
		return []byte(bodies[n])
	case n == len(bodies):
		return nil
	case n == len(bodies)+1:
		return []byte{}
	}
	b := make([]byte, r.Intn(200))
	r.Read(b)
	return b
}

func check(t *testing.T, f any) {
	t.Helper()
	if err := quick.Check(f, &quick.Config{MaxCount: 3000}); err != nil {
		t.Error(err)
	}
}

// guarantees: O5
func TestJSONRoundTrip(t *testing.T) {
	check(t, func(e anyEnvelope) bool {
		data, err := cloudevents.Marshal(e.Envelope)
		if err != nil {
			t.Errorf("Marshal: %v", err)
			return false
		}
		got, err := cloudevents.Unmarshal(data)
		if err != nil {
			t.Errorf("Unmarshal(%s): %v", data, err)
			return false
		}
		if diff := difference(got, e.Envelope); diff != "" {
			t.Errorf("through %s: %s", data, diff)
			return false
		}
		return true
	})
}

// guarantees: O5
func TestBatchRoundTrip(t *testing.T) {
	check(t, func(a, b anyEnvelope) bool {
		data, err := cloudevents.MarshalBatch([]*sixfold.Envelope{a.Envelope, b.Envelope})
		if err != nil {
			t.Errorf("MarshalBatch: %v", err)
			return false
		}
		got, err := cloudevents.UnmarshalBatch(data)
		if err != nil || len(got) != 2 {
			t.Errorf("UnmarshalBatch(%s): %v", data, err)
			return false
		}
		return difference(got[0], a.Envelope) == "" && difference(got[1], b.Envelope) == ""
	})
	data, err := cloudevents.MarshalBatch(nil)
	if err != nil || string(data) != "[]" {
		t.Errorf("an empty batch is %s, %v", data, err)
	}
}

// guarantees: O5
func TestHeadersRoundTrip(t *testing.T) {
	all := bindings()
	own, err := cloudevents.NewBinding("X-T", &cloudevents.BindingOptions{ContentType: "Tenant", ASCII: true, AlsoRead: []string{"i"}})
	if err != nil {
		t.Fatal(err)
	}
	all["one that gets in the way of user headers"] = own
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			check(t, func(e anyEnvelope, emptied bool) bool {
				headers, err := b.AppendHeaders(nil, e.Envelope)
				if err != nil {
					t.Errorf("AppendHeaders: %v", err)
					return false
				}
				body := e.Body
				if len(body) == 0 { // a carrier that cannot tell
					if body = nil; emptied {
						body = []byte{}
					}
				}
				var got sixfold.Envelope
				if err := b.Read(&got, seq(headers), body); err != nil {
					t.Errorf("Read(%q): %v", headers, err)
					return false
				}
				if diff := difference(&got, e.Envelope); diff != "" {
					t.Errorf("through %q: %s", headers, diff)
					return false
				}
				return true
			})
		})
	}
}

// Nothing but printable ASCII may reach a carrier that has nothing else, since it would change or refuse it.
func TestASCIICarriersGetASCII(t *testing.T) {
	for _, b := range []*cloudevents.Binding{cloudevents.NATS(), cloudevents.HTTP()} {
		check(t, func(e anyEnvelope) bool {
			headers, _ := b.AppendHeaders(nil, e.Envelope)
			for _, h := range headers {
				if strings.ContainsAny(h.Name, `()<>@,;:\"/[]?={}`) || strings.TrimSpace(h.Value) != h.Value || strings.ContainsFunc(h.Name+h.Value, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(h.Name, ":") {
					t.Errorf("header %q", h)
					return false
				}
			}
			return true
		})
	}
}

// What can be published can be written: the rules here and in the root must not drift apart.
func TestWhatCheckEnvelopePassesIsWritten(t *testing.T) {
	check(t, func(e anyEnvelope) bool {
		e.ID = sixfold.NewID()
		e.Type = "test.made"
		if err := sixfold.CheckEnvelope(e.Envelope); err != nil {
			return true // years before 1970
		}
		_, err := cloudevents.Marshal(e.Envelope)
		return err == nil
	})
}
