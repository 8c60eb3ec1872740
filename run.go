package sixfold

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// A Runnable works until ctx ends, then takes no more work, lets what is in flight finish within its drain limit,
// and returns nil, or a *DrainError.
type Runnable interface {
	Run(ctx context.Context) error
}

// RunFunc makes a Runnable of a function.
type RunFunc func(ctx context.Context) error

// Run calls f.
func (f RunFunc) Run(ctx context.Context) error { return f(ctx) }

// Run runs rs side by side until ctx ends or one of them returns, then stops them one after the other, the last
// first, so that list order is dependency order: what is stopped later may still serve what is stopped earlier.
// The error says which of rs failed, the one that ended the run first; one that returned without an error before it
// was asked to is a failure too. A panic in one is not recovered.
func Run(ctx context.Context, rs ...Runnable) error {
	if err := checkRunnables(rs); err != nil {
		return err
	}
	all := make([]*running, len(rs))
	first := make(chan int, len(rs))
	for i, r := range rs {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		all[i] = &running{stop: stop, done: make(chan struct{})}
		go func() {
			defer close(all[i].done)
			all[i].err = r.Run(own)
			first <- i
		}()
	}
	early := -1
	select {
	case <-ctx.Done():
	case early = <-first:
		if ctx.Err() != nil {
			early = -1 // both at once: it was about to be asked
		}
	}
	errs := make([]error, len(rs)+1)
	for i := len(all) - 1; i >= 0; i-- {
		all[i].stop()
		<-all[i].done
		err := all[i].err
		if i == early && err == nil {
			err = errors.New("it returned before it was asked to stop")
		}
		if err == nil {
			continue
		}
		at := len(all) - i // 0 is for the one that ended the run
		if i == early {
			at = 0
		}
		errs[at] = fmt.Errorf("sixfold: run %s: %w", nameOf(rs[i], i), err)
	}
	return errors.Join(errs...)
}

// running is a Runnable at work; err may be read once done is closed.
type running struct {
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// checkRunnables names every one of rs that cannot run.
func checkRunnables(rs []Runnable) error {
	var errs []error
	for i, r := range rs {
		v := reflect.ValueOf(r)
		if r == nil || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
			errs = append(errs, invalid("runnable number %d of %d: it is nil; leave it out, or look at the error of its constructor", i+1, len(rs)))
		}
	}
	return errors.Join(errs...)
}

func nameOf(r Runnable, i int) string {
	if n, ok := r.(fmt.Stringer); ok {
		return n.String()
	}
	return fmt.Sprintf("number %d (%T)", i+1, r)
}
