package cli

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/saga"
)

// unknownSaga says that the program does not know a saga's steps.
func unknownSaga(name string) error {
	return failedWith("this program does not know the steps of saga "+quote(name), "build a sixfold of your own with cli.Sagas, as docs/cli.md shows, or call the method of the flow")
}

// flow answers a flow that was made known.
func (a *app) flow(name string) (Flow, error) {
	s := a.saga(name)
	if s == nil {
		return nil, unknownSaga(name)
	}
	f, ok := s.(Flow)
	if !ok {
		return nil, failedWith("saga "+quote(name)+" is no flow: only its own code knows what comes next", "send it a message, or call ByHand")
	}
	return f, nil
}

// steer is a command that has a flow do something with one instance.
func (a *app) steer(use, short, long, done string, withStep bool, do func(ctx context.Context, f Flow, key, step, who string) error) *cobra.Command {
	c := &cobra.Command{Use: use + " SAGA KEY", Short: short, Long: long, Args: sagaAndKey}
	who := c.Flags().String("who", "", "`who` does it, for the journal (the user and host when empty)")
	step := new(string)
	if withStep {
		step = c.Flags().String("step", "", "only this step, a `path` like prepare/pack")
	}
	yes := c.Flags().Bool("yes", false, "yes, do it")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := needYes(*yes, "steering an instance"); err != nil {
			return err
		}
		f, err := a.flow(args[0])
		if err != nil {
			return err
		}
		if err := sagaError(do(c.Context(), f, args[1], *step, doer(*who)), args[0], args[1]); err != nil {
			return err
		}
		return a.changedInstance(args[0], args[1], done)
	}
	return c
}

func (a *app) changedInstance(name, key, done string) error {
	if a.format == "json" {
		return a.json(struct {
			Saga string `json:"saga"`
			Key  string `json:"key"`
			Done string `json:"done"`
		}{name, key, done})
	}
	return a.line("%s %s of %s", done, safe(key), safe(name))
}

// sagaError gives what package saga says a hint.
func sagaError(err error, name, key string) error {
	switch {
	case errors.Is(err, saga.ErrNoInstance):
		return failedWith("saga "+quote(name)+" has no instance "+quote(key), "copy both from sixfold saga list")
	case errors.Is(err, saga.ErrEnded):
		return failedWith("instance "+quote(key)+" of saga "+quote(name)+" has ended, or is being undone already", "sixfold saga show says which")
	}
	return err
}

func (a *app) sagaRetry() *cobra.Command {
	return a.steer("retry", "try the steps anew at which an instance is stuck", `Try the steps anew at which an instance of a flow is stuck, with all their attempts; with --step also
one that still waits for a reply which somebody knows will not come. The program has to know the flow.`, "retried", true,
		func(ctx context.Context, f Flow, key, step, who string) error { return f.Retry(ctx, key, step, who) })
}

func (a *app) sagaResume() *cobra.Command {
	return a.steer("resume", "go on where an instance is stuck: somebody has done by hand what was to do", `Go on with an instance of a flow as if the steps had succeeded at which it is stuck: somebody has done
by hand what they, or their undoing, should have. The program has to know the flow.`, "resumed", true,
		func(ctx context.Context, f Flow, key, step, who string) error { return f.Resume(ctx, key, step, who) })
}

func (a *app) sagaCompensate() *cobra.Command {
	return a.steer("compensate", "have an instance of a flow undo what it has done", `Have an instance of a flow undo what it has done, last step first, as if a step had been refused. It is
refused behind the point of no return. The program has to know the flow.`, "compensating", false,
		func(ctx context.Context, f Flow, key, _, who string) error { return f.Cancel(ctx, key, who) })
}

func (a *app) sagaCancel() *cobra.Command {
	c := &cobra.Command{Use: "cancel SAGA KEY", Short: "end an instance: a flow undoes what it has done, another saga just ends", Args: sagaAndKey,
		Long: `End an instance. A flow undoes what it has done, as compensate has it do, and the program has to know it.
Any other saga just ends: its timers are cancelled, later messages are dropped, nothing is undone.`}
	who := c.Flags().String("who", "", "`who` does it, for the journal (the user and host when empty)")
	why := c.Flags().String("why", "", "the `reason`, for the journal")
	yes := c.Flags().Bool("yes", false, "yes, end it")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := needYes(*yes, "ending an instance"); err != nil {
			return err
		}
		if f, ok := a.saga(args[0]).(Flow); ok {
			if err := sagaError(f.Cancel(c.Context(), args[1], doer(*who)), args[0], args[1]); err != nil {
				return err
			}
			return a.changedInstance(args[0], args[1], "compensating")
		}
		desk, db, err := a.openDesk(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		in, err := desk.Show(c.Context(), args[0], args[1])
		if err == nil && isFlow(in.State) {
			return unknownSaga(args[0])
		}
		if err == nil {
			err = desk.Cancel(c.Context(), args[0], args[1], doer(*who), *why)
		}
		if err := sagaError(err, args[0], args[1]); err != nil {
			return err
		}
		return a.changedInstance(args[0], args[1], "cancelled")
	}
	return c
}

// isFlow reports whether a state is that of a flow, which has its progress among the fields.
func isFlow(state []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(state, &fields) != nil {
		return false
	}
	_, ok := fields["$flow"]
	return ok
}

func (a *app) sagaGraph() *cobra.Command {
	c := &cobra.Command{Use: "graph SAGA", Short: "draw a flow in Mermaid, with the number of instances at each step", Args: oneArgument("the name of a saga"),
		Long: `Draw a flow in Mermaid, with the number of instances that are at each step now. The program has to know
the flow. --offline leaves the numbers out, and connects to nothing.`}
	offline := c.Flags().Bool("offline", false, "draw it without numbers")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := a.flow(args[0])
		if err != nil {
			return err
		}
		var at map[string]int64
		if !*offline {
			desk, db, err := a.openDesk(c.Context())
			if err != nil {
				return err
			}
			defer db.close()
			at = make(map[string]int64)
			add := func(in *saga.Instance) error {
				steps, err := f.At(in)
				for _, step := range steps {
					at[step]++
				}
				return err
			}
			if err := instances(c.Context(), desk, saga.Filter{Saga: args[0], Live: true, Full: true}, add); err != nil {
				return err
			}
			if err := instances(c.Context(), desk, saga.Filter{Saga: args[0], Status: saga.Stuck, Full: true}, add); err != nil {
				return err
			}
		}
		if a.format == "json" {
			return a.json(struct {
				Saga  string           `json:"saga"`
				At    map[string]int64 `json:"at"`
				Graph string           `json:"graph"`
			}{args[0], at, f.Graph(at)})
		}
		return a.lines(f.Graph(at))
	}
	return c
}
