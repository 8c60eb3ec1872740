package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) outboxList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the oldest messages that wait", Args: noArguments}
	table, limit := localFlag(c), limitFlag(c, 10_000)
	after := c.Flags().Int64("after", 0, "begin behind this `seq`, the last one of the page before")
	c.RunE = func(c *cobra.Command, _ []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		list, err := db.Operator().List(c.Context(), table(), *after, most)
		if err != nil {
			return err
		}
		out, rows := []shownRow{}, [][]string{{"SEQ", "ID", "TO", "TYPE", "KEY", "AGE", "BYTES", "ATTEMPTS"}}
		for i := range list {
			r, _ := shown(table(), &list[i])
			out = append(out, r)
			to, kind := r.Topic, r.Type
			if to == "" {
				to = r.Class
			}
			if r.Unreadable != "" {
				kind = "(unreadable)"
			}
			rows = append(rows, []string{strconv.FormatInt(r.Seq, 10), r.ID, to, kind, r.Key, short(list[i].Age), strconv.Itoa(max(0, r.BodyBytes)), strconv.Itoa(int(r.Attempts))})
		}
		if a.format == "json" {
			return a.json(out)
		}
		if len(list) == 0 {
			return a.line("no message waits in %s", table())
		}
		if err := a.table(rows); err != nil || len(list) < most {
			return err
		}
		return a.note(fmt.Sprintf("There may be more: --after %d", list[len(list)-1].Seq))
	}
	return c
}
