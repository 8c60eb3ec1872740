package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/itest/servers"
)

func main() {
	servers.Reexec()
	reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, sigTerminate)
	code := command(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// dsnEnv names the variable with the DSN of an empty database. Without it a private server is started, which is
// a victim of faults too.
const dsnEnv = "SIXFOLD_TORTURE_DSN"

// command is the program; it answers the exit code.
func command(ctx context.Context, args []string) int {
	var o Options
	var bug, poison, deck, report string
	bare := false
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.IntVar(&o.Messages, "n", 20_000, "messages that are committed")
	flags.IntVar(&o.Faults, "faults", 15, "faults")
	flags.Uint64Var(&o.Seed, "seed", rand.Uint64N(1<<32), "seed of every choice; drawn if not given")
	flags.StringVar(&o.Broker, "broker", "local", "local, kafka (fake brokers), kafka-real (Apache Kafka, from the repository of SIXFOLD_MAVEN), nats, rabbitmq, sqlqueue or sqs (an emulator)")
	flags.StringVar(&o.Database, "database", "postgres", "postgres, mariadb or sqlite")
	flags.StringVar(&bug, "plant", "", "a bug to plant, by its name in internal/planted; needs -tags planted")
	flags.StringVar(&poison, "poison", "billing,audit,shipping", "consumers that get a message which kills their process")
	flags.StringVar(&deck, "deck", "", "the kinds of faults, in place of all, for example \"kill relay,freeze relay\"")
	flags.StringVar(&o.Dir, "dir", "", "where journals and logs are kept")
	flags.StringVar(&report, "json", "", "a file for the summary as JSON, in place of standard output")
	flags.DurationVar(&o.Lease, "lease", 2*time.Second, "of relays and local consumers")
	flags.IntVar(&o.Keys, "keys", 1000, "keys, one of them hot")
	flags.IntVar(&o.Writers, "writers", 8, "goroutines of the publisher")
	flags.IntVar(&o.Pending, "pending", 2000, "waiting rows at which the publisher pauses")
	flags.IntVar(&o.Hold, "hold", 3, "per cent of transactions that stay open after publishing")
	flags.DurationVar(&o.HoldFor, "hold-for", 300*time.Millisecond, "how long, at most")
	flags.DurationVar(&o.Send, "send", 8*time.Millisecond, "how long the broker's connection takes a batch for, at most")
	flags.DurationVar(&o.Slow, "slow", 0, "latency on top of the relays' reads")
	flags.BoolVar(&o.Failing, "failing", true, "handlers fail: some, always, and some crash")
	flags.BoolVar(&o.Calm, "calm", false, "handlers fail by poison only")
	flags.DurationVar(&o.SlowTend, "slow-tend", 0, "latency of keeping parked messages")
	flags.IntVar(&o.Attempts, "attempts", 12, "of a message, before it is a dead letter")
	flags.IntVar(&o.Crashes, "crashes", 4, "attempts at which poison kills, before it only fails; 0: at all of them")
	flags.DurationVar(&o.Stall, "stall", 30*time.Second, "how long nothing may move at the end")
	flags.DurationVar(&o.Bound, "bound", 0, "how long the run may take; 0: ten minutes, 20 ms for each message and 20 s for each fault")
	flags.BoolVar(&bare, "bare", false, "do not ask that enough went wrong")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		if err == nil {
			fmt.Fprintf(os.Stderr, "torture: argument %q: there are only flags; see -help\n", flags.Arg(0))
		}
		return 2
	}
	o.DSN = os.Getenv(dsnEnv)
	o.Plant = planted.Bug(bug)
	o.Poison = list(poison)
	for _, f := range list(deck) {
		o.Deck = append(o.Deck, Fault(f))
	}
	if !bare {
		o.Need = fullNeed(o.Faults)
		o.Need.DeadLetters = len(o.Poison)
		if o.Failing {
			o.Need.parkedNeed()
		}
	}
	began := time.Now()
	o.Progress = func(line string) { fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(began).Seconds(), line) }
	if err := o.defaults(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Fprintf(os.Stderr, "torture: %d messages, %d faults, broker %s, database %s, seed %d\n", o.Messages, o.Faults, o.Broker, o.Database, o.Seed)
	s, err := Torture(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Table(os.Stderr)
	out := os.Stdout
	if report != "" {
		if out, err = os.Create(report); err != nil {
			fmt.Fprintln(os.Stderr, "torture: write the summary:", err)
			return 1
		}
		defer out.Close()
	}
	if err := s.JSON(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !s.Passed() {
		return 1
	}
	return 0
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}
