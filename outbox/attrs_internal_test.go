package outbox

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

func TestPartitionOfIsTheSameForEver(t *testing.T) {
	// FNV-1a of 32 bits, computed elsewhere. guarantees: K1 [StablePartition]
	for key, want := range map[string]uint32{"": 0x811c9dc5, "a": 0xe40c292c, "foobar": 0xbf9cf968, "order-4711": 0, "ключ": 0, "\x00\xff": 0} {
		if want == 0 {
			want = 2166136261
			for _, c := range []byte(key) {
				want = (want ^ uint32(c)) * 16777619
			}
		}
		if got := PartitionOf(key); got != int16(want%64) {
			t.Errorf("%q: %d, want %d", key, got, want%64)
		}
	}
	seen := map[int16]int{}
	for range 10_000 {
		p := partitionFor("")
		if p < 0 || p >= Partitions {
			t.Fatal(p)
		}
		seen[p]++
	}
	if len(seen) != Partitions {
		t.Errorf("rows without a key went to %d partitions", len(seen))
	}
}

func fullEnvelope() *sixfold.Envelope {
	return &sixfold.Envelope{Type: "orders.placed", Source: "shop", Subject: `a "quoted" \ subject`, Time: time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC), ContentType: "application/json",
		CorrelationID: "corr\tid", CausationID: "ursache", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=1,b=2",
		Expires: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), ReplyTo: "back", Headers: map[string]string{"x": "1", "й": "\u2028<>&", "e": ""}}
}

// guarantees: O5
func TestAttrsRoundTrip(t *testing.T) {
	plain := fullEnvelope()
	plain.Subject, plain.CorrelationID = "a subject", "corr"
	plain.SetIssuer("shop")
	for name, env := range map[string]*sixfold.Envelope{
		"full": fullEnvelope(), "full and plain": plain, "least": {Type: "t"}, "escapes": {Type: "t", Subject: "\x01\x1f\"\\/\x7f"},
	} {
		for _, flags := range []Flags{{}, {MustReach: true}, {Relayed: true}, {true, true, 0}, {Epoch: 1}, {true, true, 123456789}} {
			b := EncodeAttrs(env, flags)
			if !json.Valid(b) {
				t.Fatalf("%s: %s", name, b)
			}
			var got sixfold.Envelope
			f, err := DecodeAttrs(b, &got)
			if err != nil || f != flags || !reflect.DeepEqual(&got, env) {
				t.Errorf("%s: %+v, %v from %s", name, f, err, b)
			}
			var fast sixfold.Envelope
			if _, ok := decodePlain(b, &fast); ok == bytes.ContainsRune(b, '\\') {
				t.Errorf("%s: the fast path says %v to %s", name, ok, b)
			}
		}
	}
}

func TestAttrsOfOtherWriters(t *testing.T) {
	for text, say := range map[string]string{
		`{"type":"t"}`: "", " {\n\t\"type\" : \"t\" } ": "", `{"type":"t","headers":null,"time":null,"mustreach":false,"relayed":null}`: "",
		`{"type":"t","unknown":[1,{"a":2}],"headers":{}}`: "", `{"type":"t","subject":"\u00e9\ud83d\ude00"}`: "",
		``: "unexpected end", `null`: `"type" is missing`, `{}`: `"type" is missing`, `{"type":""}`: `"type" is missing`, `[]`: "cannot unmarshal", `{"type":1}`: "cannot unmarshal",
		`{"type":"t","headers":{"a":1}}`: "cannot unmarshal", `{"type":"t"}x`: "after top-level value", "{\"type\":\"\xff\"}": "UTF-8",
		`{"type":"t","time":"yesterday"}`: `time "yesterday" is not of RFC 3339`, `{"type":"t","expirytime":"` + strings.Repeat("9", 99) + `"}`: "is not of RFC 3339",
		`{"type":"t","mustreach":"yes"}`: "cannot unmarshal", `{"type":"t","epoch":"1"}`: "cannot unmarshal", `{"type":"t","epoch":-1}`: "",
	} {
		env := sixfold.Envelope{}
		_, err := DecodeAttrs([]byte(text), &env)
		switch {
		case say == "" && (err != nil || env.Type != "t"):
			t.Errorf("%s: %v", text, err)
		case say != "" && (err == nil || !strings.Contains(err.Error(), say) || !strings.HasPrefix(err.Error(), "outbox: read attributes: ")):
			t.Errorf("%s: %v, want %q", text, err, say)
		}
	}
}

// FuzzAttrs: what the fast path takes, the slow one reads the same; neither panics.
func FuzzAttrs(f *testing.F) {
	f.Add(EncodeAttrs(fullEnvelope(), Flags{true, true, 7}))
	f.Add(EncodeAttrs(&sixfold.Envelope{Type: "t", Headers: map[string]string{"a": "b"}}, Flags{MustReach: true}))
	for _, s := range []string{`{"type":"a","type":"b"}`, `{"type":"a","headers":{"a":"1"},"headers":{"b":"2"}}`, `{"type":"a","Type":"b"}`, `{"type":"a","time":"2026-01-01T00:00:00Z","time":""}`,
		`{"type":"a","mustreach":true,"mustreach":true}`, `{"type":"a","headers":{}}`, `{"type":"a",}`, `{"type":"a"`, `{"type":"a","relayed":truee}`, `{"type":"a","epoch":01}`, `{"type":"a","epoch":1,"epoch":2}`, `{"type":"a","epoch":1234567890}`, `{"type":"a","epoch":-1}`, `{"type":"a","epoch":}`, `{"type":"a","headers":{"a":"1",}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast, slow, both sixfold.Envelope
		flags, ok := decodePlain(b, &fast)
		slowFlags, err := decodeAny(b, &slow)
		if ok && (err != nil || flags != slowFlags || !reflect.DeepEqual(fast, slow)) {
			t.Fatalf("%q: the fast path says %v %#v %v, the slow one %v %#v %v: %v", b, flags, fast, fast.Headers, slowFlags, slow, slow.Headers, err)
		}
		if f, e := DecodeAttrs(b, &both); (e == nil) != (err == nil) || e == nil && (f != slowFlags || !reflect.DeepEqual(both, slow)) {
			t.Fatalf("%q: %v %v, want %v %v", b, f, e, slowFlags, err)
		}
	})
}

func TestBell(t *testing.T) {
	var b Bell
	b.Ring(Now) // nobody hears
	rings, stop := b.Listen()
	other, _ := b.Listen()
	for _, c := range []struct {
		ring []Ring
		want Ring
	}{{[]Ring{Soon, Soon}, Soon}, {[]Ring{Soon, Now}, Now}, {[]Ring{Now, Soon}, Now}} {
		for _, r := range c.ring {
			b.Ring(r)
		}
		if got := <-rings; got != c.want {
			t.Errorf("%v: %v", c.ring, got)
		}
		select {
		case r := <-rings:
			t.Errorf("%v: %v too", c.ring, r)
		default:
		}
	}
	stop()
	b.Ring(Now)
	select {
	case <-rings:
		t.Error("a ring after stop")
	case <-other:
	}
}
