package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/outbox"
)

// shownClass is a class for JSON.
type shownClass struct {
	Class         string  `json:"class"`
	Rows          int64   `json:"rows"`
	OldestSeconds float64 `json:"oldest_seconds"`
	Consumed      bool    `json:"consumed"`
	Nodes         int     `json:"nodes"`
}

// shownStats is a table for JSON.
type shownStats struct {
	Table         string       `json:"table"`
	Rows          int64        `json:"rows"`
	Exact         bool         `json:"exact"`
	Looked        int64        `json:"looked_at"`
	OldestSeconds float64      `json:"oldest_seconds"`
	Classes       []shownClass `json:"classes"`
}

func (a *app) outboxStats() *cobra.Command {
	exact := false
	c := &cobra.Command{Use: "stats", Short: "say how many messages wait, for how long, and who takes them", Args: noArguments,
		Long: `Say how many messages wait, for how long, and who takes them. It looks at the 10,000 oldest
rows of each table and takes the number of all from the database's statistics, so that it
answers at once; with --exact it reads the tables.`}
	c.Flags().BoolVar(&exact, "exact", false, "count every row")
	c.RunE = func(c *cobra.Command, _ []string) error {
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		var all []shownStats
		for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
			s, err := db.stats(c, t, exact)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		if a.format == "json" {
			return a.json(all)
		}
		return a.printStats(all)
	}
	return c
}

func (db *database) stats(c *cobra.Command, t outbox.Table, exact bool) (s shownStats, err error) {
	s = shownStats{Table: t.String(), Classes: []shownClass{}}
	if exact {
		all, err := db.Outbox().Keeper().Stats(c.Context(), t)
		if err != nil {
			return s, err
		}
		s.Rows, s.Looked, s.Exact, s.OldestSeconds = all.Pending, all.Pending, true, all.Oldest.Seconds()
		for _, cl := range all.Classes {
			s.Classes = append(s.Classes, shownClass{cl.Class, cl.Pending, cl.Oldest.Seconds(), cl.Consumed, cl.Nodes})
		}
		return s, nil
	}
	v, err := db.Operator().Overview(c.Context(), t)
	if err != nil {
		return s, err
	}
	s.Rows, s.Looked, s.Exact, s.OldestSeconds = v.Estimate, int64(v.Looked), v.Whole, v.Oldest.Seconds()
	for _, cl := range v.Classes {
		s.Classes = append(s.Classes, shownClass{cl.Class, int64(cl.Rows), cl.Oldest.Seconds(), cl.Consumed, cl.Nodes})
	}
	return s, nil
}

func (a *app) printStats(all []shownStats) error {
	rows := [][]string{{"TABLE", "CLASS", "ROWS", "OLDEST", "READERS"}}
	sampled := false
	for _, s := range all {
		number := strconv.FormatInt(s.Rows, 10)
		if !s.Exact {
			sampled = true
			number = "about " + number
		}
		rows = append(rows, []string{s.Table, "(all)", number, seconds(s.OldestSeconds), ""})
		for _, cl := range s.Classes {
			readers := fmt.Sprintf("%d", cl.Nodes)
			if !cl.Consumed {
				readers = "nobody"
			}
			n := strconv.FormatInt(cl.Rows, 10)
			if !s.Exact {
				n += fmt.Sprintf(" of the oldest %d", s.Looked)
			}
			rows = append(rows, []string{s.Table, className(cl.Class), n, seconds(cl.OldestSeconds), readers})
		}
	}
	if err := a.table(rows); err != nil || !sampled {
		return err
	}
	return a.note("The number of all rows is the database's estimate; --exact counts them.")
}

func className(class string) string {
	if class == "" {
		return "(default transport)"
	}
	return class
}
