package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/itest/servers"
)

// scenario is a small run that gives some bugs their chance.
type scenario struct {
	name string
	args []string
	bugs []planted.Bug
}

// scenarios name each bug once. Leases are short, so that a take-over does not take long.
func scenarios() []scenario {
	return []scenario{
		{"relays die", []string{"-n", "1200", "-faults", "4", "-deck", "kill relay,kill relay,kill relay,freeze relay", "-poison", ""},
			[]planted.Bug{planted.NoInbox, planted.SweepSkipped, planted.PublishApart}},
		{"relays die sending", []string{"-n", "1000", "-faults", "5", "-deck", "kill relay", "-send", "300ms", "-poison", ""},
			[]planted.Bug{planted.SettleBeforeConfirm}},
		{"late commits", []string{"-n", "1000", "-faults", "0", "-keys", "12", "-hold", "30", "-hold-for", "60ms", "-slow", "4ms", "-writers", "12", "-poison", ""},
			[]planted.Bug{planted.CursorSkips, planted.GapClosesEarly, planted.SequenceCache}},
		// It takes two commits of one key between two statements: a thousand messages show some three of them.
		{"commits between two looks", []string{"-n", "3000", "-faults", "0", "-keys", "12", "-hold", "30", "-hold-for", "60ms", "-slow", "4ms", "-writers", "12", "-poison", ""},
			[]planted.Bug{planted.LookUpBeforeRead}},
		{"consumers die", []string{"-n", "1000", "-faults", "4", "-deck", "kill consumer,kill in tx,kill consumer,kill after tx", "-poison", ""},
			[]planted.Bug{planted.AckBeforeHandling, planted.RecordApart, planted.LanesByTurns, planted.InboxWithoutName}},
		{"poison", []string{"-n", "400", "-faults", "0", "-poison", "billing", "-attempts", "3", "-bound", "45s"},
			[]planted.Bug{planted.AttemptsInMemory}},
		{"handlers fail", []string{"-n", "500", "-faults", "0", "-keys", "12", "-failing", "-poison", ""},
			[]planted.Bug{planted.ParkBeforeRollback, planted.LineBackwards, planted.RedriveSwallowed, planted.KeyCheckedBefore}},
		// What is merely in hand when its process dies loses no attempt: with three of them, others would die beside the poison.
		{"poison is parked", []string{"-n", "400", "-faults", "0", "-poison", "shipping", "-attempts", "3", "-bound", "45s"},
			[]planted.Bug{planted.CrashUncounted}},
		// What is not kept in time is handled before its owner finds out.
		{"consumers freeze", []string{"-n", "900", "-faults", "8", "-deck", "freeze parked", "-failing", "-poison", "", "-slow-tend", "250ms"},
			[]planted.Bug{planted.ClaimUnfenced}},
	}
}

// seeds of every scenario: all of them where whole runs are asked for, else the first, since each of them takes six minutes.
func seeds() []uint64 {
	all := []uint64{1, 2, 3}
	if os.Getenv(wholeEnv) == "whole" {
		return all
	}
	return all[:1]
}

// tries are how many runs a bug gets in which to show: it takes a coincidence, for which a machine that does much else may leave no room. The
// unbroken program gets one.
const tries = 3

// Every planted bug is caught with each seed, and the unbroken program passes the same runs.
func TestPlantedBugsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds the program and does some thirty small runs, which take minutes")
	}
	server := servers.PrivatePostgres(t, &servers.PostgresOptions{Settings: map[string]string{"max_connections": "400"}})
	program := filepath.Join(t.TempDir(), "torture")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "planted", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with planted bugs: %v\n%s", err, out)
	}
	all := planted.All()
	places := make(chan struct{}, 3) // runs at once
	for _, sc := range scenarios() {
		for _, bug := range append([]planted.Bug{""}, sc.bugs...) {
			all = slices.DeleteFunc(all, func(b planted.Bug) bool { return b == bug })
			for _, seed := range seeds() {
				name := string(bug)
				if bug == "" {
					name = "none"
				}
				t.Run(fmt.Sprintf("%s/%s/%d", sc.name, name, seed), func(t *testing.T) {
					t.Parallel()
					places <- struct{}{}
					defer func() { <-places }()
					s, code := runPlanted(t, program, server, sc, bug, seed)
					for try := uint64(1); bug != "" && !caught(bug, s) && try < tries; try++ {
						t.Logf("it did not show with seed %d: exit code %d, violations %v", seed+100*(try-1), code, s.Violations.Count)
						s, code = runPlanted(t, program, server, sc, bug, seed+100*try)
					}
					judgePlanted(t, bug, s, code)
				})
			}
		}
	}
	if len(all) > 0 {
		t.Errorf("no scenario plants %v", all)
	}
}

// caught reports whether the checker has found what a bug does. That a run on a busy machine was stuck says nothing, but of what never ends.
func caught(bug planted.Bug, s *Summary) bool {
	v := s.Violations.Count
	if bug == planted.AttemptsInMemory || bug == planted.CrashUncounted {
		return v[Stuck]+v[DeadLetters] > 0
	}
	return v[Lost]+v[Duplicates]+v[Phantoms]+v[OrderBreaks]+v[DeadLetters] > 0
}

// judgePlanted fails t unless the checker has found what it should.
func judgePlanted(t *testing.T, bug planted.Bug, s *Summary, code int) {
	t.Helper()
	v := s.Violations.Count
	switch {
	case bug == "" && (code != 0 || s.Violations.Total() > 0):
		t.Errorf("the unbroken program does not pass: exit code %d, violations %v: %v", code, v, s.Violations.Examples)
	case bug == "":
	case code != 1:
		t.Errorf("exit code %d", code)
	case !caught(bug, s):
		t.Errorf("not caught; violations %v", v)
	case v[BadLedger] > 0:
		t.Errorf("the ledger itself is wrong: %v", s.Violations.Examples[BadLedger])
	}
	t.Logf("%.1f s, %v", s.Seconds, v)
}

// runPlanted does one run of the program in a database of its own.
func runPlanted(t *testing.T, program string, server *servers.PostgresServer, sc scenario, bug planted.Bug, seed uint64) (*Summary, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dir := t.TempDir()
	report := filepath.Join(dir, "summary.json")
	args := append([]string{"-bare", "-failing=false", "-crashes", "0", "-lease", "1s", "-stall", "8s", "-bound", "100s", "-seed", fmt.Sprint(seed), "-plant", string(bug), "-json", report, "-dir", filepath.Join(dir, "run")}, sc.args...)
	if bug == "" { // what is well gets the time that a busy machine needs
		args = append(args, "-stall", "2m", "-bound", "10m")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), dsnEnv+"="+server.Database(t))
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, rerr := os.ReadFile(report)
	s := &Summary{}
	if rerr == nil {
		rerr = json.Unmarshal(text, s)
	}
	if rerr != nil {
		t.Fatalf("no summary (%v), the program ended with %v and said:\n%s", rerr, err, said.String())
	}
	return s, cmd.ProcessState.ExitCode()
}
