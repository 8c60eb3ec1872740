package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// Severity of a Finding.
type Severity int

const (
	// Fine: there is nothing to do.
	Fine Severity = iota
	// Warning: messages can be late or lost one day.
	Warning
	// Problem: messages do not flow, or can be lost now.
	Problem
)

func (s Severity) String() string { return [...]string{"ok", "warning", "problem"}[s] }

// A Finding is what Examine says about one thing that it looked at.
type Finding struct {
	Check string // a fixed name such as "durability"
	Severity
	Text string
	Fix  string // what to do; empty where there is nothing to do
}

// ExamineOptions say from when on things are worth a warning. Nil and the zero value are right for most.
type ExamineOptions struct {
	// OldTransaction is the age from which an open transaction is reported. 0: 5 minutes.
	OldTransaction time.Duration
	// OldRow is the age from which an undelivered row is reported. 0: 5 minutes.
	OldRow time.Duration
	// DeadRows is the number from which dead rows of a table are reported. 0: 100,000.
	DeadRows int64
}

// Examine looks at all that messages rely on in the database: the server, the schema, the privileges of this role,
// durability, sequences, what keeps vacuum from its work, and rows that nobody takes. It changes nothing, and reads no more
// than the 10,000 oldest rows of a table. What cannot be looked at is a finding too; err is only that the database could
// not be asked at all.
func (s *Store) Examine(ctx context.Context, opts *ExamineOptions) (all []Finding, err error) {
	var o ExamineOptions
	if opts != nil {
		o = *opts
	}
	if o.OldTransaction == 0 {
		o.OldTransaction = 5 * time.Minute
	}
	if o.OldRow == 0 {
		o.OldRow = 5 * time.Minute
	}
	if o.DeadRows == 0 {
		o.DeadRows = 100_000
	}
	e := &examination{s: s, o: o}
	if err := s.dialect.begin(ctx, s); err != nil {
		if s.inbox.Passing(err) {
			return nil, err
		}
		text, fix, _ := strings.Cut(strip(err), "; ")
		e.report("server", Problem, text, fix)
		return e.found, nil
	}
	if err := s.migrations.check(ctx); err != nil {
		text, fix, ok := strings.Cut(strip(err), "; ")
		if !ok || strings.HasPrefix(fix, runMigrations) {
			fix = "sixfold migrate up"
		}
		e.report("schema", Problem, text, fix)
		return e.found, nil // without tables there is nothing else to say
	}
	e.report("schema", Fine, fmt.Sprintf("at %d, which this program knows", len(s.migrations.all)), "")
	switch k := s.outbox.keeper.(type) {
	case *pgKeeper:
		e.postgres(ctx, k)
	case *liteKeeper:
		e.sqlite(ctx, k)
	case *myKeeper:
		e.mysql(ctx, k)
	}
	e.rows(ctx)
	return e.found, nil
}

// examination is one Examine.
type examination struct {
	s     *Store
	o     ExamineOptions
	found []Finding
}

func (e *examination) report(check string, s Severity, text, fix string) {
	e.found = append(e.found, Finding{check, s, text, fix})
}

// failed reports that a check itself failed.
func (e *examination) failed(check string, err error) {
	fix := "repair what the error says, and run this again"
	if sqlState(err) == "42501" {
		fix = "run this with a role that may look, such as that of `sixfold grants` for readers, or one with pg_monitor"
	}
	e.report(check, Warning, "it could not be looked at: "+strip(err), fix)
}

// strip removes the names of package and function, which say nothing to who runs a command.
func strip(err error) string { return strings.TrimPrefix(err.Error(), "store: ") }

// each reports every error in a join by itself.
func (e *examination) each(check string, s Severity, err error, fine string) {
	if err == nil {
		e.report(check, Fine, fine, "")
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") { // of errors.Join
		for _, one := range joined.Unwrap() {
			e.each(check, s, one, fine)
		}
		return
	}
	text, fix, _ := strings.Cut(strip(err), "; ")
	e.report(check, s, text, fix)
}

// durability reports what Keeper.Check would warn of.
func (e *examination) durability(warnings []string, err error) {
	if err != nil {
		e.failed("durability", err)
		return
	}
	for _, w := range warnings {
		text, fix, _ := strings.Cut(w, "; ")
		e.report("durability", Problem, text, fix)
	}
	if len(warnings) == 0 {
		e.report("durability", Fine, "what is committed survives a crash", "")
	}
}

// rows reports classes that nobody consumes, and rows that wait for long.
func (e *examination) rows(ctx context.Context) {
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		v, err := e.s.Operator().Overview(ctx, t)
		if err != nil {
			e.failed("consumers", err)
			continue
		}
		idle := false
		for _, c := range v.Classes {
			if c.Rows == 0 || c.Consumed {
				continue
			}
			idle = true
			if t == outbox.ToLocal {
				e.report("consumers", Problem, fmt.Sprintf("%s: nobody handles the rows of consumer %s (%d of those looked at)", t, quoteCut(c.Class), c.Rows), "start its process, or remove the rows with `sixfold outbox purge --local`")
			} else {
				e.report("consumers", Problem, fmt.Sprintf("%s: no relay sends the rows of transport %s (%d of those looked at)", t, quoteCut(c.Class), c.Rows), "start a relay with a transport of that name, or look why it does not run")
			}
		}
		if !idle {
			e.report("consumers", Fine, t.String()+": every class with rows has a living reader", "")
		}
		if v.Oldest >= e.o.OldRow {
			e.report("oldest", Warning, fmt.Sprintf("%s: the oldest row is %v old", t, v.Oldest.Round(time.Second)), "`sixfold outbox list` shows it; look into the log of who should take it")
		} else {
			e.report("oldest", Fine, fmt.Sprintf("%s: no row is older than %v", t, e.o.OldRow), "")
		}
	}
}
