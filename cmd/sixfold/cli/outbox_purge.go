package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/store"
)

// purgeStep is how many rows one transaction removes.
const purgeStep = 1000

func (a *app) outboxPurge() *cobra.Command {
	var v store.Victims
	var class string
	var all, yes bool
	c := &cobra.Command{Use: "purge (--all | --class C | --topic T | --id ID | --seq N | --older-than D)... --yes", Short: "remove messages that wait; they are never delivered", Args: noArguments,
		Long: `Remove messages that wait. They are never delivered, unless a relay had read them already. Rows
that match all conditions are removed, in transactions of a thousand; what an open transaction
holds is left out.`}
	table := localFlag(c)
	f := c.Flags()
	f.BoolVar(&all, "all", false, "every message of the table")
	f.StringVar(&class, "class", "", "of this `class`: the name of a transport (\"\" for the default) or, with --local, of a consumer")
	f.StringVar(&v.Topic, "topic", "", "to this `topic`")
	f.StringVar(&v.ID, "id", "", "with this `id`")
	f.Int64Var(&v.Seq, "seq", 0, "with this `seq`")
	f.DurationVar(&v.Older, "older-than", 0, "that have waited for this long")
	f.BoolVar(&yes, "yes", false, "yes, remove them")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("class") {
			v.Class = &class
		}
		some := v.Class != nil || v.Topic != "" || v.ID != "" || v.Seq != 0 || v.Older != 0
		switch {
		case some == all:
			return usage("it is not said which messages to remove", "give --all, or at least one of --class, --topic, --id, --seq, --older-than")
		case v.ID != "" && !isUUID(v.ID):
			return usage("--id "+quote(v.ID)+": it is no id of a message", "copy one from sixfold outbox list")
		case v.Seq < 0, v.Older < 0:
			return usage("--seq and --older-than cannot be negative", "give a positive number, or a duration like 24h")
		}
		if err := needYes(yes, "removing messages"); err != nil {
			return err
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		began, removed := time.Now(), 0
		for after := int64(0); ; {
			n, next, err := db.Operator().Remove(c.Context(), table(), v, after, purgeStep)
			removed += n
			if interrupted(c.Context()) {
				return failedWith(fmt.Sprintf("interrupted: %d messages were removed", removed), "the others are as they were; run it again to go on")
			}
			if err != nil {
				f := asFailure(err)
				return &failure{f.Code, fmt.Sprintf("%s (%d messages were removed before)", f.Message, removed), f.Hint}
			}
			if next == 0 {
				break
			}
			after = next
		}
		if removed == 0 && (v.ID != "" || v.Seq != 0) {
			return failedWith("no such message waits in "+table().String(), "it was delivered or removed; sixfold outbox show looks into both tables")
		}
		if a.format == "json" {
			return a.json(map[string]any{"removed": removed})
		}
		return a.line("removed %d messages from %s in %s", removed, table(), short(time.Since(began)))
	}
	return c
}
