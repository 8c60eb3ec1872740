package signature_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/signature"
)

// odd are envelopes of which carriers might change something.
func odd() map[string]*sixfold.Envelope {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_456_789, time.UTC)
	return map[string]*sixfold.Envelope{
		"full":        full(),
		"bare":        {ID: "1", Type: "t"},
		"empty body":  {ID: "1", Type: "t", Body: []byte{}},
		"binary":      {ID: "1", Type: "t", ContentType: "application/octet-stream", Body: []byte("\x00\xff\xfe\n")},
		"JSON":        {ID: "1", Type: "t", ContentType: "application/json", Body: []byte(` { "b" : 1.0e2 , "a":"\u00e9<>&é" } `)},
		"null":        {ID: "1", Type: "t", ContentType: "application/json", Body: []byte(`null`)},
		"a text":      {ID: "1", Type: "t", ContentType: "text/plain; charset=utf-8", Body: []byte("Grüße\r\n")},
		"nanoseconds": {ID: "1", Type: "t", Time: at, Expires: at.Add(time.Hour)},
		"whole":       {ID: "1", Type: "t", Time: at.Truncate(time.Hour)},
		"no ASCII":    {ID: "é1", Type: "t", Source: "/köln", Subject: "a b%20c", Key: "schlüssel & co", CorrelationID: "\"x\"", CausationID: "%"},
		"headers": {ID: "1", Type: "t", Headers: map[string]string{"X-Mixed-Case": "a", "content-type": "mine", "empty": "", "space": " both ends ", "ünï": "no token", "tab": "a\tb",
			"dataschema": "https://example.com/s", "knownext": "1", "dataref": "https://example.com/elsewhere"}},
	}
}

// What is signed is verified whatever the carrier and the mode.
func TestSignaturesSurviveEveryBinding(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "orders"), verifier(t, nil, "orders", shopKey())
	bindings := map[string]*cloudevents.Binding{"NATS": cloudevents.NATS(), "HTTP": cloudevents.HTTP(), "Kafka": cloudevents.Kafka(), "AMQP": cloudevents.AMQP()}
	for name, env := range odd() {
		delete(env.Headers, "ünï") // which no publisher takes
		if err := s.Sign(env); err != nil {
			t.Fatal(err)
		}
		check := func(way string, got *sixfold.Envelope, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
			} else if issuer, err := v.Verify(got); err != nil || issuer != "shop" {
				t.Errorf("%s, %s: %q, %v: %+v %v", name, way, issuer, err, *got, got.Headers)
			}
		}
		data, err := cloudevents.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		var asAttribute map[string]any
		if err := json.Unmarshal(data, &asAttribute); err != nil || asAttribute[signature.Header] == nil {
			t.Errorf("%s: the signature is no attribute of %s (%v)", name, data, err)
		}
		got, err := cloudevents.Unmarshal(data)
		check("structured", got, err)
		for way, b := range bindings {
			headers, err := b.AppendHeaders(nil, env)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			each := func(yield func(string, string) bool) {
				for _, h := range headers {
					found = found || strings.HasSuffix(h.Name, signature.Header)
					if !yield(h.Name, h.Value) {
						return
					}
				}
			}
			var got sixfold.Envelope
			err = b.Read(&got, each, env.Body)
			check(way, &got, err)
			if !found {
				t.Errorf("%s, %s: the signature is no attribute of its own: %v", name, way, headers)
			}
			outer := func(yield func(string, string) bool) { yield("content-type", cloudevents.ContentType) }
			err = b.Read(&got, outer, data)
			check(way+", structured", &got, err)
		}
	}
}

// A header that comes twice, in whatever form, is refused or does not hide the one that was signed.
func TestASecondSignatureChangesNothing(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "orders"), verifier(t, nil, "orders", shopKey())
	env := full()
	if err := s.Sign(env); err != nil {
		t.Fatal(err)
	}
	b := cloudevents.NATS()
	headers, err := b.AppendHeaders(nil, env)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ce-sixfoldsignature", "CE-SixfoldSignature", "sixfoldsignature", "SixfoldSignature", "Tenant", "tenant", "ce-tenant", "ce-type", "CE-ID"} {
		for _, first := range []bool{true, false} {
			all := append(headers[:len(headers):len(headers)], cloudevents.Header{Name: name, Value: "evil"})
			if first {
				all = append([]cloudevents.Header{{Name: name, Value: "evil"}}, headers...)
			}
			var got sixfold.Envelope
			err := b.Read(&got, func(yield func(string, string) bool) {
				for _, h := range all {
					if !yield(h.Name, h.Value) {
						return
					}
				}
			}, env.Body)
			if err != nil {
				continue
			}
			if _, err := v.Verify(&got); err == nil && fmt.Sprint(got.Headers) != fmt.Sprint(env.Headers) {
				t.Errorf("%s (first: %v): it is accepted with the headers %v", name, first, got.Headers)
			}
		}
	}
}
