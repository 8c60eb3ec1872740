package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/deadletter"
)

// doFlags are the flags of what is done to many messages.
type doFlags struct {
	o        deadletter.Options
	all, yes bool
}

func (d *doFlags) add(c *cobra.Command, what string) {
	f := c.Flags()
	f.BoolVar(&d.all, "all", false, "all of them")
	f.BoolVar(&d.o.DryRun, "dry-run", false, "only say what would happen")
	f.Float64Var(&d.o.Rate, "rate", 0, "at most this `number` of messages a second; 0: no limit")
	f.StringVar(&d.o.Run, "run", "", "go on with this `run`, with what it had chosen")
	f.StringVar(&d.o.Who, "who", "", "`who` does it, for the audit (the user and host when empty)")
	f.StringVar(&d.o.Reason, "why", "", "the `reason`, for the audit")
	f.BoolVar(&d.yes, "yes", false, "yes, "+what+" them")
}

// action is redrive, discard or release.
type action struct {
	verb, done, doing string
	state             deadletter.State
	do                func(*deadletter.Letters) func(context.Context, deadletter.Filter, deadletter.Options) (deadletter.Report, error)
}

func (a *app) deadRedrive() *cobra.Command {
	c := &cobra.Command{Use: "redrive (N|ID... | --all | --consumer C ...) --yes", Short: "send dead letters again",
		Long: `Send dead letters again, in the order of their numbers: to the line of their key, before what came
later, with all attempts again; those of a relay to the outbox. What is no dead letter any more is
left as it is. Interrupted, it says how to go on: --run.

With --canary the first one is sent alone; unless it is handled, the others stay.

With --broker (or --at-broker) and --topic T it is about T.dead, the dead letters of consumers
without a database: they go back to the topic that they came from.`}
	d := &doFlags{}
	d.add(c, "send")
	c.Flags().BoolVar(&d.o.Canary, "canary", false, "send one, and stop unless it is handled")
	c.Flags().DurationVar(&d.o.CanaryWait, "canary-wait", time.Minute, "how long the canary may take")
	topics := a.deadTopicFlags(c)
	return a.doing(c, d, topics, action{"redrive", "sent %d messages again", "sending messages again", deadletter.Dead,
		func(l *deadletter.Letters) func(context.Context, deadletter.Filter, deadletter.Options) (deadletter.Report, error) {
			return l.Redrive
		}})
}

func (a *app) deadDiscard() *cobra.Command {
	c := &cobra.Command{Use: "discard (N|ID... | --all | --consumer C ...) --yes", Short: "remove dead letters for good; what they held back goes on",
		Long: `Remove dead letters for good. What they held back goes on. A late copy is not handled either. The
audit keeps them.`}
	d := &doFlags{}
	d.add(c, "remove")
	return a.doing(c, d, nil, action{"discard", "discarded %d messages", "discarding messages", deadletter.Dead,
		func(l *deadletter.Letters) func(context.Context, deadletter.Filter, deadletter.Options) (deadletter.Report, error) {
			return l.Discard
		}})
}

func (a *app) doing(c *cobra.Command, d *doFlags, topics *deadTopic, act action) *cobra.Command {
	ch := choiceFlags(c, act.state)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := ch.check(); err != nil {
			return err
		}
		some := ch.some() || len(args) > 0
		switch {
		case d.o.Run != "" && (some || d.all):
			return usage("--run goes on with what the run had chosen, and more is chosen here", "leave the rest out")
		case d.o.Run == "" && some == d.all:
			return usage("it is not said which messages are meant", "give their numbers or ids, conditions like --consumer, or --all")
		case d.o.Rate < 0:
			return usage("--rate "+strconv.FormatFloat(d.o.Rate, 'g', -1, 64)+": it is negative", "write --rate 100, or leave it out")
		}
		if !d.o.DryRun {
			if err := needYes(d.yes, act.doing); err != nil {
				return err
			}
		}
		d.o.Who = doer(d.o.Who)
		if topics.asked() {
			return topics.redrive(c.Context(), ch, d, args)
		}
		letters, db, err := a.openLetters(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		if d.o.Run != "" {
			known, err := letters.Audit(c.Context(), deadletter.Trail{Run: d.o.Run, Limit: 1})
			if err != nil {
				return err
			}
			if len(known) == 0 {
				return failedWith("there is no run "+quote(d.o.Run), "copy its name from what the interrupted command said")
			}
		}
		if ch.f.Numbers, err = numbers(c.Context(), letters, args, act.state); err != nil {
			return err
		}
		o := d.o
		var said time.Time
		o.Progress = func(r deadletter.Report) {
			if time.Since(said) >= time.Second {
				said = time.Now()
				fmt.Fprintf(a.err, "sixfold: "+act.done+" so far\n", r.Done)
			}
		}
		report, err := act.do(letters)(c.Context(), ch.f, o)
		if err != nil {
			return a.stopped(c.Context(), c, act, report, err)
		}
		if report.Summary != nil {
			return a.wouldDo(report.Summary)
		}
		return a.did(act, report, len(args) > 0)
	}
	return c
}

// stopped says what was done before an error, and how to go on.
func (a *app) stopped(ctx context.Context, c *cobra.Command, act action, r deadletter.Report, err error) error {
	if r.Run == "" {
		return err
	}
	again := "; go on with " + c.CommandPath() + " --run " + r.Run + " --yes"
	if interrupted(ctx) {
		return failedWith(fmt.Sprintf("interrupted: "+act.done, r.Done), "the others are as they were"+again)
	}
	if errors.Is(err, deadletter.ErrCanary) {
		return failedWith(fmt.Sprintf("the canary, message %d, is %s", r.Canary.N, r.CanaryFate), "the others are as they were; see sixfold explain "+r.Canary.ID+again)
	}
	f := asFailure(err)
	return &failure{f.Code, fmt.Sprintf("%s ("+act.done+" before)", f.Message, r.Done), f.Hint + again}
}

// did reports what was done.
func (a *app) did(act action, r deadletter.Report, named bool) error {
	for _, s := range r.Skipped[:min(10, len(r.Skipped))] {
		fmt.Fprintf(a.err, "sixfold: left message %d as it is: %s\n", s.N, safe(s.Why))
	}
	if r.SkippedCount > 10 {
		fmt.Fprintf(a.err, "sixfold: left %d more as they are\n", r.SkippedCount-10)
	}
	if r.Done == 0 && named && !r.Resumed {
		return failedWith("nothing was changed", "see above why; sixfold explain says more about a message")
	}
	if a.format == "json" {
		skipped := []map[string]any{}
		for _, s := range r.Skipped {
			skipped = append(skipped, map[string]any{"n": s.N, "why": s.Why})
		}
		return a.json(map[string]any{"run": r.Run, "resumed": r.Resumed, "done": r.Done, "skipped_count": r.SkippedCount, "skipped": skipped})
	}
	return a.line(act.done+" (run %s)", r.Done, r.Run)
}

// wouldDo reports a dry run.
func (a *app) wouldDo(s *deadletter.Summary) error {
	if a.format == "json" {
		groups, keys := []map[string]any{}, []map[string]any{}
		for _, g := range s.Groups {
			groups = append(groups, map[string]any{"consumer": g.Consumer, "relay": g.Relay, "type": g.Type, "reason": g.Reason, "count": g.Count, "oldest_seconds": g.Oldest.Seconds()})
		}
		for _, k := range s.Keys {
			keys = append(keys, map[string]any{"consumer": k.Consumer, "key": k.Key, "count": k.Count})
		}
		return a.json(map[string]any{"dry_run": true, "total": s.Total, "behind": s.Behind, "groups": groups, "keys": keys})
	}
	if s.Total == 0 {
		return a.line("no message would be touched")
	}
	rows := [][]string{{"CONSUMER", "TYPE", "REASON", "MESSAGES", "OLDEST"}}
	for _, g := range s.Groups {
		consumer := g.Consumer
		if g.Relay {
			consumer = "(relay) " + consumer
		}
		rows = append(rows, []string{consumer, g.Type, g.Reason, strconv.Itoa(g.Count), short(g.Oldest)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if len(s.Keys) > 0 {
		rows = [][]string{{"CONSUMER", "KEY", "MESSAGES"}}
		for _, k := range s.Keys {
			rows = append(rows, []string{k.Consumer, k.Key, strconv.Itoa(k.Count)})
		}
		if err := a.line(""); err != nil {
			return err
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	return a.line("\n%d messages would be touched; %d others wait in the lines of their keys. Nothing was changed.", s.Total, s.Behind)
}
