package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/store"
)

func (a *app) doctorCommand() *cobra.Command {
	var o store.ExamineOptions
	c := &cobra.Command{Use: "doctor", Short: "look at database and broker for what messages rely on, and say what to do", Args: noArguments,
		Long: `Look at the database, and at the broker where --broker or SIXFOLD_BROKER names one, for what
messages rely on. It changes nothing. The exit code is 0 when there is nothing worse than a
warning, 1 with a problem, 3 when the database or the broker cannot be reached.`}
	f := c.Flags()
	f.DurationVar(&o.OldTransaction, "old-transaction", 5*time.Minute, "report transactions that are open for longer")
	f.DurationVar(&o.OldRow, "old-row", 5*time.Minute, "report rows that wait for longer")
	f.Int64Var(&o.DeadRows, "dead-rows", 100_000, "report tables with as many dead rows")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if o.OldTransaction <= 0 || o.OldRow <= 0 || o.DeadRows <= 0 {
			return usage("--old-transaction, --old-row and --dead-rows have to be positive", "leave them out for the usual limits")
		}
		found, unreachable, err := a.examine(c, &o)
		if err != nil {
			return err
		}
		return a.diagnosis(found, unreachable)
	}
	return c
}

// examine collects the findings; unreachable is why a database or a broker could not be asked.
func (a *app) examine(c *cobra.Command, o *store.ExamineOptions) (found []store.Finding, unreachable *failure, err error) {
	lost := func(check string, err error) error {
		f := asFailure(err)
		if f.Code != codeConnect {
			return err
		}
		f.Message, f.Hint = a.secrets.scrub(f.Message), a.secrets.scrub(f.Hint)
		found = append(found, store.Finding{Check: check, Severity: store.Problem, Text: f.Message, Fix: f.Hint})
		unreachable = f
		return nil
	}
	hasBroker := a.broker != "" || os.Getenv("SIXFOLD_BROKER") != ""
	if !hasBroker || a.dsn != "" || os.Getenv("SIXFOLD_DSN") != "" {
		began := time.Now()
		db, err := a.reach(c.Context(), false)
		if err == nil {
			defer db.close()
			found = append(found, store.Finding{Check: "database", Text: fmt.Sprintf("%s answered in %v", db.server, short(time.Since(began)))})
			var more []store.Finding
			if more, err = db.Examine(c.Context(), o); err != nil {
				err = cannotConnect("the database stopped answering: "+err.Error(), "run this again")
			}
			found = append(found, more...)
		}
		if err != nil {
			if err := lost("database", err); err != nil {
				return nil, nil, err
			}
		}
	}
	if !hasBroker {
		return found, unreachable, nil
	}
	b, err := a.openBroker(c.Context())
	if err != nil {
		return found, unreachable, lost("broker", err)
	}
	defer b.close()
	text, fix, err := b.check(c.Context())
	switch {
	case err != nil:
		found = append(found, store.Finding{Check: "broker", Severity: store.Problem, Text: asFailure(err).Message, Fix: asFailure(err).Hint})
	case fix != "":
		found = append(found, store.Finding{Check: "broker", Severity: store.Problem, Text: text, Fix: fix})
	default:
		found = append(found, store.Finding{Check: "broker", Text: text})
	}
	return found, unreachable, nil
}

// diagnosis prints the findings and answers how the command ends.
func (a *app) diagnosis(found []store.Finding, unreachable *failure) error {
	type finding struct {
		Check string `json:"check"`
		State string `json:"state"`
		Text  string `json:"text"`
		Fix   string `json:"fix,omitempty"`
	}
	list, count := []finding{}, map[store.Severity]int{}
	for _, f := range found {
		count[f.Severity]++
		list = append(list, finding{f.Check, f.Severity.String(), f.Text, f.Fix})
	}
	if a.format == "json" {
		if err := a.json(map[string]any{"findings": list}); err != nil {
			return err
		}
	} else {
		for _, f := range list {
			if err := a.finding(f.State, f.Check, safe(f.Text), safe(f.Fix)); err != nil {
				return err
			}
		}
	}
	switch {
	case unreachable != nil:
		return unreachable
	case count[store.Problem] > 0:
		return failedWith(fmt.Sprintf("doctor found problems: %d, warnings: %d", count[store.Problem], count[store.Warning]), "each has its fix beside it")
	}
	return nil
}

// finding writes one for people: in columns, or one below the other where the terminal has no room for them.
func (a *app) finding(state, check, text, fix string) error {
	columns := a.columns()
	heads, hang := []string{fmt.Sprintf("%-8s %-13s ", state, check), fmt.Sprintf("%22s fix: ", "")}, 23
	if columns > 0 && columns < 60 {
		heads, hang = []string{state + " " + check + "\n  ", "  fix: "}, 4
	}
	for i, text := range []string{text, fix} {
		if text == "" {
			continue
		}
		if err := a.line("%s", foldBehind(heads[i], text, columns, hang)); err != nil {
			return err
		}
	}
	return nil
}
