package deadletter

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Options of what is done to many messages. Who is required; the zero value of the others is right for most.
type Options struct {
	// Who does it, and why. The audit keeps both.
	Who, Reason string
	// Run names what is done, so that it can be resumed after an interruption: with the same name it goes on where it was, with the
	// filter and the settings that it began with. Empty: a new name.
	Run string
	// DryRun changes nothing and only counts.
	DryRun bool
	// Rate is how many messages a second are sent again at most, on average; 0: no limit. The messages of a key are sent at
	// once nevertheless, so that none of the key that waits comes in between.
	Rate float64
	// Canary sends one message again, the first, waits until it is handled, and stops when it is not.
	Canary bool
	// CanaryWait is how long that may take. Default 1 minute.
	CanaryWait time.Duration
	// Batch is how many messages one transaction takes, those behind them with the same keys not counted. Default 1,000, for
	// Discard 100.
	Batch int
	// Progress hears of every step, in the caller's goroutine.
	Progress func(Report)
}

// Report says what was done.
type Report struct {
	// Run names it, for Options.Run. Empty after a dry run.
	Run     string
	Resumed bool
	Done    int
	Skipped []Skip // at most 1,000 of them
	// SkippedCount is how many were left as they are.
	SkippedCount int
	// Canary and its Fate, if there was one.
	Canary     *Moved
	CanaryFate Fate
	// Summary of what would be done, after a dry run.
	Summary *Summary
}

// maxSkips is how many a Report names.
const maxSkips = 1000

func (r *Report) skip(skips ...Skip) {
	r.SkippedCount += len(skips)
	r.Skipped = append(r.Skipped, skips[:min(len(skips), maxSkips-len(r.Skipped))]...)
}

// maxBatch is the most that one transaction may take.
const maxBatch = 10_000

// check says everything that is wrong and fills in what is not given.
func (o *Options) check(f *Filter, batch int) error {
	errs := []error{f.Check()}
	if !o.DryRun {
		errs = append(errs, checkWho(o.Who))
	}
	if o.Rate < 0 || math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0) {
		errs = append(errs, fmt.Errorf("deadletter: option Rate %v: give messages per second, or 0 for no limit", o.Rate))
	}
	if len(o.Run) > maxWho || strings.ContainsRune(o.Run, 0) {
		errs = append(errs, fmt.Errorf("deadletter: option Run has %d bytes, or a NUL; give the name of a run as a report has it", len(o.Run)))
	}
	if o.CanaryWait < 0 {
		errs = append(errs, fmt.Errorf("deadletter: option CanaryWait %v: it is negative; give how long the first message may take", o.CanaryWait))
	}
	if o.CanaryWait == 0 {
		o.CanaryWait = time.Minute
	}
	if o.Batch < 0 || o.Batch > maxBatch {
		errs = append(errs, fmt.Errorf("deadletter: option Batch %d: it is outside 1 to %d; leave it out", o.Batch, maxBatch))
	}
	if o.Batch == 0 {
		o.Batch = batch
	}
	return errors.Join(errs...)
}
