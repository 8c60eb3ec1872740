package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// The broker is in the process, so that each connection of the suite is the broker itself.
func harness(opts memory.Options) func(testing.TB) bustest.Harness {
	return func(testing.TB) bustest.Harness {
		broker := memory.New(&opts)
		topics := 0
		must := func(tb testing.TB, err error) {
			tb.Helper()
			if err != nil {
				tb.Fatal(err)
			}
		}
		return bustest.Harness{
			Connect: func(testing.TB) bus.Transport { return broker },
			NewTopic: func(tb testing.TB) string {
				topics++
				name := fmt.Sprintf("topic-%d", topics)
				must(tb, broker.Declare(name))
				return name
			},
			Missing: func(testing.TB) string { return "missing" },
			Cut:     func(testing.TB) { broker.Cut() },
			Restore: func(testing.TB) { broker.Restore() },
			Kill:    func(tb testing.TB, _ bus.Transport, s bus.Source) { tb.Helper(); must(tb, broker.Kill(s)) },
			Revoke:  func(tb testing.TB, _ bus.Transport, s bus.Source) { tb.Helper(); must(tb, broker.Revoke(s)) },
			HoldConfirms: func(testing.TB) func() {
				broker.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
				return func() {
					broker.HoldConfirms(nil)
					broker.ReleaseConfirms()
				}
			},
			Refused: func(testing.TB) bus.Transport { return memory.New(&memory.Options{MaxBody: -1}) },
		}
	}
}

func TestConformance(t *testing.T) {
	cfg := bustest.Config{Quiet: 20 * time.Millisecond, Patience: time.Minute, NotApplicable: map[string]string{
		"Transport/KeepsUsersConnection": "there is no connection, hence none of the user",
		"Receive/Damaged":                "envelopes are not encoded, so none can be damaged",
	}}
	t.Run("forever", func(t *testing.T) { bustest.Run(t, cfg, harness(memory.Options{})) })
	t.Run("leased", func(t *testing.T) {
		for _, c := range bustest.Cases() {
			t.Run(c.Name, func(t *testing.T) {
				why := ""
				synctest.Test(t, func(t *testing.T) { // where no lease passes because the machine is busy
					c.Check(skipper{t, &why}, cfg, harness(memory.Options{Lease: 2 * time.Second}))
				})
				if why != "" {
					t.Skip(why)
				}
			})
		}
	})
}

// skipper notes why a case is left out, since a bubble does not tell its test.
type skipper struct {
	testing.TB
	why *string
}

func (s skipper) Skipf(format string, args ...any) {
	*s.why = fmt.Sprintf(format, args...)
	s.SkipNow()
}
