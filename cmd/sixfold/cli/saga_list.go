package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/saga"
)

func (a *app) sagaList() *cobra.Command {
	c := &cobra.Command{Use: "list [SAGA]", Short: "list instances by saga and key", Args: cobra.MaximumNArgs(1),
		Long: `List instances by saga and key. --live leaves out those that have ended, --idle those that were changed
less than so long ago: together they find what has come to a standstill. --count counts instances in
place of listing them, by status and by the message that changed them last.`}
	limit := limitFlag(c, 10_000)
	var f saga.Filter
	status := c.Flags().String("status", "", "those of a `status`: running, compensating, completed, failed, compensated, cancelled or stuck")
	c.Flags().BoolVar(&f.Live, "live", false, "those that have not ended")
	c.Flags().DurationVar(&f.Idle, "idle", 0, "those that were not changed for a `duration`")
	c.Flags().StringVar(&f.Key, "key", "", "those with a `key`")
	c.Flags().StringVar(&f.Step, "step", "", "those that the message of a `type` changed last")
	counts := c.Flags().Bool("count", false, "count them")
	after := c.Flags().String("after", "", "begin behind `SAGA,KEY,GENERATION`, the last one of the page before")
	c.RunE = func(c *cobra.Command, args []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		if *status != "" {
			if f.Status, err = parseStatus(*status); err != nil {
				return err
			}
		}
		if f.Idle < 0 {
			return usage(fmt.Sprintf("--idle %v: it is negative", f.Idle), "write --idle 1h, or leave it out")
		}
		p := saga.Page{Limit: most}
		if *after != "" {
			if p, err = pageAfter(*after, most); err != nil {
				return err
			}
		}
		if len(args) == 1 {
			f.Saga = args[0]
		}
		if *counts && (f != saga.Filter{Saga: f.Saga} || *after != "") {
			return usage("--count counts all instances of a saga", "leave the other flags out")
		}
		desk, db, err := a.openDesk(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		if *counts {
			list, err := desk.Counts(c.Context(), f.Saga)
			if err != nil {
				return err
			}
			return a.sagaCounts(list)
		}
		list, err := desk.List(c.Context(), f, p)
		if err != nil {
			return err
		}
		return a.sagaInstances(list, most)
	}
	return c
}

// pageAfter reads the place at which a page begins. A key may have anything in it, so it is what stands between the first and the
// last comma.
func pageAfter(text string, most int) (saga.Page, error) {
	name, rest, _ := strings.Cut(text, ",")
	last := strings.LastIndexByte(rest, ',')
	generation, err := strconv.Atoi(rest[last+1:])
	if last < 0 || err != nil {
		return saga.Page{}, usage("--after "+quote(text)+": it is no saga, key and generation", "copy --after from the end of the page before")
	}
	return saga.Page{AfterSaga: name, AfterKey: rest[:last], AfterGeneration: generation, Limit: most}, nil
}

func (a *app) sagaInstances(list []saga.Instance, most int) error {
	out, rows := []shownInstance{}, [][]string{{"SAGA", "KEY", "STATUS", "STEP", "CHANGED", "STARTED", "GEN", "REASON"}}
	for i := range list {
		v := shownInstanceOf(&list[i])
		out = append(out, v)
		rows = append(rows, []string{v.Saga, v.Key, v.Status, v.Step, v.Changed, v.Started, fmt.Sprint(v.Generation), cut(v.Reason, 60)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("there are no such instances")
	}
	if err := a.table(rows); err != nil || len(list) < most {
		return err
	}
	last := &list[len(list)-1]
	return a.note("There may be more: --after " + shellWord(fmt.Sprintf("%s,%s,%d", safe(last.Saga), safe(last.Key), last.Generation)))
}

// shellWord is s as one word of a shell's command line.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (a *app) sagaCounts(list []saga.Count) error {
	type shown struct {
		Saga   string `json:"saga"`
		Status string `json:"status"`
		Step   string `json:"step,omitempty"`
		N      int64  `json:"instances"`
	}
	slices.SortFunc(list, func(a, b saga.Count) int {
		return cmp.Or(strings.Compare(a.Saga, b.Saga), cmp.Compare(a.Status, b.Status), strings.Compare(a.Step, b.Step))
	})
	out, rows := []shown{}, [][]string{{"SAGA", "STATUS", "STEP", "INSTANCES"}}
	for _, c := range list {
		out = append(out, shown{c.Saga, c.Status.String(), c.Step, c.N})
		rows = append(rows, []string{c.Saga, c.Status.String(), c.Step, count(c.N)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("there are no instances")
	}
	return a.table(rows)
}

func (a *app) sagaShow() *cobra.Command {
	c := &cobra.Command{Use: "show SAGA KEY", Short: "show one instance, with --state its state", Args: sagaAndKey}
	state := c.Flags().Bool("state", false, "show the state, which may hold what is private")
	generation := c.Flags().Int("generation", 0, "that of a `number`, if the saga can begin again (0: the last one)")
	c.RunE = func(c *cobra.Command, args []string) error {
		desk, db, err := a.openDesk(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		in, err := instance(c.Context(), desk, args[0], args[1], *generation)
		if err != nil {
			return err
		}
		v := shownInstanceOf(in)
		if f, ok := a.saga(in.Saga).(Flow); ok {
			if v.At, err = f.At(in); err != nil {
				a.warn(err.Error())
			}
		}
		if *state {
			text := string(in.State)
			v.State = &text
		}
		if a.format == "json" {
			return a.json(v)
		}
		rows := [][]string{{"saga", v.Saga}, {"key", v.Key}, {"id", v.ID}, {"generation", fmt.Sprint(v.Generation)}, {"status", v.Status}, {"last step", v.Step}}
		add := func(name, value string) {
			if value != "" {
				rows = append(rows, []string{name, value})
			}
		}
		add("at", strings.Join(v.At, ", "))
		add("reason", v.Reason)
		add("started", v.Started)
		add("changed", v.Changed)
		add("ended", v.Ended)
		add("changes", count(v.Version))
		add("schema", fmt.Sprint(v.Schema))
		for _, t := range v.Timers {
			add("timer", t.Type+" "+t.ID)
		}
		if *state {
			add("state", string(in.State))
		}
		return a.pairs(rows)
	}
	return c
}

func (a *app) sagaHistory() *cobra.Command {
	c := &cobra.Command{Use: "history SAGA KEY", Short: "show the journal of an instance: each message, what it changed and what it had sent", Args: sagaAndKey}
	limit := limitFlag(c, 10_000)
	generation := c.Flags().Int("generation", 0, "that of a `number`, if the saga can begin again (0: the last one)")
	after := c.Flags().Int64("after", 0, "begin behind this `number`, that of the last one of the page before")
	changes := c.Flags().Bool("changes", false, "show what changed in the state, which may hold what is private")
	c.RunE = func(c *cobra.Command, args []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		desk, db, err := a.openDesk(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		in, err := instance(c.Context(), desk, args[0], args[1], *generation)
		if err != nil {
			return err
		}
		list, err := desk.History(c.Context(), in.ID, *after, most)
		if err != nil {
			return err
		}
		if !*changes {
			for i := range list {
				list[i].Detail.Changes = nil
			}
		}
		return a.sagaEntries(list, most, *changes)
	}
	return c
}

// shownEntry is a line of a journal for JSON.
type shownEntry struct {
	N       int64       `json:"n"`
	At      string      `json:"at"`
	Kind    string      `json:"kind"`
	Step    string      `json:"step"`
	Message string      `json:"message,omitempty"`
	TookMS  float64     `json:"took_ms"`
	Version int64       `json:"version"`
	Detail  saga.Detail `json:"detail"`
}

func (a *app) sagaEntries(list []saga.Entry, most int, changes bool) error {
	out, rows := []shownEntry{}, [][]string{{"N", "AT", "KIND", "STEP", "STATUS", "SENT", "TOOK", "NOTE"}}
	for i := range list {
		e := &list[i]
		out = append(out, shownEntry{N: e.N, At: instant(e.At, time.UTC), Kind: e.Kind.String(), Step: e.Step, Message: e.Message, TookMS: float64(e.Took.Microseconds()) / 1000, Version: e.Version, Detail: e.Detail})
		status := e.Detail.From
		if e.Detail.To != "" {
			status += " → " + e.Detail.To
		}
		var sent []string
		for _, fx := range e.Detail.Effects {
			sent = append(sent, fx.Kind+" "+fx.Type)
		}
		if e.Detail.More > 0 {
			sent = append(sent, fmt.Sprintf("and %d more", e.Detail.More))
		}
		var note []string
		for _, text := range []string{e.Detail.Who, e.Detail.Reason, e.Detail.Error} {
			if text != "" {
				note = append(note, text)
			}
		}
		rows = append(rows, []string{count(e.N), instant(e.At, time.UTC), e.Kind.String(), e.Step, status, strings.Join(sent, ", "), e.Took.Round(time.Microsecond).String(), cut(strings.Join(note, ": "), 80)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("there are no entries")
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if changes {
		if err := a.entryChanges(list); err != nil {
			return err
		}
	}
	if len(list) < most {
		return nil
	}
	return a.note("There may be more: --after " + count(list[len(list)-1].N))
}

// entryChanges are the fields that each entry changed.
func (a *app) entryChanges(list []saga.Entry) error {
	rows := [][]string{{"N", "FIELD", "BEFORE", "AFTER"}}
	for i := range list {
		e := &list[i]
		var fields []string
		for field := range e.Detail.Changes {
			fields = append(fields, field)
		}
		slices.Sort(fields)
		for _, field := range fields {
			ch := e.Detail.Changes[field]
			before, after := string(ch.Before), string(ch.After)
			if ch.Size > 0 {
				before, after = "", fmt.Sprintf("(%d bytes)", ch.Size)
			}
			rows = append(rows, []string{count(e.N), field, cut(before, 200), cut(after, 200)})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	if err := a.line(""); err != nil {
		return err
	}
	return a.table(rows)
}
