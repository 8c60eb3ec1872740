package permissions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// subjects are those of one cell of the table.
func subjects(cell string) []string {
	var all []string
	for s := range strings.FieldsSeq(cell) {
		all = append(all, strings.Trim(s, "`,"))
	}
	return all
}

// natsAs starts a server with a user of these permissions, and one with all.
func natsAs(t *testing.T, publish, subscribe []string, o *nats.Options) (role, admin *nats.Transport) {
	t.Helper()
	s := servers.NATS(t, &servers.NATSOptions{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "admin", Password: "admin"}, {Username: "role", Password: "role", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish, Deny: none(publish)}, Subscribe: &server.SubjectPermission{Allow: subscribe, Deny: none(subscribe)}}}}
	}})
	host := strings.TrimPrefix(s.URL(), "nats://")
	open := func(user string, o nats.Options) *nats.Transport {
		o.Lease = time.Second
		tr, err := nats.New("nats://"+user+":"+user+"@"+host, &o)
		must(t, err)
		t.Cleanup(func() { _ = tr.Close(context.Background()) })
		return tr
	}
	admin = open("admin", nats.Options{Topics: []string{"orders"}})
	return open("role", *o), admin
}

// besides are the permissions of a role that some of its work does without.
func besides(table map[string][]string, name string) []string {
	if cells := table[name+", besides"]; len(cells) > 0 {
		return subjects(cells[0])
	}
	return nil
}

// With an inbox prefix of its own a caller needs no right to everybody's replies.
func TestNATSInboxOfOnesOwn(t *testing.T) {
	role, admin := natsAs(t, subjects(rows(t, "## NATS")["caller"][0]), []string{"_INBOX.shop.>"}, &nats.Options{Require: true, Nats: []natsgo.Option{natsgo.CustomInboxPrefix("_INBOX.shop")}})
	a, err := role.RequestLane(nil)
	must(t, err)
	b, err := admin.RequestLane(nil)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, calls(ctx, a, b))
}

// A consumer without a database sends dead letters.
func TestNATSDeadLetters(t *testing.T) {
	table := rows(t, "## NATS")
	const name = "consumer"
	publish := slices.Concat(subjects(table[name][0]), besides(table, name))
	run := func(publish []string, limit time.Duration) error {
		role, admin := natsAs(t, publish, subjects(table[name][1]), &nats.Options{Require: true})
		prepare(t, admin)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return consumes(ctx, role, admin, true)
	}
	if err := run(append(slices.Clone(publish), besides(table, "consumer without a database")...), patience); err != nil {
		t.Fatal(err)
	}
	if err := run(publish, brief); err == nil {
		t.Error("a dead letter was sent without a permission")
	}
}

// prepare makes the streams, and the bucket of leases, which comes with the first ordered group. It must happen, however brief the rest is.
func prepare(t *testing.T, admin *nats.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, admin.Declare(ctx, "orders"))
	src, err := admin.Subscribe(ctx, bus.Subscription{Topics: []string{"orders"}, Group: "first", Ordered: true})
	must(t, err)
	must(t, src.Close(ctx))
}

// none denies all where nothing is allowed, which the server would take for everything.
func none(allowed []string) []string {
	if len(allowed) == 0 {
		return []string{">"}
	}
	return nil
}

// natsRoles are what each role does.
var natsRoles = map[string]func(ctx context.Context, t *testing.T, role, admin *nats.Transport) error{
	"publisher, relay": func(ctx context.Context, _ *testing.T, role, _ *nats.Transport) error {
		return publishes(ctx, role, "orders")
	},
	"consumer": func(ctx context.Context, _ *testing.T, role, admin *nats.Transport) error {
		return consumes(ctx, role, admin, false)
	},
	"caller": func(ctx context.Context, t *testing.T, role, admin *nats.Transport) error {
		a, err := role.RequestLane(nil)
		must(t, err)
		b, err := admin.RequestLane(nil)
		must(t, err)
		return calls(ctx, a, b)
	},
	"responder": func(ctx context.Context, t *testing.T, role, admin *nats.Transport) error {
		a, err := admin.RequestLane(nil)
		must(t, err)
		b, err := role.RequestLane(nil)
		must(t, err)
		return calls(ctx, a, b)
	},
}

func natsRole(t *testing.T, name string, publish, subscribe []string, limit time.Duration) error {
	t.Helper()
	role, admin := natsAs(t, publish, subscribe, &nats.Options{Require: true})
	prepare(t, admin)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return natsRoles[name](ctx, t, role, admin)
}

// With the permissions of the page each role works, and with any one of them taken away it does not.
func TestNATS(t *testing.T) {
	table := rows(t, "## NATS")
	for name := range natsRoles {
		cells := table[name]
		if len(cells) != 2 {
			t.Errorf("the page has no row %q with two cells", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			publish, subscribe := subjects(cells[0]), subjects(cells[1])
			if err := natsRole(t, name, append(slices.Clone(publish), besides(table, name)...), subscribe, patience); err != nil {
				t.Fatalf("with all of its permissions: %v", err)
			}
			if err := natsRole(t, name, publish, subscribe, patience); err != nil {
				t.Fatalf("without what stands besides: %v", err)
			}
			if testing.Short() {
				return
			}
			for i, s := range append(slices.Clone(publish), subscribe...) {
				p, q := publish, subscribe
				if i < len(publish) {
					p = slices.Delete(slices.Clone(publish), i, i+1)
				} else {
					q = slices.Delete(slices.Clone(subscribe), i-len(publish), i-len(publish)+1)
				}
				t.Run(fmt.Sprint("without ", i, " ", s), func(t *testing.T) {
					t.Parallel() // each has a server of its own, and waits most of the time
					if err := natsRole(t, name, p, q, brief); err == nil {
						t.Errorf("it works without %s: take it off the page", s)
					}
				})
			}
		})
	}
}
