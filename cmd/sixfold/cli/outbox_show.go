package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store"
)

func (a *app) outboxShow() *cobra.Command {
	body, exact := false, false
	c := &cobra.Command{Use: "show SEQ|ID", Short: "show one message that waits", Args: oneArgument("the seq or the id of a message"),
		Long: `Show one message that waits, by its seq, or by its id. There is no index on ids. Those that
Sixfold makes hold the time, which leads to the place of the message; only when it is not
there, the tables are read whole. An id that the caller chose may be that of several messages:
--exact reads the tables, and shows all.`}
	c.Flags().BoolVar(&body, "body", false, "show the body too")
	c.Flags().BoolVar(&exact, "exact", false, "look at every row for an id")
	c.RunE = func(c *cobra.Command, args []string) error {
		seq, err := strconv.ParseInt(args[0], 10, 64)
		isSeq := err == nil
		if !isSeq && !isUUID(args[0]) {
			return usage(quote(args[0])+" is neither a seq nor an id", "copy one of them from sixfold outbox list")
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		// One way after the other; each looks into both tables.
		type way = func(t outbox.Table) ([]store.Entry, error)
		near := func(t outbox.Table) ([]store.Entry, error) { return db.Operator().Near(c.Context(), t, args[0]) }
		whole := func(t outbox.Table) ([]store.Entry, error) { return db.Operator().Find(c.Context(), t, args[0]) }
		ways := []way{near, whole}
		switch {
		case isSeq:
			ways = []way{func(t outbox.Table) ([]store.Entry, error) { return db.Operator().Seq(c.Context(), t, seq) }}
		case exact:
			ways = []way{whole}
		}
		for _, look := range ways {
			some := false
			for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
				list, err := look(t)
				if err != nil {
					return err
				}
				for i := range list {
					some = true
					if err := a.showRow(t, &list[i], body); err != nil {
						return err
					}
				}
			}
			if some {
				return nil
			}
		}
		return failedWith("no message "+quote(args[0])+" waits", "it was delivered or removed, or it never was committed here")
	}
	return c
}

// isUUID reports whether s is written like one.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
		if dash && r != '-' || !dash && !hex {
			return false
		}
	}
	return true
}

func (a *app) showRow(t outbox.Table, e *store.Entry, body bool) error {
	r, env := shown(t, e)
	r.Attributes, r.Headers = attributes(&env), env.Headers
	if body {
		r.payload = payloadOf(e.Body)
	}
	if a.format == "json" {
		return a.json(r)
	}
	lines := [][]string{{"table", r.Table}, {"seq", strconv.FormatInt(r.Seq, 10)}, {"id", r.ID}, {"class", className(r.Class)}, {"topic", r.Topic}, {"type", r.Type}, {"key", r.Key},
		{"partition", strconv.Itoa(int(r.Partition))}, {"attempts", strconv.Itoa(int(r.Attempts))}, {"written", r.CreatedAt.Format("2006-01-02T15:04:05.000Z07:00") + " (" + short(e.Age) + " ago)"}}
	if r.Unreadable != "" {
		lines = append(lines, []string{"unreadable", r.Unreadable})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		lines = append(lines, []string{name, r.Attributes[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		lines = append(lines, []string{"header " + name, r.Headers[name]})
	}
	text := "none"
	if r.BodyBytes >= 0 {
		text = fmt.Sprintf("%d bytes; --body shows them", r.BodyBytes)
	}
	if body {
		text = bodyText(e.Body)
	}
	return a.pairs(append(lines, []string{"body", text}))
}
