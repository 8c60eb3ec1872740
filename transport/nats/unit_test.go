package nats

import (
	"errors"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// [NoSecretAnywhere]
func TestBadAddressesAreNotShown(t *testing.T) {
	for address, part := range map[string]string{
		"":                                 "it is empty",
		" , ":                              "it is empty",
		"nats://user:hunter2@host:54x2":    "no URL",
		"nats://user:hun/ter2@host:4222":   "",
		"amqp://user:hunter2@host:4222":    "the scheme \"amqp\"",
		"nats://user:hunter2@":             "no host",
		"nats://a:1,amqp://user:hunter2@b": "the scheme",
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

func TestBadOptionsAreAllNamed(t *testing.T) {
	_, err := New("nats://127.0.0.1", &Options{Lanes: 65, Replicas: -1, MaxBody: -1, Dedup: -1, AckWait: time.Millisecond, Lease: -1, AckTimeout: -1,
		Bucket: "a.b", Domain: "hub", APIPrefix: "x", Topics: []string{"a b", "a..b"}, Nats: []natsgo.Option{nil, natsgo.RootCAs("missing.pem")}})
	for _, part := range []string{"Lanes", "Replicas", "MaxBody", "Dedup", "AckWait", "Lease", "AckTimeout", "Bucket", "Domain", `"a b"`, `"a..b"`, "Nats", "missing.pem"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if _, err := NewConn(nil, nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("no connection: %v", err)
	}
}

func TestNamesAreDifferent(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"orders", "orders.placed", "orders_placed", "orders-placed", "orders/placed", strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", 130), "", "ä", "ü"} {
		name := token(s)
		if before, there := seen[name]; there {
			t.Errorf("%q and %q share the name %s", before, s, name)
		}
		seen[name] = s
		if strings.ContainsAny(name, ". */\\>~") || len(name) > 140 || name == "" {
			t.Errorf("%q became %q", s, name)
		}
	}
	if token("orders") != "orders" {
		t.Error("a plain name is changed")
	}
}

func TestParseAck(t *testing.T) {
	for subject, want := range map[string]ackSubject{
		"$JS.ACK.orders.g~3~1.2.47.12.1700000000000.5":            {"orders.g~3~1", 2, 47, 12, true},
		"$JS.ACK.hub.hash.orders.g.1.9.8.1700000000000.0":         {"orders.g", 1, 9, 8, true},
		"$JS.ACK.hub.hash.orders.g.1.9.8.1700000000000.0.random":  {"orders.g", 1, 9, 8, true},
		"$JS.ACK.orders.g.x.9.8.1700000000000.0":                  {},
		"$JS.ACK.orders.g.1.9":                                    {},
		"_INBOX.abc":                                              {},
		"$JS.ACK." + strings.Repeat("a.", 20) + "b":               {},
		"$JS.ACK.orders.g.1.0.8.1700000000000.0":                  {},
		"$JS.ACK.orders.g.1.9.8.1700000000000.0.2.3.4.5.6.7.8.9.": {},
	} {
		got := parseAck(subject)
		if got.wellFormed != want.wellFormed || want.wellFormed && got != want {
			t.Errorf("%s: %+v", subject, got)
		}
	}
}

func TestConfirms(t *testing.T) {
	for data, want := range map[string]error{
		`{"stream":"s","seq":1}`:                  nil,
		`{"stream":"s","seq":1,"duplicate":true}`: nil,
		`{"domain":"d","stream":"s","seq":1}`:     nil,
		`{"type":"x", "stream":"s", "seq": 12}`:   nil,
		`{"stream":"s"}`:                          bus.ErrUnavailable,
		`nonsense`:                                bus.ErrUnavailable,
		``:                                        bus.ErrUnavailable,
		`{"error":{"code":400,"err_code":10054}}`: bus.ErrTooLarge,
		`{"error":{"code":503,"err_code":10077}}`: bus.ErrUnavailable,
		`{"error":{"code":429,"err_code":10167}}`: bus.ErrUnavailable,
		`{"error":{"code":400,"err_code":10060}}`: bus.ErrRefused,
		`{"stream":"s","seq":1,"error":{"code":400,"err_code":10060}}`: bus.ErrRefused,
	} {
		if err := confirmOf(&natsgo.Msg{Data: []byte(data)}); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", data, err, want)
		}
	}
	if err := confirmOf(&natsgo.Msg{Header: natsgo.Header{"Status": {"503"}}}); !errors.Is(err, bus.ErrUnroutable) {
		t.Errorf("no responders: %v", err)
	}
}

func TestRouteTo(t *testing.T) {
	lanes := map[string]string{metaLanes: "4"}
	ours := map[string]string{metaLanes: "4", metaTopic: "orders"}
	for _, test := range []struct {
		topic string
		laned bool
		meta  map[string]string
		want  int // subjects; 0: no route
	}{
		{"orders", true, ours, 4}, {"orders", true, lanes, 4}, {"orders", true, nil, 0}, {"orders", true, map[string]string{metaLanes: "x"}, 0},
		{"orders", true, map[string]string{metaLanes: "4", metaTopic: "other"}, 0}, {"orders.3", false, ours, 0}, {"orders", false, nil, 1},
	} {
		r := routeTo(test.topic, test.laned, jetstream.StreamConfig{Name: "S", Metadata: test.meta})
		if n := 0; r != nil {
			n = len(r.subjects)
			if n != test.want {
				t.Errorf("%+v: %d subjects", test, n)
			}
		} else if test.want != 0 {
			t.Errorf("%+v: no route", test)
		}
	}
	for why, c := range map[string]jetstream.StreamConfig{
		"":           {Discard: jetstream.DiscardNew},
		"replicated": {Replicas: 3},
		"discards":   {Discard: jetstream.DiscardNew, MaxBytes: 1},
		"not ackn":   {NoAck: true},
		"before":     {PersistMode: jetstream.AsyncPersistMode},
	} {
		if got := unsafeFor(c); !strings.Contains(got, why) || why == "" && got != "" {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Where a lane stands when it is given back.
func TestLaneGivenBack(t *testing.T) {
	s := &source{kind: laned, max: 10, parts: []*part{{}}, laneCount: 1}
	f := &feed{s: s, floor: 3, lease: lease{Owner: "me", Epoch: 7, At: 7, Floor: 3, Done: []uint64{5}}, done: map[uint64]struct{}{5: {}}, mark: 6}
	for i, seq := range []uint64{4, 5, 6, 8, 9} {
		if !f.add(&held{f: f, seq: seq}, ackSubject{consumed: uint64(i + 1)}) {
			t.Fatal("refused")
		}
	}
	ds := f.hand(3, time.Now(), nil)
	if len(ds) != 3 || !ds[0].Redelivered || !ds[1].Redelivered || ds[2].Redelivered { // 4 6 8
		t.Fatalf("handed out %d", len(ds))
	}
	s.settleOne(ds[2].Token.(*held), false, nil)
	s.settleOne(ds[1].Token.(*held), true, nil)
	l := f.close()
	if l.Owner != "" || !l.Clean || l.Floor != 3 || l.Mark != 8 || len(l.Done) != 2 || l.Done[0] != 5 || l.Done[1] != 8 {
		t.Errorf("the lease says %+v", l)
	}
	if s.held != 0 || s.buffered != 0 || s.waiting != 0 {
		t.Errorf("left: %d held, %d buffered, %d bytes", s.held, s.buffered, s.waiting)
	}
	if f.add(&held{f: f, seq: 12}, ackSubject{consumed: 9}) {
		t.Error("a gap was not noticed")
	}
}

func TestShares(t *testing.T) {
	for members := 1; members <= 20; members++ {
		total := 0
		names := map[string]*peer{}
		for i := range members {
			names[string(rune('a'+i))] = &peer{}
		}
		for id := range names {
			p := &party{me: id, members: names, leases: make([]leaseAt, 16)}
			quota, first := p.share()
			if quota < 16/members || quota > 16/members+1 || first < 0 || first >= 16 {
				t.Errorf("%d members: %d from %d", members, quota, first)
			}
			total += quota
		}
		if total != 16 {
			t.Errorf("%d members share %d lanes", members, total)
		}
	}
	if quota, _ := (&party{me: "x", members: map[string]*peer{"a": {}}, leases: make([]leaseAt, 16)}).share(); quota != 0 {
		t.Error("who is no member has a share")
	}
}
