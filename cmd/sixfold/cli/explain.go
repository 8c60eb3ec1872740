package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/explain"
)

func (a *app) explainCommand() *cobra.Command {
	var o explain.Options
	c := &cobra.Command{Use: "explain ID", Short: "say where a message is and why, from all that the tables know of its id", Args: oneArgument("the id of a message"),
		Long: `Say where a message is and why: pending behind which partition, owner and transaction; parked
behind which message, and until when; dead for what reason; handled when and by whom; what people
did to it. Of what is gone it says what was looked at, and why it can be gone. The exit code is 1
when nothing is known.`}
	c.Flags().StringArrayVar(&o.Sources, "source", nil, "the message's `source`, may be repeated; without it those that were seen lately are tried")
	c.Flags().BoolVar(&o.Exact, "exact", false, "look at every row where there is no index on ids")
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[0] == "" || len(args[0]) > 255 {
			return usage("the id "+quote(args[0])+" is empty, or longer than 255 bytes", "copy it from a list or a log")
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		report, err := explain.Message(c.Context(), db.Store.Explain(), args[0], &o)
		if err != nil {
			return err
		}
		if a.format == "json" {
			err = a.json(report)
		} else {
			err = a.line("%s", strings.TrimSuffix(report.String(), "\n"))
		}
		if err == nil && !report.Found {
			return failedWith("nothing is known about message "+quote(args[0]), "see above what was looked at; --exact and --source look further")
		}
		return err
	}
	return c
}
