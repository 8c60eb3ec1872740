package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/schedule"
)

// shownOccurrence is one for JSON.
type shownOccurrence struct {
	Planned     string  `json:"planned"` // in the schedule's zone
	Promoted    string  `json:"promoted"`
	LateSeconds float64 `json:"late_seconds"`
	Outcome     string  `json:"outcome"`
	Fate        string  `json:"fate,omitempty"`
	ID          string  `json:"id,omitempty"`
	Missed      int     `json:"missed,omitempty"`
	Note        string  `json:"note,omitempty"`
}

func (a *app) scheduleHistory() *cobra.Command {
	c := &cobra.Command{Use: "history NAME", Short: "list past occurrences of a schedule, the latest first", Args: oneArgument("the name of a schedule"),
		Long: `List past occurrences of a schedule, the latest first: planned when, begun how late, and what became of
the message. "relayed" went to a broker, of whose consumers this database does not know. "missed" is
how many before it the misfire policy passed over.`}
	limit := limitFlag(c, 10_000)
	before := c.Flags().String("before", "", "those planned before this `time`, that of the last one of the page before")
	c.RunE = func(c *cobra.Command, args []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		var end time.Time
		if *before != "" {
			if end, err = instantOf(*before, time.UTC); err != nil {
				return usage("--before "+quote(*before)+": "+err.Error(), "write --before 2026-03-28T00:00:00Z, or leave it out")
			}
		}
		s, db, err := a.openScheduler(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		d, err := find(c.Context(), s, args[0])
		if err != nil {
			return err
		}
		list, err := s.Occurrences(c.Context(), d.Name, end, most)
		if err != nil {
			return err
		}
		return a.occurrences(list, zoneOr(d.Zone), most)
	}
	return c
}

func (a *app) occurrences(list []schedule.Occurrence, zone *time.Location, most int) error {
	out, rows := []shownOccurrence{}, [][]string{{"PLANNED", "LATE", "OUTCOME", "FATE", "ID", "MISSED", "NOTE"}}
	for i := range list {
		o := &list[i]
		late := o.Promoted.Sub(o.Planned)
		v := shownOccurrence{Planned: instant(o.Planned, zone), Promoted: instant(o.Promoted, zone), LateSeconds: late.Seconds(), Outcome: o.Outcome.String(), Fate: string(o.Fate), ID: o.ID,
			Missed: o.Missed, Note: o.Note}
		out = append(out, v)
		missed := ""
		if o.Missed > 0 {
			missed = fmt.Sprint(o.Missed)
		}
		rows = append(rows, []string{v.Planned, short(late), v.Outcome, v.Fate, v.ID, missed, cut(v.Note, 60)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("it has had no occurrence, or none that is kept")
	}
	if err := a.table(rows); err != nil || len(list) < most {
		return err
	}
	return a.note("There may be more: --before " + list[len(list)-1].Planned.UTC().Format(time.RFC3339Nano))
}
