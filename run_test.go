package sixfold_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
)

// worker takes its time to stop and notes when it has.
type worker struct {
	name  string
	drain time.Duration
	fail  error
	early <-chan struct{}
	log   *journal
}

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (w worker) String() string { return w.name }

func (w worker) Run(ctx context.Context) error {
	w.log.add("start")
	select {
	case <-ctx.Done():
		w.log.add("asked " + w.name)
	case <-w.early:
	}
	time.Sleep(w.drain) // of the bubble's clock
	w.log.add("end " + w.name)
	return w.fail
}

// guarantees: R2
func TestRunStopsInReverseOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- sixfold.Run(ctx, worker{name: "a", drain: time.Second, log: &log}, worker{name: "b", drain: 3 * time.Second, log: &log}, worker{name: "c", log: &log})
		}()
		synctest.Wait()
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("stopping took %v", d)
		}
		want := []string{"start", "start", "start", "asked c", "end c", "asked b", "end b", "asked a", "end a"}
		if !slices.Equal(log.lines, want) {
			t.Errorf("%q, want %q", log.lines, want)
		}
	})
}

func TestRunSaysWhichFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		early, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- sixfold.Run(t.Context(),
				worker{name: "database", log: &log, fail: io.ErrClosedPipe},
				worker{name: "relay", log: &log, early: early, fail: io.EOF},
				worker{name: "consumer", log: &log, fail: &sixfold.DrainError{What: "consumer", InDoubt: 2, After: time.Second}})
		}()
		synctest.Wait() // all have started
		close(early)
		err := <-done
		for _, target := range []error{io.EOF, io.ErrClosedPipe, sixfold.ErrDrainTimeout} {
			if !errors.Is(err, target) {
				t.Errorf("%v is missing in %v", target, err)
			}
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != 3 || lines[0] != "sixfold: run relay: EOF" || !strings.HasPrefix(lines[1], "sixfold: run consumer: ") || !strings.HasPrefix(lines[2], "sixfold: run database: ") {
			t.Errorf("%q", lines)
		}
		if !slices.Equal(log.lines[len(log.lines)-4:], []string{"asked consumer", "end consumer", "asked database", "end database"}) {
			t.Errorf("the others were not stopped in order: %q", log.lines)
		}
	})
}

func TestRunTakesAnEarlyReturnForAFailure(t *testing.T) {
	for name, cancelMeanwhile := range map[string]bool{"": false, "and the end of ctx while the others stop": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log journal
				early := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() {
					done <- sixfold.Run(ctx, worker{name: "relay", log: &log, early: early}, worker{name: "slow", log: &log, drain: time.Minute})
				}()
				synctest.Wait()
				close(early)
				time.Sleep(time.Second)
				if cancelMeanwhile {
					cancel()
				}
				if err := <-done; err == nil || err.Error() != "sixfold: run relay: it returned before it was asked to stop" {
					t.Error(err)
				}
			})
		})
	}
}

func TestRunAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var log journal
		for range 100 { // select may choose either when both are ready
			if err := sixfold.Run(ctx, worker{name: "a", log: &log}, sixfold.RunFunc(func(context.Context) error { return nil })); err != nil {
				t.Fatal(err)
			}
		}
	})
}

type ctxKey struct{}

func TestRunHandsValuesOnAndNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "v"), time.Hour)
		defer cancel()
		err := sixfold.Run(ctx, sixfold.RunFunc(func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); ok || ctx.Value(ctxKey{}) != "v" {
				t.Error("a deadline, or no value")
			}
			<-ctx.Done()
			return nil
		}))
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRunOfNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := sixfold.Run(ctx); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestRunRefusesNil(t *testing.T) {
	var log journal
	err := sixfold.Run(t.Context(), nil, worker{name: "a", log: &log}, sixfold.RunFunc(nil), (*worker)(nil))
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, s := range []string{"number 1 of 4", "number 3 of 4", "number 4 of 4"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in %v", s, err)
		}
	}
	if len(log.lines) != 0 {
		t.Error("the others were started")
	}
}

func TestRunNamesWhatHasNoName(t *testing.T) {
	err := sixfold.Run(t.Context(), sixfold.RunFunc(func(context.Context) error { return io.EOF }))
	if err == nil || err.Error() != "sixfold: run number 1 (sixfold.RunFunc): EOF" {
		t.Error(err)
	}
}
