package bustest

import (
	"context"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/bus"
)

// stated is a transport that is only asked for its capabilities.
type stated struct {
	bus.Transport
	caps bus.Capabilities
}

func (s stated) Capabilities() bus.Capabilities { return s.caps }

func (s stated) Close(context.Context) error { return nil }

// A case is left out by the driver's capabilities, or with a reason that its author gave, and never in silence.
func TestNothingIsLeftOutInSilence(t *testing.T) {
	c := Case{Name: "A/Case", needs: []need{needsOrder(), needsCut()}}
	playable := func(h *Harness) { h.Cut, h.Restore = func(testing.TB) {}, func(testing.TB) {} }
	for _, tc := range []struct {
		name      string
		order     bool
		cut       bool
		reason    string
		why, fail string
	}{
		{name: "playable", order: true, cut: true},
		{name: "excluded by a capability", cut: true, why: "OrderPerKey=false"},
		{name: "excluded by a capability, and the harness lacks a part", why: "OrderPerKey=false"},
		{name: "the harness lacks a part", order: true, fail: "the Harness has no Cut and Restore; give it"},
		{name: "the harness lacks a part, with a reason", order: true, reason: "no network", why: "no network"},
		{name: "named although playable", order: true, cut: true, reason: "no network", fail: "remove it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := Harness{
				Connect:  func(testing.TB) bus.Transport { return stated{caps: bus.Capabilities{OrderPerKey: tc.order}} },
				NewTopic: func(testing.TB) string { return "topic" },
			}
			if tc.cut {
				playable(&h)
			}
			var cfg Config
			if tc.reason != "" {
				cfg.NotApplicable = map[string]string{c.Name: tc.reason}
			}
			why, err := c.decide(t, cfg, h)
			if (err != nil) != (tc.fail != "") || err != nil && !strings.Contains(err.Error(), tc.fail) {
				t.Errorf("the error is %v, want %q", err, tc.fail)
			}
			if (why != "") != (tc.why != "") || !strings.Contains(why, tc.why) {
				t.Errorf("left out because of %q, want %q", why, tc.why)
			}
		})
	}
}

func TestCasesAreNamedOnceAndExplained(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range Cases() {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		if c.Says == "" || c.Advice == "" || c.test == nil || strings.Count(c.Name, "/") != 1 {
			t.Errorf("%q lacks its sentence, its advice, its test or its group", c.Name)
		}
	}
}
