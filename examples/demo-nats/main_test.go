package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/sixfold-go/sixfold/examples/demo/demo"
)

func TestMain(m *testing.M) {
	if demo.IsChild() {
		os.Exit(demo.Main(context.Background(), broker(), nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// guarantees: O1, O2, R1, R4, I1, I7, K1, K2
func TestDemoOverNATSLosesAndRepeatsNothing(t *testing.T) {
	var out, errs bytes.Buffer
	code := demo.Main(t.Context(), broker(), []string{"--format", "json", "--orders", "300", "--kills", "2"}, &out, &errs)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out.String(), errs.String())
	}
	var r demo.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("the output is no JSON object: %v\n%s", err, out.String())
	}
	if !r.OK() || r.Placed+r.RolledBack != 300 || r.RolledBack == 0 || r.Handled != 3*r.Placed || r.RelayKills != 2 || r.InFlightAtKills == 0 {
		t.Errorf("the report does not fit the run: %+v", r)
	}
}
