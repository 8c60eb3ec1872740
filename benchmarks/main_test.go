package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestEveryCaseRuns(t *testing.T) {
	for _, c := range all() {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "publish-1" && c.name != "relay-memory" {
				t.Skip("-short: this case takes seconds")
			}
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-quick", "-case", c.name}, &out, t.Output()); err != nil {
				if errors.Is(err, servers.ErrUnavailable) && os.Getenv(servers.RequireEnv) != "1" {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			lines := 0
			for text := range strings.Lines(out.String()) {
				if !strings.HasPrefix(text, "{") {
					break // the table
				}
				lines++
				var l line
				if err := json.Unmarshal([]byte(text), &l); err != nil {
					t.Fatalf("%v in %s", err, text)
				}
				if l.Case != c.name && !strings.HasPrefix(l.Case, c.name+"/") {
					t.Errorf("case %q says %q", c.name, l.Case)
				}
				nothing := l.Value <= 0 && l.Unit != "allocs" // of which none is a measurement
				if l.Skipped == "" && (nothing || l.Value < 0 || l.Unit == "" || l.Peer != nil && *l.Peer <= 0) {
					t.Errorf("a result is not a measurement: %s", text)
				}
			}
			if lines == 0 {
				t.Error("no result")
			}
		})
	}
}

// The raw client is measured only beside the driver; this runs it without.
func TestRawNATSPublishesAndReceives(t *testing.T) {
	b := &bench{quick: true, rounds: 1, report: newReport(io.Discard), progress: io.Discard}
	defer b.close()
	err := b.runCase(t.Context(), benchmark{"raw-nats", "", func(ctx context.Context, s *scope) error {
		raw, err := s.newNATSBroker(ctx)
		if err != nil {
			return err
		}
		const n = 2500 // not a multiple of what it acknowledges at once
		envs, err := envelopes(ctx, n, noKeys)
		if err != nil {
			return err
		}
		for range 2 {
			if err := errors.Join(raw.fresh(ctx), raw.publish(ctx, envs), raw.receive(ctx, n, func() {})); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMessagesHave256Bytes(t *testing.T) {
	for _, n := range []int{0, 7, 8999, 99_999, 1_234_567} {
		body, err := json.Marshal(makeOrder(n, "order-1"))
		if err != nil {
			t.Fatal(err)
		}
		if len(body) != 256 {
			t.Errorf("message %d has %d bytes: %s", n, len(body), body)
		}
	}
}

func TestCasesAreChosenByNameOrPrefix(t *testing.T) {
	for name, want := range map[string]int{"publish-1": 1, "publish-": 5, "": len(all()), "relay-memory": 1, "nothing": 0} {
		if got := choose(all(), name); len(got) != want {
			t.Errorf("-case %q chooses %d cases, want %d", name, len(got), want)
		}
	}
	seen := map[string]bool{}
	for _, c := range all() {
		if seen[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		seen[c.name] = true
	}
}

func TestReportJudges(t *testing.T) {
	two, half := 2.0, 0.5
	for _, c := range []struct {
		l       line
		g       goal
		verdict string
		missed  int
	}{
		{line{Case: "a", Value: 1, Ratio: &half}, goal{ratioAtLeast, 0.5, 0.8}, "ok", 0},
		{line{Case: "a", Value: 1, Ratio: &half}, goal{ratioAtLeast, 0.51, 0.8}, "MISSED", 1},
		{line{Case: "a", Value: 1, Ratio: &half}, goal{ratioAtLeast, 0.4, 0.5}, "moonshot", 0},
		{line{Case: "a", Value: 1, Ratio: &two}, goal{ratioAtMost, 1.5, 1.2}, "MISSED", 1},
		{line{Case: "a", Value: 1, Ratio: &two}, goal{ratioAtMost, 3, 1.2}, "ok", 0},
		{line{Case: "a", Value: 9}, goal{valueAtMost, 8, 4}, "MISSED", 1},
		{line{Case: "a", Value: 5}, goal{valueAtMost, 8, 4}, "ok", 0},
		{line{Case: "a", Value: 4}, goal{valueAtMost, 8, 4}, "moonshot", 0},
		{line{Case: "a", Value: 4}, goal{ratioAtLeast, 8, 4}, "MISSED", 1},
		{line{Case: "a", Value: 4}, goal{}, "", 0},
	} {
		var out bytes.Buffer
		r := newReport(&out)
		if err := r.add(c.l, c.g); err != nil {
			t.Fatal(err)
		}
		r.table()
		text := strings.TrimSpace(out.String())
		if verdict := text[strings.LastIndexByte(text, '\n')+1:]; c.verdict != "" && !strings.HasSuffix(verdict, " "+c.verdict) || r.missed != c.missed {
			t.Errorf("%+v of %+v: %q, %d missed; want %q, %d", c.g, c.l, verdict, r.missed, c.verdict, c.missed)
		}
	}
}

func TestQuantiles(t *testing.T) {
	vs := []float64{5, 1, 3, 2, 4}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.75: 4, 1: 5, 0.625: 3.5} {
		if got := quantile(vs, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if vs[0] != 5 {
		t.Error("the values were sorted in place")
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"-case":  {"-case", "nothing"},
		"rounds": {"-rounds", "-1"},
		"none":   {"publish-1"},
	} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; it should name %s", args, err, want)
		}
	}
}
