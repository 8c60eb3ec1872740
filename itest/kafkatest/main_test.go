// Package kafkatest tests package transport/kafka on fake brokers in the process, and on a real one where there is one.
package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

func TestMain(m *testing.M) { servers.Main(m) }

// fixture is a cluster, and what the tests do with it.
type fixture struct {
	testing.TB
	seeds  string
	fake   *kfake.Cluster // nil: real brokers
	login  string         // "user:password@"
	topics atomic.Int64
	name   string
}

// newFake starts brokers for one test.
func newFake(tb testing.TB, opts ...kfake.Opt) *fixture {
	tb.Helper()
	if testing.Short() {
		tb.Skip("-short: without Kafka")
	}
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100", "group.consumer.session.timeout.ms": "1500"})}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !bytes.HasSuffix(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, []byte("wrong")) {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse) // as real brokers answer; the fake ones hang up
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	return &fixture{TB: tb, seeds: strings.Join(c.ListenAddrs(), ","), fake: c, name: "topic"}
}

// fast are options whose waits are short.
func fast(o kafka.Options) *kafka.Options {
	if o.SessionTimeout == 0 {
		o.SessionTimeout = 1500 * time.Millisecond
	}
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	return &o
}

// longSession is one that a member keeps where a busy machine stands still, and calm are the options with it: for members whose
// deaths nobody waits for. Heartbeats come every fifth of it, or, with calmGroups and groups of KIP-848, as often as always.
const longSession = 10 * time.Second

func calm(o kafka.Options) *kafka.Options {
	o.SessionTimeout = longSession
	return fast(o)
}

// calmGroups is what brokers have to know of it.
func calmGroups() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"group.consumer.session.timeout.ms": strconv.FormatInt(longSession.Milliseconds(), 10)})
}

// connect makes a transport through a network of its own.
func (f *fixture) connect(tb testing.TB, o *kafka.Options) (*kafka.Transport, *network) {
	tb.Helper()
	n := newNetwork()
	with := *o
	with.Dial = n.dial
	t, err := kafka.New("kafka://"+f.login+f.seeds, &with)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return t, n
}

// topic makes the name of one that no other test uses.
func (f *fixture) topic() string { return fmt.Sprintf("%s.%d", f.name, f.topics.Add(1)) }

// raw is a plain client, without anything of Sixfold's.
func (f *fixture) raw(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(f.seeds, ",")...)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func group(topic string) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: true}
}
