package sqlqueue

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// guarantees: R1, R2, R4, R5, R6, R7, K2, O5 [TwoDeathsKeepOrder] [PrefixAfterFailure] [StaleSettleRefused] [UnroutableIsFailure]
func TestConformance(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		cfg := bustest.Config{Quiet: 200 * time.Millisecond, Patience: time.Minute, NotApplicable: map[string]string{
			"Sender/LostForGood":            "a Sender has no connection of its own: it ends with the first statement that fails, and a pool's connection that was lost in between has lost nothing",
			"Sender/BatchesFollowEachOther": "a database takes a statement when it has answered the one before: Send does not wait for that, but nothing can arrive meanwhile",
		}}
		if w.kind != "postgres" && testing.Short() {
			t.Skip("PostgreSQL is enough for a short run")
		}
		if w.stranger == nil {
			cfg.Quiet = 300 * time.Millisecond // the library is slow under the race detector
			cfg.NotApplicable["Open/Refused"] = "a file has no roles"
			cfg.NotApplicable["Subscribe/Refused"] = "a file has no roles"
		}
		bustest.Run(t, cfg, w.harness)
	})
}

func (w *world) harness(tb testing.TB) bustest.Harness {
	var mu sync.Mutex
	lines := map[bus.Transport]*line{}
	all := func(do func(*line)) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			do(l)
		}
	}
	o := w.fast()
	if !strings.Contains(tb.Name(), "Death") && !strings.Contains(tb.Name(), "Revoked") { // they wait for leases that pass
		o.Lease = 30 * time.Second // the others would lose theirs where a busy machine stands still
	}
	start := func(tb testing.TB) *sqlqueue.Transport {
		tb.Helper()
		p := w.process(tb, o)
		mu.Lock()
		defer mu.Unlock()
		lines[p.Transport] = p.line
		return p.Transport
	}
	admin := w.process(tb, w.fast())
	h := bustest.Harness{
		Connect: func(tb testing.TB) bus.Transport { tb.Helper(); return start(tb) },
		NewTopic: func(tb testing.TB) string {
			tb.Helper()
			topic := w.topic()
			if err := admin.Keep(tb.Context(), topic, time.Hour); err != nil {
				tb.Fatal(err)
			}
			return topic
		},
		Missing: func(testing.TB) string { return "missing" },
		Cut:     func(testing.TB) { all((*line).cutNow) },
		Restore: func(testing.TB) { all((*line).restore) },
		Kill: func(_ testing.TB, t bus.Transport, _ bus.Source) {
			mu.Lock()
			defer mu.Unlock()
			lines[t].cutNow() // its heart cannot beat any more
			delete(lines, t)  // nobody restores it
		},
		Revoke: func(tb testing.TB, _ bus.Transport, _ bus.Source) { tb.Helper(); w.exec(tb, "DELETE FROM {q}node") },
		HoldConfirms: func(testing.TB) func() {
			var releases []func()
			all(func(l *line) { releases = append(releases, l.holdSends()) })
			return func() {
				for _, release := range releases {
					release()
				}
			}
		},
		Damage: func(tb testing.TB, topic string, body []byte) {
			tb.Helper()
			if w.exec(tb, "INSERT INTO {q}queue (class, partition, id, attrs, body, created_at) SELECT id, 3, 'damaged', $1, $2, made_at FROM {q}queue_group WHERE topic = $3 AND kind = 1", []byte("{no"), body, topic) != 1 {
				tb.Fatal("nobody has subscribed")
			}
		},
		Borrowed: func(tb testing.TB) (bus.Transport, func() error) {
			tb.Helper()
			return start(tb), func() error { return w.ping(tb.Context()) }
		},
	}
	if w.stranger != nil {
		h.Refused = func(tb testing.TB) bus.Transport {
			tb.Helper()
			return w.processOn(tb, newLine(w.stranger(tb), w.lost), o).Transport
		}
	}
	switch { // these would be played by other means than the sentence has in mind
	case strings.HasSuffix(tb.Name(), "Sender/LostForGood"):
		h.Cut = nil
	case strings.HasSuffix(tb.Name(), "Sender/BatchesFollowEachOther"):
		h.HoldConfirms = nil
	}
	return h
}
