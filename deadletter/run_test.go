package deadletter_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
)

// fake is a store of dead letters 1 to total.
type fake struct {
	total   int64
	sent    []time.Time
	fates   []deadletter.Fate
	limits  []int
	resumed bool
}

func (f *fake) List(context.Context, deadletter.Filter, deadletter.Page) ([]deadletter.Letter, error) {
	return nil, nil
}
func (f *fake) Show(context.Context, int64) (*deadletter.Detail, error) {
	return nil, deadletter.ErrNotFound
}
func (f *fake) Summary(context.Context, deadletter.Filter) (deadletter.Summary, error) {
	return deadletter.Summary{Total: int(f.total)}, nil
}
func (f *fake) Audit(context.Context, deadletter.Trail) ([]deadletter.Change, error) { return nil, nil }
func (f *fake) Fate(context.Context, deadletter.Moved) (deadletter.Fate, error) {
	if len(f.fates) == 0 {
		return deadletter.StillWaiting, nil
	}
	fate := f.fates[0]
	f.fates = f.fates[1:]
	return fate, nil
}
func (f *fake) Begin(_ context.Context, r deadletter.Run) (deadletter.Run, error) {
	r.Resumed = f.resumed
	return r, nil
}
func (f *fake) Redrive(_ context.Context, _ deadletter.Run, after int64, limit int) (s deadletter.Step, err error) {
	f.limits = append(f.limits, limit)
	for n := after + 1; n <= f.total && len(s.Done) < limit; n++ {
		s.Done, s.Next = append(s.Done, deadletter.Moved{N: n}), n
		f.sent = append(f.sent, time.Now())
	}
	if len(s.Done) < limit {
		s.Next = 0
	}
	return s, nil
}
func (f *fake) Discard(ctx context.Context, r deadletter.Run, after int64, limit int) (deadletter.Step, error) {
	return f.Redrive(ctx, r, after, limit)
}
func (f *fake) Release(ctx context.Context, r deadletter.Run, after int64, limit int) (deadletter.Step, error) {
	return f.Redrive(ctx, r, after, limit)
}
func (f *fake) Edit(context.Context, int64, deadletter.Edit) error { return nil }

func letters(t *testing.T, f *fake) *deadletter.Letters {
	t.Helper()
	l, err := deadletter.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRate(t *testing.T) {
	for _, rate := range []float64{0.5, 10, 250} {
		synctest.Test(t, func(t *testing.T) {
			f, began := &fake{total: 100}, time.Now()
			report, err := letters(t, f).Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Rate: rate})
			if err != nil || report.Done != 100 {
				t.Fatalf("%+v, %v", report, err)
			}
			for i, at := range f.sent {
				// A second's worth may go at once.
				if most := rate*at.Sub(began).Seconds() + max(1, rate); float64(i+1) > most+1e-6 {
					t.Fatalf("rate %v: %d messages after %v", rate, i+1, at.Sub(began))
				}
			}
			if took := time.Since(began).Seconds(); took > 100/rate+1 {
				t.Errorf("rate %v: it took %v s", rate, took)
			}
		})
	}
}

func TestTheCanaryIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{total: 10, fates: []deadletter.Fate{deadletter.StillWaiting, deadletter.StillWaiting, deadletter.Handled}}
		report, err := letters(t, f).Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Canary: true})
		if err != nil || f.limits[0] != 1 || report.CanaryFate != deadletter.Handled {
			t.Errorf("%+v, %v, %v", report, err, f.limits)
		}
		began := time.Now()
		report, err = letters(t, &fake{total: 10}).Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Canary: true, CanaryWait: time.Minute})
		if !errors.Is(err, deadletter.ErrCanary) || report.Done != 1 || time.Since(began) != time.Minute || !strings.Contains(err.Error(), "still waits after 1m0s") {
			t.Errorf("%+v, %v after %v", report, err, time.Since(began))
		}
		report, err = letters(t, &fake{}).Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Canary: true})
		if err != nil || report.Done != 0 || report.Canary != nil {
			t.Errorf("without messages: %+v, %v", report, err)
		}
	})
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	l := letters(t, &fake{})
	_, err := l.Redrive(t.Context(), deadletter.Filter{Older: -1, Numbers: []int64{0}}, deadletter.Options{Rate: math.NaN(), Batch: 1e6, CanaryWait: -1, Run: "a\x00"})
	for _, part := range []string{"set Who", "Rate NaN", "Batch 1000000", "CanaryWait", "Run has", "cannot be negative", "number 0"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	for name, err := range map[string]error{
		"release the": func() error {
			_, err := l.Redrive(t.Context(), deadletter.Filter{State: deadletter.Waiting}, deadletter.Options{Who: "a"})
			return err
		}(),
		"for a redrive only": func() error {
			_, err := l.Discard(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "a", Canary: true})
			return err
		}(),
		"nothing is to be changed": l.Edit(t.Context(), 1, deadletter.Edit{Who: "a"}),
		"reserved":                 l.Edit(t.Context(), 1, deadletter.Edit{Who: "a", Headers: map[string]string{"sixfold-x": "1"}}),
		"exchange the two":         (&deadletter.Filter{Older: 2, Younger: 1}).Check(),
		"a page of -1": func() error {
			_, err := l.List(t.Context(), deadletter.Filter{}, deadletter.Page{Limit: -1})
			return err
		}(),
		"neither a run":    func() error { _, err := l.Audit(t.Context(), deadletter.Trail{}); return err }(),
		"the store is nil": func() error { _, err := deadletter.New(nil); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q is not in: %v", name, err)
		}
	}
}
