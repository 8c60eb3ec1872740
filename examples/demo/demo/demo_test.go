package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/examples/demo/demo"
)

func TestMain(m *testing.M) {
	if demo.IsChild() {
		os.Exit(demo.Main(context.Background(), demo.Databases(), nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// guarantees: O1, O2, R1, R4, I1, I7, K1, K2
func TestDemoLosesAndRepeatsNothing(t *testing.T) {
	var out, errs bytes.Buffer
	code := demo.Main(t.Context(), demo.Databases(), []string{"--format", "json", "--orders", "120", "--kills", "2"}, &out, &errs)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out.String(), errs.String())
	}
	var r demo.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("the output is no JSON object: %v\n%s", err, out.String())
	}
	if !r.OK() || r.Placed+r.RolledBack != 120 || r.RolledBack == 0 || r.Handled != 3*r.Placed || r.RelayKills != 2 || r.InFlightAtKills == 0 || r.P50 <= 0 || r.P99 < r.P50 {
		t.Errorf("the report does not fit the run: %+v", r)
	}
	for _, name := range []string{"placed", "rolled_back", "handled", "relay_kills", "lost", "duplicate_effects", "order_violations", "phantoms", "p50_ms", "p99_ms"} {
		if !strings.Contains(out.String(), `"`+name+`":`) {
			t.Errorf("the JSON object lacks %q: %s", name, out.String())
		}
	}
}

func TestBadFlagsAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"--format", "xml"}, {"--orders", "0"}, {"--kills", "-1"}, {"extra"}, {"--nope"}} {
		var out, errs bytes.Buffer
		if code := demo.Main(t.Context(), demo.Databases(), args, &out, &errs); code != 2 || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%v: exit code %d, output %q, errors %q; want 2, nothing, and a message", args, code, out.String(), errs.String())
		}
	}
}
