package request

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

// whole is a packet with every attribute and header that a plain frame can have.
func whole() *Packet {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	return &Packet{Protocol: "request/1", Request: "r1", Timeout: "5000", Status: "ok", Versions: "1", Number: "64", Signature: "1:k:1:s:r1",
		Envelope: sixfold.Envelope{ID: "r1", Source: "shop", Type: "text.length", Subject: "s", Key: "k", Time: at, Expires: at.Add(time.Second), ContentType: "application/json",
			CorrelationID: "r1", CausationID: "c0", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ReplyTo: "answers", Sequence: "7/42", Body: []byte("{}")}}
}

// The quick way is taken, and says what the other one does.
func TestPlainFrames(t *testing.T) {
	for name, change := range map[string]func(p *Packet){
		"everything":      func(*Packet) {},
		"of another id":   func(p *Packet) { p.Request = "r2" },
		"no source":       func(p *Packet) { p.Envelope.Source = "" },
		"whole seconds":   func(p *Packet) { p.Envelope.Time = p.Envelope.Time.Truncate(time.Second) },
		"nanoseconds":     func(p *Packet) { p.Envelope.Time = p.Envelope.Time.Add(1) },
		"a far time":      func(p *Packet) { p.Envelope.Time = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC) },
		"elsewhere":       func(p *Packet) { p.Envelope.Time = p.Envelope.Time.In(time.FixedZone("", 3600)) },
		"another content": func(p *Packet) { p.Envelope.ContentType = "application/vnd.x+protobuf" },
		"the least": func(p *Packet) {
			*p = Packet{Protocol: replyV1, Request: "r1", Envelope: sixfold.Envelope{ID: "a", Type: "t", Body: []byte("1")}}
		},
		"a cancellation": func(p *Packet) { *p = Packet{Protocol: cancelV1, Request: "r1"} },
		"credit":         func(p *Packet) { *p = Packet{Protocol: creditV1, Request: "r1", Number: "9"} },
	} {
		p := whole()
		change(p)
		quick, ok := p.appendPlain([]byte("before"))
		slow, err := p.appendFrame([]byte("before"))
		if !ok || err != nil || !bytes.Equal(quick, slow) {
			t.Errorf("%s: %v, %v,\n%q, not\n%q", name, ok, err, quick, slow)
			continue
		}
		data := slow[len("before"):]
		var q Packet
		if !q.readPlain(data) {
			t.Errorf("%s: %q is not plain", name, data)
		}
		q.Framed = true
		if want := readFrame(data); !reflect.DeepEqual(&q, want) || want.Damaged != nil {
			t.Errorf("%s: %q became\n%+v, not\n%+v", name, data, q, want)
		}
	}
}

// What is not plain goes the other way.
func TestUnusualFrames(t *testing.T) {
	for name, change := range map[string]func(p *Packet){
		"headers of the user": func(p *Packet) { p.Envelope.Headers = map[string]string{"a": "b"} },
		"no body":             func(p *Packet) { p.Envelope.Body = nil },
		"a space":             func(p *Packet) { p.Envelope.Subject = "a b" },
		"a percent":           func(p *Packet) { p.Envelope.Key = "50%" },
		"a quote":             func(p *Packet) { p.Envelope.ReplyTo = `"` },
		"an umlaut":           func(p *Packet) { p.Envelope.Source = "käse" },
		"an end of line":      func(p *Packet) { p.Versions = "1\r\nsixfold-status: ok" },
		"no id":               func(p *Packet) { p.Envelope.ID = "" },
		"an odd id":           func(p *Packet) { p.Request, p.Envelope.ID = "50%", "50%" },
		"a long one":          func(p *Packet) { p.Envelope.CorrelationID = strings.Repeat("x", 256) },
		"parameters":          func(p *Packet) { p.Envelope.ContentType = "text/plain;charset=utf-8" },
		"no media type":       func(p *Packet) { p.Envelope.ContentType = "json" },
		"no trace":            func(p *Packet) { p.Envelope.TraceParent = "00-0-0-0" },
		"a trace state":       func(p *Packet) { p.Envelope.TraceState = "a=b" },
		"an old time":         func(p *Packet) { p.Envelope.Expires = time.Date(999, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a late time":         func(p *Packet) { p.Envelope.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		p := whole()
		change(p)
		if got, ok := p.appendPlain([]byte("before")); ok || string(got) != "before" {
			t.Errorf("%s: %q", name, got)
		}
	}
	data, ok := whole().appendPlain(nil)
	if !ok {
		t.Fatal("it is not plain")
	}
	good := string(data)
	for _, change := range [][2]string{{"ce-source: shop\r\n", ""}, {"ce-type: text.length\r\n", ""}, {"ce-type", "CE-Type"}, {"ce-subject", "ce-mine"}, {"sixfold-status: ok", "sixfold-status: "},
		{"ce-subject: s", "ce-source: s"}, {"sixfold-number", "sixfold-status"}, {"ce-subject: s", "ce-time: 2026-01-02T03:04:05Z"}, {"05.6789Z", "05.Z"}, {"05.6789Z", "05.1234567890Z"}, {"05.6789Z", "60Z"}, {"05.6789Z", "05+00:00"},
		{"2026-01-02", "2026-02-29"}, {"2026-01-02", "2026-1--02"}, {"T03", "T24"}, {"ok\r\n", "ok\n"}, {"ok\r\n", "ok\r\r\n"}, {"ce-subject: s", "ce-subject"}, {": s\r\n", ": \ts\r\n"}, {"ce-subject: s", "ce-specversion: 1.0"}, {"00-4bf", "01-4bf"}, {"00-4bf", "00-4Bf"}} {
		odd := strings.Replace(good, change[0], change[1], 1)
		if odd == good || new(Packet).readPlain([]byte(odd)) {
			t.Errorf("%q is plain", odd)
		}
	}
}

// FuzzPlainFrame reads and writes both ways: where the quick one answers, the other one answers the same.
func FuzzPlainFrame(f *testing.F) {
	good, _ := whole().appendPlain(nil)
	f.Add(good)
	for _, change := range [][2]string{{"shop", "sixfold:unnamed"}, {"shop", "a%41"}, {"ce-", "CE-"}, {".6789", ""}, {"request/1", "cancel/1"}, {"application/json", "application/cloudevents+json"}, {"application/json", "a/b/c"}, {"\r\nsixfold-request", "\r\nce-id: e1\r\nsixfold-request"},
		{"2026-01-02", "0000-02-29"}, {"{}", ""}, {": ", ":"}, {"\r\n", "\n"}, {"answers", strings.Repeat("x", 256)}} {
		f.Add(bytes.ReplaceAll(good, []byte(change[0]), []byte(change[1])))
	}
	f.Add([]byte("SIXFOLD/1.0\r\nsixfold-protocol: cancel/1\r\nsixfold-request: r1\r\n\r\nbody"))
	f.Add([]byte("SIXFOLD/1.0\r\nsixfold-protocol: reply/1\r\nsixfold-request: r1\r\n\r\n"))
	f.Add([]byte("SIXFOLD/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := readFrame(data)
		var p Packet
		if IsFrame(data) && p.readPlain(data) {
			if p.Framed = true; !reflect.DeepEqual(&p, want) {
				t.Fatalf("%q became\n%+v, not\n%+v, %v", data, p, *want, want.Damaged)
			}
		}
		quick, ok := want.appendPlain(nil)
		if !ok {
			return
		}
		if slow, err := want.appendFrame(nil); err != nil || !bytes.Equal(quick, slow) {
			t.Fatalf("%+v became\n%q, not\n%q, %v", *want, quick, slow, err)
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	p := whole()
	data, _ := p.AppendFrame(nil)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ReadFrame(data).release()
		}
	})
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data, _ = p.AppendFrame(data[:0])
		}
	})
}
