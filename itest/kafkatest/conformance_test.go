package kafkatest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// guarantees: R1, R2, R4, R5, R6, R7, K2, O5
func TestConformance(t *testing.T) {
	for _, variant := range []struct {
		name string
		o    kafka.Options
	}{
		{name: "classic groups"},
		{name: "groups of KIP-848", o: kafka.Options{ServerSide: true}},
		{name: "one partition, no compression", o: kafka.Options{Partitions: 1, Compression: []kgo.CompressionCodec{kgo.NoCompression()}}},
	} {
		t.Run(variant.name, func(t *testing.T) {
			if testing.Short() && variant.name != "classic groups" {
				t.Skip("one variant is enough for a short run")
			}
			t.Parallel() // they wait more than they work
			// Each case has brokers of its own, so that none waits for members that another has left behind.
			bustest.Run(t, bustest.Config{Quiet: 400 * time.Millisecond, Patience: time.Minute}, func(tb testing.TB) bustest.Harness {
				opts, o := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right")}, *fast(variant.o)
				if !slices.ContainsFunc(waiting, func(name string) bool { return strings.Contains(tb.Name(), name) }) {
					opts, o = append(opts, calmGroups()), *calm(variant.o)
				}
				f := newFake(tb, opts...)
				f.login = "user:right@"
				return f.harness(tb, o)
			})
		})
	}
}

// waiting are cases that wait for the end of a session, or for many members who join. The others would lose theirs where a busy machine
// stands still.
var waiting = []string{"Death", "Receive/BlocksWhileAway", "Sender/NeverRepeats", "Transport/ConcurrentUse"}

// harness gives each transport a network of its own, so that it can die alone.
func (f *fixture) harness(tb testing.TB, o kafka.Options) bustest.Harness {
	var mu sync.Mutex
	networks := map[bus.Transport]*network{}
	all := func(do func(*network)) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range networks {
			do(n)
		}
	}
	know := func(t bus.Transport, n *network) bus.Transport {
		mu.Lock()
		defer mu.Unlock()
		networks[t] = n
		return t
	}
	declarer, _ := f.connect(tb, fast(o))
	login := plain.Auth{User: "user", Pass: "right"}.AsMechanism()
	var client []kgo.Opt
	if f.login != "" {
		client = append(client, kgo.SASL(login))
	}
	raw := f.raw(tb, client...)
	return bustest.Harness{
		Connect: func(tb testing.TB) bus.Transport { return know(f.connect(tb, fast(o))) },
		NewTopic: func(tb testing.TB) string {
			topic := f.topic()
			if err := declarer.Declare(tb.Context(), topic); err != nil {
				tb.Fatal(err)
			}
			return topic
		},
		Missing: func(testing.TB) string { return "missing" },
		Cut:     func(testing.TB) { all((*network).cut) },
		Restore: func(testing.TB) { all((*network).restore) },
		Kill: func(_ testing.TB, t bus.Transport, _ bus.Source) {
			mu.Lock()
			defer mu.Unlock()
			networks[t].cut()
			delete(networks, t) // nobody restores it
		},
		Revoke: func(tb testing.TB, _ bus.Transport, _ bus.Source) { f.expel(tb, raw, o.ServerSide) },
		HoldConfirms: func(testing.TB) func() {
			var releases []func()
			all(func(n *network) { releases = append(releases, n.holdConfirms()) })
			return func() {
				for _, release := range releases {
					release()
				}
			}
		},
		Damage: func(tb testing.TB, topic string, body []byte) {
			r := &kgo.Record{Topic: topic, Value: body, Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("9")}}}
			if err := raw.ProduceSync(tb.Context(), r).FirstErr(); err != nil {
				tb.Fatal(err)
			}
		},
		Refused: f.refused(o),
		Borrowed: func(tb testing.TB) (bus.Transport, func() error) {
			n := newNetwork()
			own := f.raw(tb, append(client, kgo.Dialer(n.dial))...)
			t, err := kafka.NewClient(own, fast(o))
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { t.Close(tb.Context()) })
			return know(t, n), func() error { return own.Ping(tb.Context()) }
		},
	}
}

func (f *fixture) refused(o kafka.Options) func(tb testing.TB) bus.Transport {
	return func(tb testing.TB) bus.Transport {
		wrong := &fixture{TB: tb, seeds: f.seeds, login: "user:wrong@"}
		t, _ := wrong.connect(tb, fast(o))
		return t
	}
}

// expel removes all members of the suite's group, as an operator would.
func (f *fixture) expel(tb testing.TB, raw *kgo.Client, serverSide bool) {
	tb.Helper()
	const name = "conformance"
	if serverSide {
		f.expelByHeartbeat(tb, raw, name)
		return
	}
	groups, err := kadm.NewClient(raw).DescribeGroups(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = name
	for _, m := range groups[name].Members {
		leaving := kmsg.NewLeaveGroupRequestMember()
		leaving.MemberID = m.MemberID
		req.Members = append(req.Members, leaving)
	}
	if len(req.Members) == 0 {
		tb.Fatalf("the group %q has no members: %v", name, groups[name].Err)
	}
	if _, err := req.RequestWith(tb.Context(), raw); err != nil {
		tb.Fatal(err)
	}
}

// expelByHeartbeat leaves a group of KIP-848 in the name of its members.
func (f *fixture) expelByHeartbeat(tb testing.TB, raw *kgo.Client, name string) {
	tb.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{name}
	resp, err := req.RequestWith(tb.Context(), raw)
	if err != nil {
		tb.Fatal(err)
	}
	left := 0
	for _, g := range resp.Groups {
		for _, m := range g.Members {
			leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			leave.Group, leave.MemberID, leave.MemberEpoch = name, m.MemberID, -1
			if _, err := leave.RequestWith(tb.Context(), raw); err != nil {
				tb.Fatal(err)
			}
			left++
		}
	}
	if left == 0 {
		tb.Fatalf("the group %q has no members", name)
	}
}
