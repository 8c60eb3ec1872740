package deadletter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/deadletter"
)

// child redrives all, and kills itself after the third step.
func child() int {
	ctx := context.Background()
	w, stop, err := open(ctx, os.Getenv("SIXFOLD_REDRIVE_CHILD"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	steps := 0
	_, err = w.letters.Redrive(ctx, deadletter.Filter{Consumer: "billing"}, deadletter.Options{Who: "child", Run: "the-run", Batch: 10, Progress: func(deadletter.Report) {
		if steps++; steps == 3 {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			fmt.Fprintln(os.Stderr, "killed", err)
			select {}
		}
	}})
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 2
}

// A redrive whose process was killed goes on where it was, doubles nothing, and leaves alone what died again meanwhile, or later.
func TestAKilledRedriveIsResumed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 100 {
			w.put(letter{dead: true, loose: true})
		}
		self, err := os.Executable()
		must(t, err)
		c := exec.CommandContext(t.Context(), self)
		c.Env = append(os.Environ(), "SIXFOLD_REDRIVE_CHILD="+w.dsn)
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 1 || exit.ExitCode() == 2 {
			t.Fatalf("the child: %v: %s", err, out)
		}
		w.want("sent by the one that was killed", "30", "SELECT count(*) FROM {{parked}} WHERE epoch = 1")
		w.exec("UPDATE {{parked}} SET state = 2 WHERE n IN (5, 30)") // these died again
		w.put(letter{dead: true, loose: true})                       // and this is new
		report := w.redrive(70, deadletter.Filter{}, deadletter.Options{Run: "the-run"})
		if !report.Resumed || report.Run != "the-run" {
			t.Errorf("%+v", report)
		}
		w.want("epochs", "1 100", "SELECT count(*) FROM {{parked}} GROUP BY epoch ORDER BY epoch")
		w.want("dead", "5 30 101", "SELECT n FROM {{parked}} WHERE state = 2 ORDER BY n")
		w.want("audit", "100", "SELECT count(*) FROM {{audit}} WHERE run = 'the-run' AND n > 0")
		w.want("who", "ann child", "SELECT DISTINCT who FROM {{audit}} WHERE n > 0 ORDER BY who")
		w.redrive(0, deadletter.Filter{}, deadletter.Options{Run: "the-run"})
		if _, err := w.letters.Discard(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Run: "the-run"}); err == nil || !strings.Contains(err.Error(), "is a redrive") {
			t.Errorf("another action with its name: %v", err)
		}
	})
}

// Interrupted in order, the report says what was done.
func TestAnInterruptedRedriveSaysWhatWasDone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 20 {
			w.put(letter{dead: true, loose: true})
		}
		ctx, cancel := context.WithCancel(t.Context())
		report, err := w.letters.Redrive(ctx, deadletter.Filter{}, deadletter.Options{Who: "ann", Batch: 5, Progress: func(deadletter.Report) { cancel() }})
		if !errors.Is(err, context.Canceled) || report.Done != 5 || !strings.Contains(err.Error(), report.Run) {
			t.Fatalf("%+v, %v", report, err)
		}
		w.want("sent", strconv.Itoa(report.Done), "SELECT count(*) FROM {{parked}} WHERE epoch = 1")
		w.redrive(15, deadletter.Filter{}, deadletter.Options{Run: report.Run})
	})
}
