package claimcheck_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// With a threshold of one byte all bodies go through the store, and the contract of a driver must hold as before.
func harness(opts memory.Options, store func(testing.TB) claimcheck.BlobStore) func(testing.TB) bustest.Harness {
	return func(tb testing.TB) bustest.Harness {
		broker, blobs := memory.New(&opts), store(tb)
		topics := 0
		must := func(tb testing.TB, err error) {
			tb.Helper()
			if err != nil {
				tb.Fatal(err)
			}
		}
		wrapped := func(tb testing.TB, t bus.Transport) bus.Transport {
			tb.Helper()
			w, err := claimcheck.Wrap(t, blobs, &claimcheck.Options{Threshold: 1, MaxBody: 1 << 20})
			must(tb, err)
			return w
		}
		return bustest.Harness{
			Connect: func(tb testing.TB) bus.Transport { tb.Helper(); return wrapped(tb, broker) },
			NewTopic: func(tb testing.TB) string {
				tb.Helper()
				topics++
				name := fmt.Sprintf("topic-%d", topics)
				must(tb, broker.Declare(name))
				return name
			},
			Missing: func(testing.TB) string { return "missing" },
			Cut:     func(testing.TB) { broker.Cut() },
			Restore: func(testing.TB) { broker.Restore() },
			Kill: func(tb testing.TB, _ bus.Transport, s bus.Source) {
				tb.Helper()
				must(tb, broker.Kill(claimcheck.Inner(s)))
			},
			Revoke: func(tb testing.TB, _ bus.Transport, s bus.Source) {
				tb.Helper()
				must(tb, broker.Revoke(claimcheck.Inner(s)))
			},
			HoldConfirms: func(testing.TB) func() {
				broker.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
				return func() {
					broker.HoldConfirms(nil)
					broker.ReleaseConfirms()
				}
			},
			Refused: func(tb testing.TB) bus.Transport {
				tb.Helper()
				return wrapped(tb, memory.New(&memory.Options{MaxPending: -1}))
			},
		}
	}
}

// guarantees: R1, R4, K2
func TestConformance(t *testing.T) {
	cfg := bustest.Config{Patience: time.Minute, Quiet: 100 * time.Millisecond, // in which some cases want forty bodies out of a store
		NotApplicable: map[string]string{
			"Transport/KeepsUsersConnection": "there is no connection, hence none of the user",
			"Receive/Damaged":                "envelopes are not encoded, so none can be damaged",
		}}
	inMemory := func(testing.TB) claimcheck.BlobStore { return newBlobs() }
	inFiles := func(tb testing.TB) claimcheck.BlobStore {
		tb.Helper()
		d, err := claimcheck.NewDir(tb.TempDir())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { d.Close() })
		return d
	}
	t.Run("forever", func(t *testing.T) { bustest.Run(t, cfg, harness(memory.Options{}, inMemory)) })
	t.Run("leased", func(t *testing.T) { // in bubbles, since leases pass on a machine that stands still
		for _, c := range bustest.Cases() {
			t.Run(c.Name, func(t *testing.T) {
				why := ""
				synctest.Test(t, func(t *testing.T) {
					c.Check(skipper{t, &why}, cfg, harness(memory.Options{Lease: 2 * time.Second}, inMemory))
				})
				if why != "" {
					t.Skip(why)
				}
			})
		}
	})
	t.Run("files", func(t *testing.T) {
		if testing.Short() {
			t.Skip("each body is synced to the disk")
		}
		patient := cfg
		patient.Patience = time.Minute // for ten thousand files
		bustest.Run(t, patient, harness(memory.Options{}, inFiles))
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
