package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// [NoSecretAnywhere]
func TestBadAddressesAreNotShown(t *testing.T) {
	for address, part := range map[string]string{
		"":                                      "it is empty",
		"kafka://user:hunter2@host:54x2":        "a port is no number",
		"kafka://user:hunter2@host:99999":       "a port is no number",
		"kafka://user:hun/ter2@host:9092":       "as it is",
		"kafka://user:hun@ter2@host:9092":       "unencrypted",
		"amqp://user:hunter2@host:9092":         "the scheme \"amqp\"",
		"kafka://user:hunter2@":                 "there is no host",
		"kafka://user:hunter2@::1":              "brackets",
		"kafka://a:1,user:hunter2@b:c:1":        "",
		"kafka://u:hunter2@127.0.0.1?sasl=ntlm": "SASL mechanism",
		"kafka://u:hunter2@127.0.0.1?ssl=1":     "the parameter \"ssl\"",
		"kafka://127.0.0.1?sasl=plain":          "has no user",
		"kafka://127.0.0.1?tls=perhaps":         "neither true nor false",
		"kafka://u:hunter2@kafka.example:9092":  "unencrypted", // [TLS downgraded]
	} {
		_, err := New(address, nil)
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v", address, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2")) {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]struct {
		seeds string
		tls   bool
		login string
	}{
		"kafka://a:1,b,[::1]:3":                                {"[a:1 b:9092 [::1]:3]", false, ""},
		"a:1, b:2":                                             {"[a:1 b:2]", false, ""},
		"kafkas://u:p%40%2F@a:1,b:2/":                          {"[a:1 b:2]", true, "PLAIN"},
		"kafka://u:p@a:1?tls=true&sasl=SCRAM-SHA-512":          {"[a:1]", true, "SCRAM-SHA-512"},
		"kafka://u:p@127.0.0.1:1?sasl=scram-sha-256&tls=false": {"[127.0.0.1:1]", false, "SCRAM-SHA-256"},
	} {
		a, err := parseAddress(address)
		login := ""
		if a.login != nil {
			login = a.login.Name()
		}
		if err != nil || fmt.Sprint(a.seeds) != want.seeds || a.tls != want.tls || login != want.login {
			t.Errorf("%s: %v %v %s %v", address, a.seeds, a.tls, login, err)
		}
	}
	a, err := New("kafka://user:hunter2@127.0.0.1:9092", nil)
	if err != nil || strings.Contains(fmt.Sprintf("%v %#v %s", a, a, a), "hunter2") {
		t.Errorf("%v, %v", a, err)
	}
	for _, o := range []*Options{{AllowPlaintext: true}, {TLS: nil, SASL: plain.Auth{User: "u", Pass: "p"}.AsMechanism(), AllowPlaintext: true}} {
		if _, err := New("kafka://user:hunter2@kafka.example:9092", o); err != nil {
			t.Error(err)
		}
	}
	token := func(context.Context) (string, error) { return "secret", nil }
	if _, err := New("kafka://kafka.example:9092", &Options{Token: token}); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("a token unencrypted to another host: %v", err)
	}
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	_, err := New("kafka://127.0.0.1", &Options{Partitions: -1, Replication: 2000, MaxBody: -1, AckTimeout: -1, SessionTimeout: 1, DrainTimeout: 48 * time.Hour,
		Topics: []string{"a b", "..", "ä"}, Client: []kgo.Opt{nil}, SASL: plain.Auth{}.AsMechanism(), Token: func(context.Context) (string, error) { return "", nil }})
	for _, part := range []string{"Partitions", "Replication", "MaxBody", "AckTimeout", "SessionTimeout", "DrainTimeout", `"a b"`, `".."`, `"ä"`, "Client", "Token"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if _, err := NewClient(nil, nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("no client: %v", err)
	}
	for _, opt := range [][]kgo.Opt{{kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t")}, {kgo.ConsumeTopics("t")}, {kgo.TransactionalID("x")}} {
		c, err := kgo.NewClient(append(opt, kgo.SeedBrokers("127.0.0.1:1"))...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(c, nil); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("a client that is not plain: %v", err)
		}
		c.CloseAllowingRebalance()
	}
}

func TestTopology(t *testing.T) {
	_, err := NewTopology(Topic{Name: "a b"}, Topic{Name: "t", Partitions: -1, Replication: -1, Config: map[string]string{"": "x"}}, Topic{Name: "t"})
	for _, part := range []string{`"a b"`, "partitions", "copies", "property", "twice"} {
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	config := map[string]string{"retention.ms": "1"}
	top, err := NewTopology(Topic{Name: "t", Config: config})
	config["retention.ms"] = "2"
	if err != nil || top.Topics()[0].Config["retention.ms"] != "1" {
		t.Errorf("%v, %v", top, err)
	}
}

// A batch is what the client's own parser reads.
func TestBatchOnTheWire(t *testing.T) {
	for _, codecs := range [][]kgo.CompressionCodec{{kgo.NoCompression()}, {kgo.SnappyCompression()}, {kgo.ZstdCompression()}} {
		c, err := kgo.DefaultCompressor(codecs...)
		if err != nil {
			t.Fatal(err)
		}
		b := &batch{}
		e := encoder{binding: cloudevents.Kafka()}
		for i := range 100 {
			o := bus.Outgoing{Envelope: &sixfold.Envelope{ID: fmt.Sprint(i), Source: "s", Type: "t", Key: "k", Body: bytes.Repeat([]byte("x"), i), Headers: map[string]string{"a": "b"}}}
			rest, err := e.encode(&o)
			if err != nil {
				t.Fatal(err)
			}
			b.add(rest, 1_700_000_000_000+int64(i), slot{})
		}
		var out bytes.Buffer
		wire := b.seal(c, &out, 7, 3, 42)
		var got kmsg.RecordBatch
		if err := got.ReadFrom(wire); err != nil {
			t.Fatal(err)
		}
		if int(got.Length) != len(wire)-12 || got.ProducerID != 7 || got.ProducerEpoch != 3 || got.FirstSequence != 42 || got.NumRecords != 100 || got.LastOffsetDelta != 99 ||
			got.MaxTimestamp-got.FirstTimestamp != 99 || uint32(got.CRC) != crc32.Checksum(wire[21:], castagnoli) {
			t.Errorf("%+v", got)
		}
		raw := got.Records
		if codec := got.Attributes & 7; codec != 0 {
			if raw, err = kgo.DefaultDecompressor().Decompress(raw, kgo.CompressionCodecType(codec)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			var r kmsg.Record
			if err := r.ReadFrom(raw); err != nil {
				t.Fatal(err)
			}
			if int(r.OffsetDelta) != i || r.TimestampDelta64 != int64(i) || string(r.Key) != "k" || len(r.Value) != i {
				t.Fatalf("record %d: %+v", i, r)
			}
			raw = raw[int(r.Length)+lengthOf(r.Length):]
		}
	}
}

func lengthOf(n int32) int {
	u, size := uint32(n)<<1, 1
	for ; u >= 0x80; u >>= 7 {
		size++
	}
	return size
}

// Behind a batch that the broker has refused nothing of its partition goes out, not even between its answer and the end of the pipe: a broker that
// knows nothing of the producer would take it. [PrefixAfterFailure] guarantees: R4
func TestNothingFollowsWhatWasRefused(t *testing.T) {
	cl, err := kgo.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{t: &Transport{}, cl: cl, guard: newGuard(nil), stop: func() {}, gone: make(chan struct{}), done: make(chan struct{}),
		stale: map[string]bool{}, live: map[*batch]struct{}{}}
	l := &line{s: s, poke: make(chan struct{}, 1), wrote: make(chan struct{}, 1)}
	p := &partition{topic: "topic", line: l}
	for code, want := range map[int16]bool{kerr.NotEnoughReplicas.Code: false, 0: true} {
		p.open = &batch{part: p}
		b, sequence := p.next()
		p.open = &batch{part: p}
		answer := kmsg.NewProduceResponseTopicPartition()
		answer.ErrorCode = code
		s.cause, p.proven, p.inFlight, s.gone = nil, false, 1, make(chan struct{})
		s.done = make(chan struct{})
		l.answered([]sent{{b, sequence}}, &kmsg.ProduceResponse{Topics: []kmsg.ProduceResponseTopic{{Topic: "topic", Partitions: []kmsg.ProduceResponseTopicPartition{answer}}}}, nil)
		if got := p.may(); got != want {
			t.Errorf("after code %d the next batch may go: %v", code, got)
		}
		if (s.cause == nil) != want {
			t.Errorf("after code %d the pipe ended because of %v", code, s.cause)
		}
		if s.cause != nil {
			<-s.done
		}
	}
}

func TestMarks(t *testing.T) {
	for _, m := range []mark{{handed: 10}, {handed: 25, done: []span{{12, 12}, {14, 20}, {22, 22}}}} {
		got, ok := parseMark(m.text(10), 10)
		if !ok || !reflect.DeepEqual(got, m) {
			t.Errorf("%q became %+v", m.text(10), got)
		}
	}
	many := mark{handed: 100_000}
	for i := int64(1); i < 10_000; i++ {
		many.done = append(many.done, span{10 * i, 10*i + 3})
	}
	text := many.text(0)
	got, ok := parseMark(text, 0)
	if !ok || len(text) > 4000 || len(got.done) < 500 || !reflect.DeepEqual(got.done, many.done[:len(got.done)]) {
		t.Errorf("%d bytes, %d runs", len(text), len(got.done))
	}
	for _, bad := range []string{"", "x", markVersion, markVersion + " x", markVersion + " -1", markVersion + " 1 -2", markVersion + " 1 2+x", "other 1", strings.Repeat("9", 10_000),
		markVersion + " 99999999999999999999"} {
		if _, ok := parseMark(bad, 0); ok {
			t.Errorf("%.40q is a mark", bad)
		}
	}
}

// Where a partition stands when it is given back, and what the next owner makes of it. [CommitsHaveNoGaps]
func TestPartitionGivenBack(t *testing.T) {
	s := &source{max: 100}
	f := s.newFeed("t", 0)
	f.learn(3, mark{handed: 6, done: []span{{5, 5}}}.text(3))
	f.reserved = 1000
	for _, offset := range []int64{3, 4, 5, 6, 8, 9, 10} { // 7 is none, as in a compacted topic
		f.add(&held{}, offset, 11)
	}
	ds := f.hand(5, nil)
	var got []string
	for _, d := range ds {
		got = append(got, fmt.Sprint(d.Token.(*held).r.offset, d.Redelivered))
	}
	if fmt.Sprint(got) != "[3 true 4 true 6 false 8 false 9 false]" {
		t.Fatalf("handed out %v", got)
	}
	end := func(i int) {
		h := ds[i].Token.(*held)
		f.drop(h)
		f.settled(h)
	}
	end(2)
	end(3)
	if f.floor() != 3 {
		t.Errorf("the floor is %d", f.floor())
	}
	end(0)
	h := ds[1].Token.(*held)
	f.drop(h)
	f.putBack(h)
	if f.floor() != 4 || f.suspects(4) != 10 {
		t.Errorf("the floor is %d, suspect is what is below %d", f.floor(), f.suspects(4))
	}
	m, ok := parseMark(mark{handed: f.suspects(4), done: f.doneAbove()}.text(4), 4)
	if !ok || m.handed != 10 || fmt.Sprint(m.done) != "[{5 8}]" {
		t.Errorf("given back is %+v", m)
	}
	if s.held != 1 || s.buffered != 1 {
		t.Errorf("%d held, %d buffered", s.held, s.buffered)
	}
	again := f.hand(1, nil)[0]
	if again.Token.(*held).r.offset != 4 || !again.Redelivered {
		t.Errorf("released came %v", again.Token)
	}
	f.end()
	if s.held != 0 || s.buffered != 0 || f.owned.Err() == nil {
		t.Errorf("left: %d held, %d buffered", s.held, s.buffered)
	}
}

// What somebody else has committed says nothing about who had what.
func TestForeignCommitIsSuspect(t *testing.T) {
	s := &source{max: 100}
	for metadata, want := range map[string]bool{"": true, "consumer of another kind": true, mark{handed: 5}.text(5): false} {
		f := s.newFeed("t", 0)
		f.learn(5, metadata)
		f.reserved = 100
		f.add(&held{}, 5, 7)
		f.add(&held{}, 7, 8) // came after we began
		ds := f.hand(2, nil)
		if ds[0].Redelivered != want || ds[1].Redelivered {
			t.Errorf("%q: %v %v", metadata, ds[0].Redelivered, ds[1].Redelivered)
		}
	}
}

// Nothing is handed out that a commit has not allowed: after a death nobody would know of it.
func TestHandedOutIsReserved(t *testing.T) {
	s := &source{max: 100}
	f := s.newFeed("t", 0)
	f.learn(-1, "")
	for offset := range int64(10) {
		f.add(&held{}, offset, 10)
	}
	if n := len(f.hand(10, nil)); n != 0 {
		t.Errorf("%d were handed out without a reservation", n)
	}
	f.reserved = 4
	if n := len(f.hand(10, nil)); n != 4 {
		t.Errorf("%d were handed out of 4", n)
	}
}
