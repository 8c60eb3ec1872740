package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// sqlBroker is a database that is the broker.
type sqlBroker struct {
	db *database
	t  *sqlqueue.Transport
}

// openSQLQueue connects to the database of a DSN, with the tables of --schema and --prefix.
func (a *app) openSQLQueue(ctx context.Context, dsn string) (broker, error) {
	a.dsn = dsn
	db, err := a.connect(ctx, false)
	if err != nil {
		return nil, err
	}
	t, err := sqlqueue.New(db.Broker(), &sqlqueue.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		db.close()
		return nil, err
	}
	return &sqlBroker{db, t}, nil
}

func (b *sqlBroker) transport() bus.Transport { return b.t }

func (b *sqlBroker) close() {
	_ = b.t.Close(context.Background())
	b.db.close()
}

func (b *sqlBroker) failed(what string, err error) error {
	return failedWith(b.db.server+" could not "+what+": "+safe(err.Error()), "look at the rights of the user (sixfold grants), and whether sixfold migrate up has run")
}

// groups answers those that are not being removed; a name like shipping@orders means one of them, any other a topic. An
// empty name means all.
func (b *sqlBroker) groups(ctx context.Context, name string) (of []store.BrokerGroup, err error) {
	all, err := b.db.Broker().Groups(ctx)
	if err != nil {
		return nil, b.failed("list its groups", err)
	}
	for _, g := range all {
		if !g.Leaving && (name == "" || g.Topic == name || !g.Kept && groupName(g) == name) {
			of = append(of, g)
		}
	}
	return of, nil
}

// groupName is what people call a group.
func groupName(g store.BrokerGroup) string {
	switch {
	case g.Kept:
		return "kept@" + g.Topic
	case g.Copy:
		return "copy " + g.Name + "@" + g.Topic
	}
	return g.Name + "@" + g.Topic
}

func (b *sqlBroker) check(ctx context.Context) (text, fix string, err error) {
	if _, err := b.db.Broker().Check(ctx); err != nil {
		return "", "", b.failed("be used as a broker", err)
	}
	all, err := b.groups(ctx, "")
	if err != nil {
		return "", "", err
	}
	text = fmt.Sprintf("%s, as a broker with %d groups", b.db.server, len(all))
	var alone []string
	for _, g := range all {
		if !g.Kept && g.Pending > 0 && g.Nodes == 0 {
			alone = append(alone, fmt.Sprintf("%s (%d)", groupName(g), g.Pending))
		}
	}
	if len(alone) > 0 {
		return text + "; nobody consumes " + strings.Join(alone, ", "), "start their consumers, or have the program forget the groups (sqlqueue's Forget)", nil
	}
	return text, "", nil
}

func (b *sqlBroker) find(ctx context.Context, topic string) (string, error) {
	of, err := b.groups(ctx, topic)
	if err != nil || len(of) == 0 {
		return "", err
	}
	names := make([]string, len(of))
	for i, g := range of {
		names[i] = groupName(g)
	}
	return strings.Join(names, ", "), nil
}

func (b *sqlBroker) declare(ctx context.Context, t topic) error {
	for _, g := range t.Groups {
		if err := b.t.Declare(ctx, bus.Subscription{Topics: []string{t.Name}, Group: g}); err != nil {
			return b.failed("declare "+quote(t.Name), err)
		}
	}
	if len(t.Groups) == 0 {
		return usage("topic "+quote(t.Name)+" has no groups, and a topic of a database is its groups", `write groups = ["shipping"] below it`)
	}
	return nil
}

func (b *sqlBroker) compare(ctx context.Context, t *topology) (parts []bus.Part, err error) {
	for _, x := range t.Topics {
		of, err := b.groups(ctx, x.Name)
		if err != nil {
			return nil, err
		}
		for _, name := range x.Groups {
			p := bus.Part{Name: "group " + name + "@" + x.Name, State: bus.Missing}
			for _, g := range of {
				if !g.Copy && !g.Kept && g.Name == name {
					p.State = bus.There
				}
			}
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// complete has nothing to do: declare makes the groups.
func (b *sqlBroker) complete(context.Context, *topology) error { return nil }

func (b *sqlBroker) peekCost() string {
	return "A database: a read of the rows that wait, a row for each group of the topic; name a group like shipping@orders to see its own. Nothing is taken away, and what a consumer has in hand is shown as well."
}

func (b *sqlBroker) peek(ctx context.Context, topic string, most int) (list []peeked, total uint64, err error) {
	of, err := b.groups(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	if len(of) == 0 {
		return nil, 0, noTopic(topic)
	}
	for _, g := range of {
		total += uint64(g.Pending)
		if len(list) >= most {
			continue // it is counted
		}
		rows, err := b.db.Broker().Peek(ctx, g, most-len(list))
		if err != nil {
			return nil, 0, b.failed("show messages of "+quote(topic), err)
		}
		for i := range rows {
			p := peeked{at: fmt.Sprintf("%s/%d", groupName(g), rows[i].Seq)}
			p.env.ID, p.env.Key, p.env.Body = rows[i].ID, rows[i].Key, rows[i].Body
			_, p.damaged = outbox.DecodeAttrs(rows[i].Attrs, &p.env)
			list = append(list, p)
		}
	}
	return list, total, nil
}

func (b *sqlBroker) purge(ctx context.Context, topic string) (n uint64, err error) {
	of, err := b.groups(ctx, topic)
	if err != nil {
		return 0, err
	}
	if len(of) == 0 {
		return 0, noTopic(topic)
	}
	for _, g := range of {
		for {
			if ctx.Err() != nil {
				return n, errors.Join(failedWith(fmt.Sprintf("interrupted after %d messages were removed", n), "run it again for the others"), ctx.Err())
			}
			removed, err := b.db.Broker().Empty(ctx, g, purgeStep)
			if err != nil {
				return n, b.failed("purge "+quote(topic), err)
			}
			if n += uint64(removed); removed < purgeStep {
				break
			}
		}
	}
	return n, nil
}
