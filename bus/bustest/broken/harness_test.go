package broken

import (
	"context"
	"fmt"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// harness plays the broker of one case for drivers of a kind.
func harness(b base, twisted func() twist) func(testing.TB) bustest.Harness {
	return func(testing.TB) bustest.Harness {
		d := newDriver(b, twisted())
		topics := 0
		return bustest.Harness{
			Connect: func(testing.TB) bus.Transport { return d },
			NewTopic: func(tb testing.TB) string {
				topics++
				name := fmt.Sprintf("topic-%d", topics)
				must(tb, d.broker.Declare(name))
				return name
			},
			Missing: func(testing.TB) string { return "missing" },
			Cut: func(testing.TB) {
				d.locked(func() { d.down = true })
				d.broker.Cut()
			},
			Restore: func(testing.TB) {
				d.broker.Restore()
				d.locked(func() { d.down = false })
			},
			Kill: func(tb testing.TB, _ bus.Transport, src bus.Source) {
				s := src.(*source)
				if d.twist.kill != nil {
					d.twist.kill(s)
				}
				d.locked(func() { d.kills++ })
				must(tb, d.broker.Kill(s.inner))
			},
			Revoke: func(tb testing.TB, _ bus.Transport, src bus.Source) { must(tb, d.broker.Revoke(src.(*source).inner)) },
			HoldConfirms: func(testing.TB) func() {
				d.broker.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
				return func() {
					d.broker.HoldConfirms(nil)
					d.broker.ReleaseConfirms()
				}
			},
			Damage: func(tb testing.TB, topic string, body []byte) { must(tb, d.damage(tb.Context(), topic, body)) },
			Refused: func(testing.TB) bus.Transport {
				return &driver{broker: memory.New(&memory.Options{MaxBody: -1}), base: b, twist: d.twist}
			},
			Borrowed: func(testing.TB) (bus.Transport, func() error) {
				d.borrowed = true
				return d, func() error {
					s, err := d.broker.Open(context.Background())
					if err != nil {
						return err
					}
					return s.Close(context.Background())
				}
			},
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
