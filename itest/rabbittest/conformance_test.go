package rabbittest

import (
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// guarantees: R1, R2, R4, R5, R6, R7, K2, O5
func TestConformance(t *testing.T) {
	for _, variant := range []struct {
		name    string
		o       rabbitmq.Options
		unbound bool // a missing topic is an exchange without a queue
	}{
		{name: "quorum queues", unbound: true},
		{name: "classic queues", o: rabbitmq.Options{Classic: true}},
		{name: "one per key", o: rabbitmq.Options{Classic: true, OnePerKey: true}},
	} {
		t.Run(variant.name, func(t *testing.T) {
			if testing.Short() && variant.name != "quorum queues" {
				t.Skip("one variant is enough for a short run")
			}
			f := newFixture(t)
			bustest.Run(t, bustest.Config{Quiet: 100 * time.Millisecond, Patience: time.Minute}, func(tb testing.TB) bustest.Harness { return f.harness(tb, variant.o, variant.unbound) })
		})
	}
}

// harness gives each transport a proxy of its own, so that it can die alone.
func (f *fixture) harness(tb testing.TB, o rabbitmq.Options, unbound bool) bustest.Harness {
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
	declarer := f.connect(tb, f.url, &o)
	return bustest.Harness{
		Connect: func(tb testing.TB) bus.Transport {
			p := through(tb)
			return know(f.connect(tb, p.url(), &o), p)
		},
		NewTopic: func(tb testing.TB) string { return f.place(tb, declarer) },
		Missing: func(tb testing.TB) string {
			if !unbound {
				return "missing"
			}
			topic := f.topic()
			if err := declarer.Declare(tb.Context(), topic); err != nil {
				tb.Fatal(err)
			}
			return topic
		},
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
			_, ch := f.raw(tb)
			if err := ch.PublishWithContext(tb.Context(), topic, "", true, false, amqp.Publishing{Headers: amqp.Table{"cloudEvents:specversion": "9"}, Body: body}); err != nil {
				tb.Fatal(err)
			}
		},
		Refused: func(tb testing.TB) bus.Transport {
			u, err := url.Parse(f.url)
			if err != nil {
				tb.Fatal(err)
			}
			u.User = url.UserPassword(u.User.Username(), "wrong")
			return f.connect(tb, u.String(), &o)
		},
		Borrowed: func(tb testing.TB) (bus.Transport, func() error) {
			p := through(tb)
			conn, err := amqp.Dial(p.url())
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { conn.Close() })
			t, err := rabbitmq.NewConn(conn, &o)
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { t.Close(tb.Context()) })
			return know(t, p), func() error {
				ch, err := conn.Channel()
				return errors.Join(err, func() error {
					if err != nil {
						return nil
					}
					return ch.Close()
				}())
			}
		},
	}
}
