package rabbitmq

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

const canary = "canary-p4ss"

// [NoSecretAnywhere]
func TestBadAddressesAreNotShown(t *testing.T) {
	for address, says := range map[string]string{
		"":                                      "it is empty",
		" , ":                                   "it is empty",
		"http://u:" + canary + "@h":             `the scheme "http" is none of amqp and amqps`,
		"amqp://u:" + canary + "@h:54x2":        "its port is no number",
		"amqp://u:a:" + canary + "#@h":          "write amqp://",
		"amqp://u:" + canary + "/x@h":           "write amqp://",
		"amqp://u:" + canary + "@h:0":           `the port "0" is none`,
		"amqp://u:" + canary + "@h:99999":       `the port "99999" is none`,
		"amqp://u:" + canary + "@":              "there is no host",
		"amqp://u:" + canary + "%@h":            "it is no URL",
		"amqp://u:" + canary + "@::1:5672":      "without brackets",
		"amqp://h,amqp://u:" + canary + "@":     "there is no host",
		"amqp://u:" + canary + "@h?heartbeat=x": "one of its parameters",
	} {
		tr, err := New(address, nil)
		if err == nil || !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %q", strings.ReplaceAll(address, canary, "…"), strings.ReplaceAll(fmt.Sprint(tr, err), canary, "THE PASSWORD"), says)
		}
	}
	var log bytes.Buffer
	tr, err := New("amqp://u:"+canary+"@mq.example.com/v,amqps://u:"+canary+"@[::1]:1", &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "unencrypted") || !strings.Contains(log.String(), "mq.example.com:5672") {
		t.Errorf("credentials in the clear to another host: %q", log.String())
	}
	for _, text := range []string{log.String(), fmt.Sprintf("%v %+v %#v %s", tr, tr, tr, tr)} {
		if strings.Contains(text, canary) {
			t.Error("the password is shown")
		}
	}
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	_, err := New("amqp://h", &Options{AckTimeout: -1, Heartbeat: time.Millisecond, MaxBody: -1, DeliveryLimit: -1, Topics: []string{"amq.x", "a b", strings.Repeat("x", 253)},
		SASL: []amqp.Authentication{nil}, Groups: []bus.Subscription{{Topics: []string{"a"}}, {Group: "g"}}})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"AckTimeout", "Heartbeat", "MaxBody", "DeliveryLimit", `"amq.x"`, `"a b"`, "253 bytes", "SASL", "the group's name is empty", "there is no topic"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if _, err := NewConn(nil, nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("no connection: %v", err)
	}
}

func TestBadTopologiesAreAllNamed(t *testing.T) {
	_, err := NewTopology(Exchange{}, Exchange{Name: "amq.x"}, Exchange{Name: "kind", Kind: "fan"}, Exchange{Name: "twice"}, Exchange{Name: "twice"},
		Queue{Name: strings.Repeat("q", 256)}, Queue{Name: "quorum", AutoDelete: true, Args: amqp.Table{"x-max-priority": int64(3)}}, Queue{Name: "classic", Classic: true, DeliveryLimit: 3},
		Queue{Name: "limit", DeliveryLimit: -1, Args: amqp.Table{"x-queue-type": "quorum"}}, Queue{Name: "args", Args: amqp.Table{"x": struct{}{}}}, Queue{Name: "nul\x00"},
		Binding{From: "nowhere", To: "args"}, Binding{From: "twice"}, Binding{From: "twice", To: "missing"}, Binding{From: "twice", ToExchange: "missing"},
		Binding{From: "twice", To: "args", Key: strings.Repeat("k", 256)})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{`exchange "": `, "RabbitMQ's own", `its kind is "fan"`, "it is there twice", "256 bytes, the limit is 255", "neither transient nor", "no x-max-priority",
		"for quorum queues; leave it 0", "DeliveryLimit is -1", "use the field Classic", "a type that AMQP does not have", "control characters", "no exchange of the topology",
		"one of them", "To is no queue", "ToExchange is no exchange", "its key has 256 bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	topology, err := NewTopology(Binding{From: "e", To: "q"}, Queue{Name: "q"}, nil, Exchange{Name: "e"}, Exchange{Name: "amq.topic", Kind: "topic", Existing: true})
	if err != nil || len(topology.Parts()) != 4 {
		t.Errorf("%v, %v", topology, err)
	}
}

func TestNamesAreDifferent(t *testing.T) {
	seen := map[string]string{}
	long := strings.Repeat("g", 200)
	for _, c := range [][2]string{{"a", "b"}, {"a@b", "c"}, {"b@c", "a"}, {"c", "a@b"}, {"b", "a"}, {long, long}, {long + "1", long}, {"a", "amq.b"}, {"t", "ü"}, {"t", "ö"}, {"t", "a b"}} {
		name := queueName(c[0], c[1])
		if other, there := seen[name]; there || len(name) > maxShort || strings.HasPrefix(name, "amq.") {
			t.Errorf("%q is called %q, like %q", c, name, other)
		}
		seen[name] = strings.Join(c[:], " ")
	}
	if queueName("orders", "shipping") != "shipping@orders" {
		t.Error("the plain name changed: groups would lose what waits for them")
	}
}

// What a queue gives back is in order again. A model of a quorum queue plays deaths: what a consumer had goes behind what
// is being given back already. [TwoDeathsKeepOrder]
// guarantees: K2
func TestSortRun(t *testing.T) {
	for _, numbered := range []bool{true, false} {
		for seed := range uint64(500) {
			rng := rand.New(rand.NewPCG(seed, 2))
			n, next := 3+rng.IntN(20), 0
			count := make([]int64, n)
			var returned []int
			for range 1 + rng.IntN(6) { // a consumer gets some, settles none or the first, and dies
				prefetch := 1 + rng.IntN(n)
				var has []int
				for len(has) < prefetch && len(returned) > 0 {
					has, returned = append(has, returned[0]), returned[1:]
				}
				for len(has) < prefetch && len(returned) == 0 && next < n {
					has, next = append(has, next), next+1
				}
				for _, i := range has {
					count[i]++
				}
				returned = append(returned, has...)
			}
			run := make([]*held, len(returned))
			for i, at := range returned {
				run[i] = &held{again: count[at]}
				run[i].delivery.ID = strconv.Itoa(at)
				if numbered {
					run[i].again = rng.Int64N(3) // the numbers decide
					run[i].delivery.Sequence = fmt.Sprintf("%d/%d", 7, at)
				}
			}
			sortRun(run)
			for i := range run {
				if run[i].delivery.ID != strconv.Itoa(i) {
					t.Fatalf("numbered %v, seed %d: given back as %v, sorted with number %s at %d", numbered, seed, returned, run[i].delivery.ID, i)
				}
			}
		}
	}
}

// Sequences order what one partition of one source has sent, and nothing else.
func TestSortRunKeepsStrangersInPlace(t *testing.T) {
	var run []*held
	for _, s := range []string{"a 1/9", "b 1/1", "a 2/5", "a 1/3", "? x", "b 1/1", "a 2/4", "a 1/x"} {
		h := &held{}
		h.delivery.Source, h.delivery.Sequence, _ = strings.Cut(s, " ")
		run = append(run, h)
	}
	sortRun(run)
	var got []string
	for _, h := range run {
		got = append(got, h.delivery.Source+" "+h.delivery.Sequence)
	}
	if want := "a 1/3,b 1/1,a 2/4,a 1/9,? x,b 1/1,a 2/5,a 1/x"; strings.Join(got, ",") != want {
		t.Errorf("%v", got)
	}
}

// Whatever is settled in whatever order, each tag is acknowledged once, and of several at once the last is still open.
func TestTags(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		n := 1 + rng.IntN(60)
		tg := &tags{first: 1}
		pending := map[uint64]bool{} // what the node thinks
		for i := range n {
			pending[uint64(i+1)] = true
		}
		settledSoFar := map[uint64]bool{}
		tell := func(acks []ack) {
			for _, a := range acks {
				if !pending[a.tag] {
					t.Fatalf("seed %d: tag %d is not open at the node (multiple %v)", seed, a.tag, a.multiple)
				}
				for tag := range pending {
					if tag == a.tag || a.multiple && tag < a.tag {
						if !settledSoFar[tag] {
							t.Fatalf("seed %d: tag %d was acknowledged and not settled", seed, tag)
						}
						delete(pending, tag)
					}
				}
			}
		}
		for _, at := range rng.Perm(n) {
			tag := uint64(at + 1)
			settledSoFar[tag] = true
			if rng.IntN(10) == 0 { // a mark, of which the node expects nothing
				tg.skip(tag)
				delete(pending, tag)
				continue
			}
			tg.settle(tag)
			if rng.IntN(2) == 0 {
				tell(tg.raise(nil))
			}
			if rng.IntN(4) == 0 {
				tell(tg.alone(1+rng.IntN(5), nil))
			}
		}
		tell(tg.raise(nil))
		if len(pending) != 0 || tg.owed != 0 {
			t.Fatalf("seed %d: %d are left, %d owed", seed, len(pending), tg.owed)
		}
	}
}

func TestExpiration(t *testing.T) {
	for at, want := range map[time.Time]string{{}: "", time.Now().Add(-time.Hour): "0", time.Now().AddDate(1, 0, 0): ""} {
		if got := expiration(at); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}

func TestClassify(t *testing.T) {
	for text, want := range map[*amqp.Error]error{
		{Code: amqp.AccessRefused, Server: true}:                                         bus.ErrRefused,
		{Code: amqp.AccessRefused}:                                                       bus.ErrUnavailable, // the client guesses
		{Code: amqp.NotAllowed, Reason: "vhost nowhere not found", Server: true}:         bus.ErrRefused,
		{Code: amqp.NotAllowed, Reason: "connection limit (1) is reached", Server: true}: bus.ErrUnavailable,
		{Code: amqp.NotFound, Reason: "no exchange 'x' in vhost '/'", Server: true}:      bus.ErrUnroutable,
		{Code: amqp.NotFound, Reason: "home node is down", Server: true}:                 bus.ErrUnavailable,
		{Code: amqp.PreconditionFailed, Server: true}:                                    bus.ErrRefused,
		{Code: amqp.ConnectionForced, Server: true}:                                      bus.ErrUnavailable,
	} {
		if got := classify(fmt.Errorf("wrapped: %w", text)); !errors.Is(got, want) {
			t.Errorf("%v is %v, want %v", text, got, want)
		}
	}
}
