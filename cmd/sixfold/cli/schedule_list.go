package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
)

// shownSchedule is a schedule for JSON. Times are in its zone.
type shownSchedule struct {
	Name          string   `json:"name"`
	Spec          string   `json:"spec"`
	Zone          string   `json:"zone"`
	State         string   `json:"state"`
	Problem       string   `json:"problem,omitempty"`
	Owner         string   `json:"owner,omitempty"`
	Next          string   `json:"next,omitempty"`
	Last          string   `json:"last,omitempty"`
	LastID        string   `json:"last_id,omitempty"`
	Runs          int64    `json:"runs"`
	MaxRuns       int      `json:"max_runs,omitempty"`
	Start         string   `json:"start,omitempty"`
	End           string   `json:"end,omitempty"`
	Missing       string   `json:"missing"`
	Repeated      string   `json:"repeated"`
	Misfire       string   `json:"misfire"`
	MisfireCap    int      `json:"misfire_cap,omitempty"`
	GraceSeconds  float64  `json:"grace_seconds"`
	NoOverlap     bool     `json:"no_overlap"`
	JitterSeconds float64  `json:"jitter_seconds,omitempty"`
	Type          string   `json:"type"`
	Key           string   `json:"key,omitempty"`
	To            []string `json:"to"`
	Changed       string   `json:"changed"`
	payload
}

func shownDetails(d *schedule.Details) shownSchedule {
	zone, r := zoneOr(d.Zone), &d.Recurring
	return shownSchedule{Name: d.Name, Spec: d.Spec, Zone: d.Zone, State: d.State.String(), Problem: d.Problem, Owner: d.Owner, Next: instant(d.Next, zone), Last: instant(d.Last, zone),
		LastID: d.LastID, Runs: d.Runs, MaxRuns: r.MaxRuns, Start: instant(r.Start, zone), End: instant(r.End, zone),
		Missing:  map[schedule.Missing]string{schedule.FirstValid: "first-valid", schedule.Skip: "skip"}[r.Missing],
		Repeated: map[schedule.Repeated]string{schedule.First: "first", schedule.Last: "last", schedule.Both: "both"}[r.Repeated],
		Misfire:  map[schedule.Misfire]string{schedule.FireOnce: "once", schedule.FireAll: "all", schedule.FireNone: "none"}[r.Misfire], MisfireCap: r.MisfireCap,
		GraceSeconds: r.Grace.Seconds(), NoOverlap: r.NoOverlap, JitterSeconds: r.Jitter.Seconds(), Type: d.Type, Key: d.Key, To: append([]string{}, d.To...), Changed: instant(d.Changed, zone)}
}

// shownWaiting is a message that waits for its time, for JSON.
type shownWaiting struct {
	shownRow
	At        string  `json:"at"`
	InSeconds float64 `json:"in_seconds"`
}

func (a *app) scheduleList() *cobra.Command {
	c := &cobra.Command{Use: "list [--messages]", Short: "list schedules by name, or single messages that wait for their time", Args: noArguments}
	limit := limitFlag(c, 10_000)
	after := c.Flags().String("after", "", "begin behind this `name`, the last one of the page before")
	messages := c.Flags().Bool("messages", false, "list single messages that wait for their time, the next ones first")
	c.RunE = func(c *cobra.Command, _ []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		if *messages && *after != "" {
			return usage("--after is for schedules, and --messages lists messages", "leave one of them out")
		}
		s, db, err := a.openScheduler(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		if *messages {
			list, err := s.Waiting(c.Context(), schedule.DelayedPage{Limit: most})
			if err != nil {
				return err
			}
			return a.waiting(list, most)
		}
		list, err := s.List(c.Context(), *after, most)
		if err != nil {
			return err
		}
		return a.schedules(list, most)
	}
	return c
}

func (a *app) schedules(list []schedule.Details, most int) error {
	out, rows := []shownSchedule{}, [][]string{{"NAME", "SPEC", "ZONE", "STATE", "NEXT", "IN", "RUNS", "TO", "PROBLEM"}}
	for i := range list {
		d := &list[i]
		v := shownDetails(d)
		out = append(out, v)
		rows = append(rows, []string{v.Name, v.Spec, v.Zone, v.State, v.Next, until(d.Next, d.Now), count(v.Runs), strings.Join(v.To, ","), cut(v.Problem, 60)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("there are no schedules")
	}
	if err := a.table(rows); err != nil || len(list) < most {
		return err
	}
	return a.note("There may be more: --after " + list[len(list)-1].Name)
}

func (a *app) waiting(list []schedule.Waiting, most int) error {
	out, rows := []shownWaiting{}, [][]string{{"AT", "IN", "ID", "TO", "TYPE", "KEY", "BYTES"}}
	for i := range list {
		w := &list[i]
		r := shownWaiting{shownRow: shownRow{Table: w.Table.String(), ID: w.ID, Class: w.Class, Topic: w.Topic, Key: w.Key, Partition: w.Partition, BodyBytes: len(w.Body)},
			At: w.At.UTC().Format(time.RFC3339Nano), InSeconds: w.In.Seconds()}
		var env sixfold.Envelope
		if _, err := outbox.DecodeAttrs(w.Attrs, &env); err != nil {
			r.Unreadable = err.Error()
		}
		r.Type = env.Type
		out = append(out, r)
		to := r.Topic
		if to == "" {
			to = "local:" + r.Class
		}
		in := short(w.In)
		if w.In < 0 {
			in = "due"
		}
		rows = append(rows, []string{r.At, in, r.ID, to, r.Type, r.Key, fmt.Sprint(r.BodyBytes)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("no message waits for its time")
	}
	if err := a.table(rows); err != nil || len(list) < most {
		return err
	}
	return a.note("There may be more: raise --limit")
}

func (a *app) scheduleShow() *cobra.Command {
	c := &cobra.Command{Use: "show NAME", Short: "show one schedule with its policies and its message", Args: oneArgument("the name of a schedule")}
	body := c.Flags().Bool("body", false, "show the message's body")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, db, err := a.openScheduler(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		d, err := find(c.Context(), s, args[0])
		if err != nil {
			return err
		}
		v := shownDetails(d)
		if *body {
			v.payload = payloadOf(d.Body)
		}
		if a.format == "json" {
			return a.json(v)
		}
		rows := [][]string{{"name", v.Name}, {"spec", v.Spec}, {"zone", v.Zone}, {"state", v.State}}
		add := func(name, value string) {
			if value != "" && value != "0" && value != "0s" {
				rows = append(rows, []string{name, value})
			}
		}
		add("problem", v.Problem)
		add("owner", v.Owner)
		add("next", v.Next)
		add("last", v.Last)
		add("last id", v.LastID)
		rows = append(rows, []string{"runs", count(v.Runs)})
		add("max runs", fmt.Sprint(v.MaxRuns))
		add("start", v.Start)
		add("end", v.End)
		add("missing", v.Missing)
		add("repeated", v.Repeated)
		add("misfire", v.Misfire)
		add("misfire cap", fmt.Sprint(v.MisfireCap))
		add("grace", short(d.Recurring.Grace))
		if v.NoOverlap {
			add("overlap", "left out while the one before is not handled")
		}
		add("jitter", short(d.Recurring.Jitter))
		add("type", v.Type)
		add("key", v.Key)
		add("to", strings.Join(v.To, ", "))
		add("changed", v.Changed)
		if *body {
			add("body", bodyText(d.Body))
		}
		return a.pairs(rows)
	}
	return c
}
