package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for machines that have no zones of their own

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/schedule"
)

// mostTicks bounds what one preview shows.
const mostTicks = 10_000

// lastYear is the last one that RFC 3339 can write.
const lastYear = 9999

// shownTick is a tick for JSON.
type shownTick struct {
	At   string `json:"at"`   // in the zone
	UTC  string `json:"utc"`  // the same instant
	Note string `json:"note"` // empty, or what a change of the clock has to do with it
}

// nextFlags are those of a preview, as they were written.
type nextFlags struct {
	zone, from, start, end, missing, repeated string
	count                                     int
}

func (a *app) scheduleNext() *cobra.Command {
	var f nextFlags
	c := &cobra.Command{Use: `next "SPEC"`, Short: "say when a spec is due next; needs no database", Args: cobra.ArbitraryArgs,
		Long: `Say when a spec is due next: a cron expression of five fields (minute hour day month weekday), or six
with the seconds in front, one of @yearly, @monthly, @weekly, @daily and @hourly, or "every 90s". Put
it between quotes. Needs no database.

A tick with which a change of the zone's clock has to do bears a note: "gap" where it stands for a
time that the clock leaves out, "overlap" where the clock shows its time twice.`,
		Example: `  sixfold schedule next "30 2 * * *" --zone Europe/Berlin --from 2026-03-28T00:00:00Z --count 3
  sixfold schedule next "every 90s" --start 2026-01-01T00:00:10Z --format json`}
	flags := c.Flags()
	flags.StringVar(&f.zone, "zone", "UTC", "IANA `zone` whose clock the expression means, such as Europe/Berlin")
	flags.StringVar(&f.from, "from", "", "show what is due after this `time`, such as 2026-03-28T00:00:00Z; without an offset it is the zone's (now when empty)")
	flags.IntVar(&f.count, "count", 10, "show at most `N`")
	flags.StringVar(&f.start, "start", "", "the schedule begins at this `time`, from which intervals are counted")
	flags.StringVar(&f.end, "end", "", "the schedule ends before this `time`")
	flags.StringVar(&f.missing, "missing", "", "for times that the clock leaves out: first-valid or skip (when empty: skip if every hour is due, else first-valid)")
	flags.StringVar(&f.repeated, "repeated", "", "for times that the clock shows twice: first, last or both (when empty: both if every hour is due, else first)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Sprintf("schedule next needs one spec, and there are %d arguments", len(args)), `put the spec between quotes: sixfold schedule next "0 9 * * MON-FRI"`)
		}
		if f.count < 1 || f.count > mostTicks {
			return usage("--count "+strconv.Itoa(f.count)+": it is outside 1 to "+strconv.Itoa(mostTicks), "write --count 10, or leave it out")
		}
		cal, from, err := f.calendar(args[0])
		if err != nil {
			return err
		}
		return a.ticks(cal, from, f.count)
	}
	return c
}

// calendar reads the flags, and says everything that is wrong with them.
func (f *nextFlags) calendar(text string) (*schedule.Calendar, time.Time, error) {
	spec, err := schedule.Parse(text)
	var errs []error
	if err != nil {
		errs = append(errs, errors.New(strings.TrimPrefix(err.Error(), "schedule: ")))
	}
	cal := &schedule.Calendar{Spec: spec}
	if cal.Zone, err = zoneOf(f.zone); err != nil {
		errs = append(errs, err)
		cal.Zone = time.UTC
	}
	from := time.Now()
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", f.from, &from}, {"--start", f.start, &cal.Start}, {"--end", f.end, &cal.End}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = instantOf(t.text, cal.Zone); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", t.flag, quote(t.text), err))
		}
	}
	known := false
	if cal.Missing, known = map[string]schedule.Missing{"": schedule.MissingAuto, "first-valid": schedule.FirstValid, "skip": schedule.Skip}[f.missing]; !known {
		errs = append(errs, errors.New("--missing "+quote(f.missing)+": it is none of first-valid and skip"))
	}
	if cal.Repeated, known = map[string]schedule.Repeated{"": schedule.RepeatedAuto, "first": schedule.First, "last": schedule.Last, "both": schedule.Both}[f.repeated]; !known {
		errs = append(errs, errors.New("--repeated "+quote(f.repeated)+": it is none of first, last and both"))
	}
	if len(errs) == 0 {
		if err := cal.Check(); err != nil {
			errs = append(errs, errors.New(strings.TrimPrefix(err.Error(), "schedule: ")))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, from, usage(err.Error(), "see sixfold schedule next --help")
	}
	return cal, from, nil
}

// zoneOf is the zone of a name. What the machine calls local is refused: another one would answer something else.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errors.New("--zone " + quote(name) + ": it names no zone; write one of the IANA database, such as Europe/Berlin or UTC")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, errors.New("--zone " + quote(name) + ": the IANA database has no such zone; write one such as Europe/Berlin or UTC, with its capital letters")
	}
	return zone, nil
}

// instantOf reads RFC 3339; a time without an offset is what the zone's clock shows.
func instantOf(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("it is no time such as 2026-03-28T00:00:00Z, 2026-03-28T01:00 or 2026-03-28")
}

// ticks writes the first ones after an instant.
func (a *app) ticks(cal *schedule.Calendar, after time.Time, count int) error {
	list, rows := []shownTick{}, [][]string{{"AT", "DAY", "UTC", "NOTE"}}
	for tick := range cal.Ticks(after) {
		if tick.At.Year() > lastYear {
			break
		}
		t := shownTick{tick.At.Format(time.RFC3339), tick.At.UTC().Format(time.RFC3339), tick.Note}
		list = append(list, t)
		rows = append(rows, []string{t.At, tick.At.Format("Mon"), t.UTC, t.Note})
		if len(list) == count {
			break
		}
	}
	if a.format == "json" {
		return a.json(list)
	}
	if len(list) == 0 {
		return a.line("it is never due after %s", after.In(cal.Zone).Format(time.RFC3339))
	}
	if err := a.table(rows); err != nil || len(list) == count {
		return err
	}
	return a.note("It is never due after these.")
}
