package demo

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Options of Run.
type Options struct {
	Orders  int  // to place, rolled back ones included. At least 1
	Kills   int  // of the relays
	Verbose bool // show what Sixfold logs
}

// limit of the whole run.
const limit = 60 * time.Second

// Main is the program: flags, output and exit code (0: all is well; 1: it is not; 2: the flags are wrong).
func Main(ctx context.Context, b Broker, args []string, stdout, stderr io.Writer) int {
	if text := os.Getenv(childEnv); text != "" {
		if err := runRelays(ctx, b, text, os.Stdin, stdout, logger(stderr, os.Getenv("SIXFOLD_DEMO_VERBOSE") != "")); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	format := flags.String("format", "text", "text or json")
	var o Options
	flags.IntVar(&o.Orders, "orders", 1000, "orders to place")
	flags.IntVar(&o.Kills, "kills", 3, "times to kill the relays")
	flags.BoolVar(&o.Verbose, "v", false, "show what Sixfold logs")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *format != "text" && *format != "json" || flags.NArg() > 0 || o.Orders < 1 || o.Kills < 0 {
		fmt.Fprintf(stderr, "demo: --format is text or json, --orders at least 1, --kills at least 0, and there are no other arguments; --help shows the flags\n")
		return 2
	}
	progress := stdout
	if *format == "json" {
		progress = io.Discard
	}
	r, err := Run(ctx, b, o, progress, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if *format == "json" {
		if err := json.NewEncoder(stdout).Encode(r); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
	} else {
		r.print(stdout)
	}
	if !r.OK() {
		return 1
	}
	return 0
}

func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelError
	if verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// Run plays the demo and answers what the tables say at the end. It leaves nothing behind.
func Run(ctx context.Context, b Broker, o Options, progress, stderr io.Writer) (r Report, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("demo: it did not end within %v; is the machine very busy?", limit))
	defer cancel()
	fmt.Fprintf(progress, "A shop of three services (%s). %d orders go orders → payments → shipping → orders,\neach step one transaction; the relays run in a process that is killed %d times meanwhile.\n\n", b.Title, o.Orders, o.Kills)
	dir, err := os.MkdirTemp("", "sixfold-demo-")
	if err != nil {
		return r, fmt.Errorf("demo: make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if o.Verbose {
		os.Setenv("SIXFOLD_DEMO_VERBOSE", "1") // for the relays' process
	}
	log := logger(stderr, o.Verbose)
	address, stop, err := b.Start(ctx, dir)
	if err != nil {
		return r, err
	}
	defer stop()

	all := make(map[string]*Service)
	var consumers []sixfold.Runnable
	for _, name := range names() {
		s, err := openService(dir, name, log)
		if err != nil {
			return r, err
		}
		defer s.sql.Close()
		if err := s.migrate(ctx); err != nil {
			return r, err
		}
		all[name] = s
	}
	for _, name := range names() {
		t, err := b.Open(ctx, address, all[name], log)
		if err != nil {
			return r, err
		}
		defer t.Close(context.WithoutCancel(ctx))
		c, err := all[name].consumer(t, log)
		if err != nil {
			return r, err
		}
		consumers = append(consumers, c)
	}
	consuming, stopConsuming := context.WithCancel(ctx)
	consumed := make(chan error, 1)
	go func() { consumed <- sixfold.Run(consuming, consumers...) }()
	err = play(ctx, o, all, childConfig{dir, address}, &r, progress, stderr)
	stopConsuming()
	if err = errors.Join(err, <-consumed); err != nil {
		return r, errors.Join(err, context.Cause(ctx))
	}
	placed := r.Placed
	if err := r.read(ctx, all); err != nil {
		return r, err
	}
	if placed != r.Placed {
		return r, fmt.Errorf("demo: %d orders were reported as committed, the table has %d", placed, r.Placed)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// play places the orders, kills the relays, and waits until every effect is there.
func play(ctx context.Context, o Options, all map[string]*Service, c childConfig, r *Report, progress, stderr io.Writer) (err error) {
	out, err := all["orders"].outbox()
	if err != nil {
		return err
	}
	p := &placer{s: all["orders"], out: out}
	relays, err := startRelays(c, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, relays.stop()) }()
	place, look, show := time.NewTicker(2*time.Millisecond), time.NewTicker(50*time.Millisecond), time.NewTicker(500*time.Millisecond)
	defer place.Stop()
	defer look.Stop()
	defer show.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-relays.exited:
			relays.exited <- err // for stop
			return errors.New("demo: the relays ended by themselves")
		case <-place.C:
			if err := p.place(ctx); err != nil {
				return err
			}
			if n++; n == o.Orders {
				place.Stop()
				r.Placed, r.RolledBack = p.placed, p.rolledBack
				fmt.Fprintf(progress, "  all orders are placed; waiting for the last effects\n")
			}
		case <-relays.moved:
			inFlight := relays.inFlight.Load()
			if r.RelayKills == o.Kills || n < (r.RelayKills+1)*o.Orders/(o.Kills+1) || inFlight <= 0 {
				continue
			}
			if err := relays.kill(); err != nil {
				return err
			}
			r.RelayKills++
			r.InFlightAtKills += inFlight
			fmt.Fprintf(progress, "  SIGKILL to the relays with %d messages in flight; starting others\n", inFlight)
			if relays, err = startRelays(c, stderr); err != nil {
				return err
			}
		case <-look.C:
			if n < o.Orders {
				continue
			}
			done, err := handled(ctx, all, p.placed)
			if err != nil || done {
				return err
			}
		case <-show.C:
			if err := status(ctx, all, p, r, progress); err != nil {
				return err
			}
		}
	}
}

// handled reports whether every service has its effects.
func handled(ctx context.Context, all map[string]*Service, placed int) (bool, error) {
	for _, s := range all {
		if n, err := s.count(ctx); err != nil || n < placed {
			return false, err
		}
	}
	return true, nil
}

func status(ctx context.Context, all map[string]*Service, p *placer, r *Report, w io.Writer) error {
	counts := make([]any, 0, 4)
	counts = append(counts, p.placed)
	for _, name := range []string{"payments", "shipping", "orders"} {
		n, err := all[name].count(ctx)
		if err != nil {
			return err
		}
		counts = append(counts, n)
	}
	fmt.Fprintf(w, "  placed %5d   paid %5d   shipped %5d   confirmed %5d\n", counts...)
	return nil
}
