package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// caseLimit bounds one case, so that a run ends whatever happens.
const caseLimit = 10 * time.Minute

// A benchmark is one case.
type benchmark struct {
	name string
	what string // one line for -list
	run  func(ctx context.Context, s *scope) error
}

// bench is one run of the program. It belongs to one goroutine.
type bench struct {
	quick    bool
	rounds   int
	report   *report
	progress io.Writer

	// Servers, started when a case first asks.
	postgres *servers.PostgresServer
	slow     *servers.PostgresServer
	nats     *servers.NATSChild
}

// A scope is one case under way: what it makes is undone when the case ends.
type scope struct {
	*bench
	name string
	undo []func() error
}

// runAll runs cases one after the other. One that fails does not keep the others from running.
func (b *bench) runAll(ctx context.Context, cases []benchmark) error {
	var errs []error
	for i, c := range cases {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		fmt.Fprintf(b.progress, "%d/%d %s: %s\n", i+1, len(cases), c.name, c.what)
		if err := b.runCase(ctx, c); err != nil {
			fmt.Fprintf(b.progress, "  FAILED: %v\n", err)
			errs = append(errs, fmt.Errorf("case %s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

func (b *bench) runCase(ctx context.Context, c benchmark) (err error) {
	ctx, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	s := &scope{bench: b, name: c.name}
	defer func() {
		for i := len(s.undo) - 1; i >= 0; i-- {
			err = errors.Join(err, s.undo[i]())
		}
		runtime.GC() // what one case left is not the next one's to collect
	}()
	return c.run(ctx, s)
}

// atEnd undoes something when the case ends, the last thing first.
func (s *scope) atEnd(undo func() error) { s.undo = append(s.undo, undo) }

// say reports progress.
func (s *scope) say(format string, args ...any) {
	fmt.Fprintf(s.progress, "  %s: "+format+"\n", append([]any{s.name}, args...)...)
}

// pick is full, or quick with -quick.
func pick[T any](b *bench, full, quick T) T {
	if b.quick {
		return quick
	}
	return full
}

// close ends the servers.
func (b *bench) close() error {
	var errs []error
	for _, p := range []*servers.PostgresServer{b.postgres, b.slow} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if b.nats != nil {
		errs = append(errs, b.nats.Close())
	}
	return errors.Join(errs...)
}

// fast is a server with the durability that PostgreSQL has by default.
func (b *bench) fast(ctx context.Context) (*servers.PostgresServer, error) {
	var err error
	if b.postgres == nil {
		b.postgres, err = servers.StartPostgres(ctx, nil)
	}
	return b.postgres, err
}

// slowFlush is a server whose flushes take two milliseconds more. What it does is not quite a slow disk: whoever leads a
// group of commits waits before the flush, not in it, so those who come meanwhile are taken along.
func (b *bench) slowFlush(ctx context.Context) (*servers.PostgresServer, error) {
	var err error
	if b.slow == nil {
		b.slow, err = servers.StartPostgres(ctx, &servers.PostgresOptions{Settings: map[string]string{
			"commit_delay": "2000", "commit_siblings": "0",
		}})
	}
	return b.slow, err
}

// jetStream is a NATS server in a process of its own.
func (b *bench) jetStream(ctx context.Context) (*servers.NATSChild, error) {
	var err error
	if b.nats == nil {
		b.nats, err = servers.StartNATSProcess(ctx, nil)
	}
	return b.nats, err
}
