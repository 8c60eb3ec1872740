package sixfold

import (
	"context"
	"errors"
	"fmt"
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
// The error says which of rs failed; one that returned without an error before it was asked to is a failure too.
// A panic in one is not recovered.
func Run(ctx context.Context, rs ...Runnable) error {
	type running struct {
		stop context.CancelFunc
		done chan struct{}
		err  error
	}
	all := make([]*running, len(rs))
	first := make(chan int, len(rs))
	for i, r := range rs {
		if r == nil {
			return errors.Join(invalid("runnable number %d of %d: it is nil", i+1, len(rs)), ctx.Err())
		}
	}
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
	}
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		all[i].stop()
		<-all[i].done
		err := all[i].err
		if i == early && err == nil && ctx.Err() == nil {
			err = errors.New("returned before it was asked to stop")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", nameOf(rs[i], i), err))
		}
	}
	return errors.Join(errs...)
}

func nameOf(r Runnable, i int) string {
	if n, ok := r.(fmt.Stringer); ok {
		return n.String()
	}
	return fmt.Sprintf("sixfold: run number %d (%T)", i+1, r)
}
