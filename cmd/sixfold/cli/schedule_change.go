package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// shownControl is what a command changed, for JSON.
type shownControl struct {
	Name    string `json:"name,omitempty"`
	ID      string `json:"id,omitempty"`
	Changed bool   `json:"changed"`
	State   string `json:"state,omitempty"`
	Next    string `json:"next,omitempty"`
}

// changeSchedule does something to a schedule, and says how it is afterwards.
func (a *app) changeSchedule(ctx context.Context, name, done string, do func(s *schedule.Scheduler, tx sqltx.Tx) (bool, error)) error {
	s, db, err := a.openScheduler(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	v := shownControl{Name: name}
	err = db.inTx(ctx, func(tx sqltx.Tx) error {
		if v.Changed, err = do(s, tx); err != nil {
			return err
		}
		d, err := s.Show(ctx, tx, name)
		v.State, v.Next = d.State.String(), instant(d.Next, zoneOr(d.Zone))
		return err
	})
	switch {
	case err != nil:
		return scheduleError(err, name)
	case a.format == "json":
		return a.json(v)
	case !v.Changed:
		return a.line("nothing changes: %s is %s", safe(name), v.State)
	case v.Next != "" && v.State == schedule.Active.String():
		return a.line("%s %s; its next occurrence is %s", done, safe(name), v.Next)
	}
	return a.line("%s %s", done, safe(name))
}

func (a *app) schedulePause() *cobra.Command {
	c := &cobra.Command{Use: "pause NAME", Short: "let no new occurrence begin until it is resumed", Args: oneArgument("the name of a schedule")}
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.changeSchedule(c.Context(), args[0], "paused", func(s *schedule.Scheduler, tx sqltx.Tx) (bool, error) { return s.Pause(c.Context(), tx, args[0]) })
	}
	return c
}

func (a *app) scheduleResume() *cobra.Command {
	c := &cobra.Command{Use: "resume NAME", Short: "go on with the first occurrence after now", Args: oneArgument("the name of a schedule"),
		Long: `Let a paused schedule go on with the first occurrence after now; those of the pause are left out. One
that stopped for a problem is tried again.`}
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.changeSchedule(c.Context(), args[0], "resumed", func(s *schedule.Scheduler, tx sqltx.Tx) (bool, error) { return s.Resume(c.Context(), tx, args[0]) })
	}
	return c
}

func (a *app) scheduleTrigger() *cobra.Command {
	c := &cobra.Command{Use: "trigger NAME", Short: "send a schedule's message now, beside its occurrences", Args: oneArgument("the name of a schedule")}
	c.RunE = func(c *cobra.Command, args []string) error {
		s, db, err := a.openScheduler(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		v := shownControl{Name: args[0], Changed: true}
		err = db.inTx(c.Context(), func(tx sqltx.Tx) (err error) {
			v.ID, err = s.Trigger(c.Context(), tx, args[0])
			return err
		})
		switch {
		case err != nil:
			return scheduleError(err, args[0])
		case a.format == "json":
			return a.json(v)
		}
		return a.line("triggered %s: message %s", safe(args[0]), v.ID)
	}
	return c
}

func (a *app) scheduleCancel() *cobra.Command {
	c := &cobra.Command{Use: "cancel (NAME | --message ID) --yes", Short: "end a schedule, or take back a message that waits for its time", Args: oneArgument("the name of a schedule, or an id with --message"),
		Long: `End a schedule: no new occurrence begins; one whose message was written may still arrive. Its history is
kept for a time. One that has finished does not change. With --message the argument is the id of a
single message that waits for its time.`}
	message := c.Flags().Bool("message", false, "the argument is the id of a message")
	yes := c.Flags().Bool("yes", false, "yes, cancel it")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := needYes(*yes, "cancelling"); err != nil {
			return err
		}
		if !*message {
			return a.changeSchedule(c.Context(), args[0], "cancelled", func(s *schedule.Scheduler, tx sqltx.Tx) (bool, error) { return s.Remove(c.Context(), tx, args[0]) })
		}
		s, db, err := a.openScheduler(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		err = db.inTx(c.Context(), func(tx sqltx.Tx) error { return s.Cancel(c.Context(), tx, args[0]) })
		switch {
		case errors.Is(err, schedule.ErrUnknown):
			return failedWith("no message "+quote(args[0])+" waits for its time", "copy an id from sixfold schedule list --messages; sixfold explain says more")
		case errors.Is(err, schedule.ErrPromoted):
			return failedWith("message "+quote(args[0])+" was due and is on its way", "sixfold explain says where it is")
		case err != nil:
			return err
		case a.format == "json":
			return a.json(shownControl{ID: args[0], Changed: true})
		}
		return a.line("cancelled message %s", safe(args[0]))
	}
	return c
}

func (a *app) scheduleReplay() *cobra.Command {
	c := &cobra.Command{Use: "replay NAME ID --yes", Short: "send the message of a dead occurrence again, with its id", Args: cobra.ArbitraryArgs,
		Long: `Send the message of a dead occurrence again, with its id, as sixfold dead redrive does. The id is that of
sixfold schedule history. An occurrence that is not dead is refused: trigger sends another message.`}
	yes := c.Flags().Bool("yes", false, "yes, send it again")
	o := deadletter.Options{}
	c.Flags().StringVar(&o.Who, "who", "", "`who` does it, for the audit (the user and host when empty)")
	c.Flags().StringVar(&o.Reason, "why", "", "the `reason`, for the audit")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usage("schedule replay needs the name of a schedule and the id of an occurrence", "copy both from sixfold schedule history NAME")
		}
		if err := needYes(*yes, "sending a message again"); err != nil {
			return err
		}
		o.Who = doer(o.Who)
		return a.replay(c.Context(), args[0], args[1], o)
	}
	return c
}

func (a *app) replay(ctx context.Context, name, id string, o deadletter.Options) error {
	s, db, err := a.openScheduler(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	d, err := find(ctx, s, name)
	if err != nil {
		return err
	}
	letters, err := deadletter.New(db.DeadLetters())
	if err != nil {
		return err
	}
	past, err := s.Replay(ctx, letters, d.Name, id, o)
	switch {
	case errors.Is(err, schedule.ErrUnknown):
		return failedWith("schedule "+quote(name)+" has no occurrence "+quote(id)+", or it is not kept any more", "copy an id from sixfold schedule history")
	case errors.Is(err, schedule.ErrNotDead) && past.Fate == schedule.FateDead:
		return failedWith("the message of occurrence "+quote(id)+" is no dead letter any more", "sixfold explain says where it is")
	case errors.Is(err, schedule.ErrNotDead):
		fate := string(past.Fate)
		if fate == "" {
			fate = past.Outcome.String()
		}
		return failedWith("the occurrence "+quote(id)+" is not dead: it is "+fate, "sixfold schedule trigger sends another message")
	case err != nil:
		return err
	case a.format == "json":
		return a.json(shownControl{Name: name, ID: past.ID, Changed: true})
	}
	return a.line("sent occurrence %s of %s again: message %s", past.Planned.UTC().Format(time.RFC3339), safe(name), past.ID)
}
