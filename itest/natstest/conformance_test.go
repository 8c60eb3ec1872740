package natstest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// guarantees: R1, R2, R4, R5, R6, R7, K2, O5
func TestConformance(t *testing.T) {
	for _, variant := range []struct {
		name  string
		o     nats.Options
		plain bool // topics are streams of the user's with the plain subject
	}{
		{name: "lanes"},
		{name: "plain streams", plain: true},
		{name: "one per key, no dedup", o: nats.Options{OnePerKey: true, NoDedup: true}},
	} {
		t.Run(variant.name, func(t *testing.T) {
			if testing.Short() && variant.name != "lanes" {
				t.Skip("one variant is enough for a short run")
			}
			t.Parallel() // they wait more than they work
			f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) {
				o.Users = []*server.User{{Username: "user", Password: "right"}}
			}})
			bustest.Run(t, bustest.Config{Quiet: 50 * time.Millisecond, Patience: time.Minute}, func(tb testing.TB) bustest.Harness { return f.harness(tb, variant.o, variant.plain) })
		})
	}
}

var login = natsgo.UserInfo("user", "right")

// harness gives each transport a proxy of its own, so that it can die alone.
func (f *fixture) harness(tb testing.TB, o nats.Options, plain bool) bustest.Harness {
	o.Nats = []natsgo.Option{login}
	o = *calm(o)
	for _, waits := range []string{"Death", "Revoked", "Extend"} { // for leases that pass; the others would lose theirs where a busy machine stands still
		if strings.Contains(tb.Name(), waits) {
			o = *fast(o)
		}
	}
	var mu sync.Mutex
	proxies := map[bus.Transport]*proxy{}
	all := func(do func(*proxy)) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range proxies {
			do(p)
		}
	}
	through := func(tb testing.TB) *proxy { return newProxy(tb, f.url) }
	know := func(t bus.Transport, p *proxy) bus.Transport {
		mu.Lock()
		defer mu.Unlock()
		proxies[t] = p
		return t
	}
	admin, err := natsgo.Connect(f.url, patient(login)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(admin.Close)
	js, err := jetstream.New(admin)
	if err != nil {
		tb.Fatal(err)
	}
	declarer := f.connect(tb, f.url, &o)
	return bustest.Harness{
		Connect: func(tb testing.TB) bus.Transport {
			p := through(tb)
			return know(f.connect(tb, p.url(), &o), p)
		},
		NewTopic: func(tb testing.TB) string {
			topic := f.topic()
			if plain {
				_, err := js.CreateStream(tb.Context(), jetstream.StreamConfig{Name: "user-" + topic[len("topic."):], Subjects: []string{topic}})
				if err != nil {
					tb.Fatal(err)
				}
				return topic
			}
			if err := declarer.Declare(tb.Context(), topic); err != nil {
				tb.Fatal(err)
			}
			return topic
		},
		Missing: func(testing.TB) string { return "missing" },
		Cut:     func(testing.TB) { all((*proxy).Cut) },
		Restore: func(testing.TB) { all((*proxy).Restore) },
		Kill: func(_ testing.TB, t bus.Transport, _ bus.Source) {
			mu.Lock()
			defer mu.Unlock()
			proxies[t].Cut()
			delete(proxies, t) // nobody restores it
		},
		Revoke: func(_ testing.TB, t bus.Transport, _ bus.Source) {
			mu.Lock()
			defer mu.Unlock()
			proxies[t].Drop("source")
		},
		HoldConfirms: func(testing.TB) func() {
			var releases []func()
			all(func(p *proxy) { releases = append(releases, p.HoldDown("sender")) })
			return func() {
				for _, release := range releases {
					release()
				}
			}
		},
		Damage: func(tb testing.TB, topic string, body []byte) {
			subject := topic
			if !plain {
				subject += ".3"
			}
			_, err := js.PublishMsg(tb.Context(), &natsgo.Msg{Subject: subject, Header: natsgo.Header{"ce-specversion": {"9"}}, Data: body})
			if err != nil {
				tb.Fatal(err)
			}
		},
		Refused: func(tb testing.TB) bus.Transport {
			wrong := o
			wrong.Nats = []natsgo.Option{natsgo.UserInfo("user", "wrong")}
			return f.connect(tb, f.url, &wrong)
		},
		Borrowed: func(tb testing.TB) (bus.Transport, func() error) {
			p := through(tb)
			nc, err := natsgo.Connect(p.url(), patient(login)...)
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(nc.Close)
			t, err := nats.NewConn(nc, &o)
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { t.Close(tb.Context()) })
			return know(t, p), nc.Flush
		},
	}
}
