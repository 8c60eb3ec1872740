package request_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// asked is a request as a client writes it.
func asked() request.Packet {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	return request.Packet{Protocol: "request/1", Request: "r1", Timeout: "5000", Envelope: sixfold.Envelope{ID: "r1", Source: "shop", Type: "text.length",
		Time: at, Expires: at.Add(time.Second), ContentType: "application/json", CorrelationID: "c1", Headers: map[string]string{"tenant": "blue", "X-City": "Köln"}, Body: []byte("{}")}}
}

// guarantees: Q4
func TestFrame(t *testing.T) {
	p := asked()
	data, err := p.AppendFrame([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "SIXFOLD/1.0\r\nce-source: shop\r\nce-type: text.length\r\nce-time: 2026-01-02T03:04:05.000006Z\r\nce-datacontenttype: application/json\r\n" +
		"ce-correlationid: c1\r\nce-expirytime: 2026-01-02T03:04:06.000006Z\r\ntenant: blue\r\nce-sixfoldheaders: X-City=K%25C3%25B6ln\r\n" +
		"sixfold-protocol: request/1\r\nsixfold-request: r1\r\nsixfold-timeout: 5000\r\n\r\n{}"
	if got, ok := strings.CutPrefix(string(data), "before"); !ok || got != want {
		t.Errorf("it is\n%q, not\n%q", got, want)
	}
	for name, change := range map[string]func(p *request.Packet){
		"a request":            func(*request.Packet) {},
		"of another id":        func(p *request.Packet) { p.Request, p.Number = "r2", "64" },
		"an id to be encoded":  func(p *request.Packet) { p.Request, p.Envelope.ID = "50%", "50%" },
		"an empty body":        func(p *request.Packet) { p.Envelope.Body = []byte{} },
		"no body":              func(p *request.Packet) { p.Envelope.Body = nil },
		"ends of lines inside": func(p *request.Packet) { p.Envelope.Body = []byte("\r\n\r\nSIXFOLD/1.0\r\n") },
		"a colon in a value":   func(p *request.Packet) { p.Envelope.Subject = "a: b" },
		"a fault": func(p *request.Packet) {
			*p = request.Packet{Protocol: "reply/2", Request: "r1", Status: "unsupported", Versions: "1", Signature: "1:k:1:s:r1", Envelope: sixfold.Envelope{ID: "a", Source: "shop", Type: request.FaultType}}
		},
		"a cancellation": func(p *request.Packet) { *p = request.Packet{Protocol: "cancel/1", Request: "r1"} },
	} {
		p := asked()
		change(&p)
		data, err := p.AppendFrame(nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := request.ReadFrame(data)
		if !got.Framed || got.Damaged != nil {
			t.Errorf("%s: %v", name, got.Damaged)
		}
		got.Framed = false
		if !reflect.DeepEqual(*got, p) {
			t.Errorf("%s: %q became\n%+v, not\n%+v", name, data, *got, p)
		}
	}
}

// What cannot be a line is not written, and dst stays as it was.
func TestFrameRefuses(t *testing.T) {
	for name, change := range map[string]func(p *request.Packet){
		"an end of line in an id":    func(p *request.Packet) { p.Request = "r1\r\nsixfold-status: ok" },
		"an end of line in versions": func(p *request.Packet) { p.Versions = "1\n" },
		"no id":                      func(p *request.Packet) { p.Envelope.ID = "" },
	} {
		p := asked()
		change(&p)
		if data, err := p.AppendFrame([]byte("before")); !errors.Is(err, sixfold.ErrInvalid) || string(data) != "before" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// What was cut off or spoilt is damaged, or says nothing that anybody would answer.
func TestSpoiltFrames(t *testing.T) {
	p := asked()
	data, err := p.AppendFrame(nil)
	if err != nil {
		t.Fatal(err)
	}
	head := len(data) - len(p.Envelope.Body)
	for n := range head {
		if got := request.ReadFrame(data[:n:n]); got.Damaged == nil || got.Protocol != "" {
			t.Errorf("cut off behind %d bytes: %+v", n, got)
		}
	}
	good := string(data)
	for name, c := range map[string]struct{ old, new, protocol string }{
		"another mark":      {"SIXFOLD/1.0", "SIXFOLD/2.0", ""},
		"no colon":          {"tenant: blue", "tenant blue", "request/1"},
		"another event":     {"ce-source", "ce-specversion: 0.3\r\nce-source", "request/1"},
		"no source":         {"ce-source: shop\r\n", "", "request/1"},
		"a bare line":       {"ce-type: text.length\r\n", "ce-type: text.length\n", "request/1"},
		"an attribute more": {"ce-source", "ce-type: other\r\nce-source", "request/1"},
	} {
		if got := request.ReadFrame([]byte(strings.Replace(good, c.old, c.new, 1))); got.Damaged == nil || got.Protocol != c.protocol {
			t.Errorf("%s: protocol %q, %v", name, got.Protocol, got.Damaged)
		}
	}
	// Of a header of the protocol that comes twice the first counts, in either case, with or without spaces behind the colon.
	twice := strings.Replace(good, "sixfold-request: r1", "SIXFOLD-Request:r3\r\nsixfold-request: r1", 1)
	if got := request.ReadFrame([]byte(twice)); got.Damaged != nil || got.Request != "r3" || got.Envelope.ID != "r3" {
		t.Errorf("%+v, %v", got, got.Damaged)
	}
}

// FuzzFrame reads whatever comes: what can be written again reads back the same.
func FuzzFrame(f *testing.F) {
	p := asked()
	good, err := p.AppendFrame(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("SIXFOLD/1.0\r\nsixfold-protocol: cancel/1\r\nsixfold-request: r1\r\n\r\n"))
	f.Add([]byte("SIXFOLD/1.0\r\n\r\n"))
	f.Add([]byte("SIXFOLD/1.0\r\ncontent-type: application/cloudevents+json\r\nsixfold-protocol: reply/1\r\n\r\n" + structured))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := request.ReadFrame(data)
		if !request.IsFrame(data) && p.Protocol != "" {
			t.Fatalf("%q is no frame, and says %q", data, p.Protocol)
		}
		again, err := p.AppendFrame(nil)
		if err != nil || p.Damaged != nil {
			return
		}
		q := request.ReadFrame(again)
		p.Framed, q.Framed = false, false
		if len(p.Envelope.Headers) == 0 {
			p.Envelope.Headers = nil
		}
		if p.Envelope.Type == "" { // there is nothing that would say so
			return
		}
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("%q became %q:\n%+v\n%+v, %v", data, again, p, q, q.Damaged)
		}
	})
}
