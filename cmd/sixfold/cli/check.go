package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
)

// checkMost is how many waiting rows of each table are looked at, the oldest first.
const checkMost = 100_000

func (a *app) checkCommand() *cobra.Command {
	c := &cobra.Command{Use: "check", Short: "before a deploy: say what is stored and could not be read by this program", Args: noArguments,
		Long: `Say which live instances of sagas and which stored messages this program could not read: run it with the
new program, against the database in use, before the old one is replaced. The program has to be one of
your own, made with cli.Sagas and cli.Routes (docs/cli.md).

Looked at are instances that have not ended, or are stuck, by the version of their state; messages that
are parked or dead, by consumer and type; and those that wait for a local consumer, now or later (of
each table the oldest 100,000). What waits for a broker is read by whoever subscribes, and not looked
at. The exit code is 1 if something could not be read.`}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(a.sagas) == 0 && len(a.routes) == 0 {
			return usage("this program knows no saga and no message", "build a sixfold of your own with cli.Sagas and cli.Routes, as docs/cli.md shows")
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		ch := &check{app: a, db: db, found: make(map[unread]int64)}
		if err := errors.Join(ch.instances(c.Context()), ch.letters(c.Context()), ch.waiting(c.Context()), ch.delayed(c.Context())); err != nil {
			return err
		}
		return ch.report()
	}
	return c
}

// check is what was found so far.
type check struct {
	app   *app
	db    *database
	found map[unread]int64
}

// unread is a kind of what could not be read.
type unread struct {
	Where string `json:"where"` // saga, parked, dead, local or delayed
	Of    string `json:"of"`    // the saga or the consumer
	What  string `json:"what"`  // the version or the type
	Why   string `json:"why"`
}

func (c *check) instances(ctx context.Context) error {
	desk, err := c.db.desk()
	if err != nil {
		return err
	}
	counts, err := desk.Schemas(ctx)
	for _, n := range counts {
		kind := unread{Where: "saga", Of: n.Saga, What: fmt.Sprintf("version %d", n.Schema)}
		s := c.app.saga(n.Saga)
		if s == nil {
			kind.Why = "this program does not know the saga"
		} else if oldest, newest := s.Schemas(); n.Schema < oldest || n.Schema > newest {
			kind.Why = fmt.Sprintf("it reads versions %d to %d", oldest, newest)
		}
		if kind.Why != "" {
			c.found[kind] += n.N
		}
	}
	return err
}

// unreadable notes a message of which not even the type can be read.
func (c *check) unreadable(where, consumer string) {
	if _, ours := c.app.routes[consumer]; ours {
		c.found[unread{where, consumer, "?", "its attributes cannot be read: sixfold explain says more"}]++
	}
}

// message notes a message of a consumer that cannot be read. Consumers that were not made known are none of ours.
func (c *check) message(where, consumer, kind string, n int64) {
	routes, ours := c.app.routes[consumer]
	if !ours || slices.ContainsFunc(routes, func(r sixfold.Route) bool { return r.Name == "" || r.Name == kind || slices.Contains(r.Former, kind) }) {
		return
	}
	c.found[unread{where, consumer, kind, "no route has this name, now or formerly"}] += n
}

func (c *check) letters(ctx context.Context) error {
	letters, err := deadletter.New(c.db.DeadLetters())
	if err != nil {
		return err
	}
	for where, state := range map[string]deadletter.State{"dead": deadletter.Dead, "parked": deadletter.Waiting} {
		for _, consumer := range slices.Sorted(maps.Keys(c.app.routes)) {
			s, err := letters.Summary(ctx, deadletter.Filter{State: state, Consumer: consumer})
			if err != nil {
				return err
			}
			for _, g := range s.Groups {
				c.message(where, g.Consumer, g.Type, int64(g.Count))
			}
		}
	}
	return nil
}

// waiting looks at what waits for local consumers now.
func (c *check) waiting(ctx context.Context) error {
	const page = 1000
	after, looked := int64(0), 0
	for looked < checkMost {
		list, err := c.db.Operator().List(ctx, outbox.ToLocal, after, page)
		if err != nil {
			return err
		}
		for i := range list {
			r, _ := shown(outbox.ToLocal, &list[i])
			if after = r.Seq; r.Unreadable != "" {
				c.unreadable("local", r.Class)
			} else {
				c.message("local", r.Class, r.Type, 1)
			}
		}
		if looked += len(list); len(list) < page {
			return nil
		}
	}
	c.app.warn(fmt.Sprintf("only the oldest %d messages that wait for local consumers were looked at", looked))
	return nil
}

// delayed looks at what will wait for local consumers later.
func (c *check) delayed(ctx context.Context) error {
	p := schedule.DelayedPage{Limit: 1000}
	for looked := 0; looked < checkMost; {
		list, err := c.db.Schedule().Delayed().List(ctx, p)
		if err != nil {
			return err
		}
		for i := range list {
			w := &list[i]
			p.After, p.AfterN = w.At, w.N
			if w.Table != outbox.ToLocal {
				continue
			}
			var env sixfold.Envelope
			if _, err := outbox.DecodeAttrs(w.Attrs, &env); err != nil {
				c.unreadable("delayed", w.Class)
			} else {
				c.message("delayed", w.Class, env.Type, 1)
			}
		}
		if looked += len(list); len(list) < p.Limit {
			return nil
		}
	}
	c.app.warn(fmt.Sprintf("only the next %d messages that wait for their time were looked at", checkMost))
	return nil
}

func (c *check) report() error {
	type shown struct {
		unread
		N int64 `json:"count"`
	}
	out := []shown{}
	for _, kind := range slices.SortedFunc(maps.Keys(c.found), func(a, b unread) int {
		return cmp.Or(strings.Compare(a.Where, b.Where), strings.Compare(a.Of, b.Of), strings.Compare(a.What, b.What))
	}) {
		out = append(out, shown{kind, c.found[kind]})
	}
	if c.app.format == "json" {
		if err := c.app.json(out); err != nil {
			return err
		}
	} else if len(out) > 0 {
		rows := [][]string{{"WHERE", "OF", "WHAT", "COUNT", "WHY"}}
		for _, v := range out {
			rows = append(rows, []string{v.Where, v.Of, v.What, count(v.N), v.Why})
		}
		if err := c.app.table(rows); err != nil {
			return err
		}
	}
	if len(out) > 0 {
		return failedWith("this program could not read all that is stored", "declare former names and versions (sixfold.Evolved, saga.Evolved), or let the old program work it off first")
	}
	if c.app.format == "json" {
		return nil
	}
	return c.app.line("this program can read all that is stored for it")
}
