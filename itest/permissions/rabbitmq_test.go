package permissions

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// rabbitRoles are what each role does.
var rabbitRoles = map[string]func(ctx context.Context, role, admin *rabbitmq.Transport) error{
	"publisher, relay": func(ctx context.Context, role, _ *rabbitmq.Transport) error { return publishes(ctx, role, "orders") },
	"consumer": func(ctx context.Context, role, admin *rabbitmq.Transport) error {
		return consumes(ctx, role, admin, false)
	},
	"consumer without a database": func(ctx context.Context, role, admin *rabbitmq.Transport) error {
		return consumes(ctx, role, admin, true)
	},
	"caller":    func(ctx context.Context, role, admin *rabbitmq.Transport) error { return lanes(ctx, role, admin) },
	"responder": func(ctx context.Context, role, admin *rabbitmq.Transport) error { return lanes(ctx, admin, role) },
}

func lanes(ctx context.Context, caller, responder *rabbitmq.Transport) error {
	var both [2]request.Lane
	for i, tr := range []*rabbitmq.Transport{caller, responder} {
		lane, err := tr.RequestLane(nil)
		if err != nil {
			return err
		}
		both[i] = lane
	}
	return calls(ctx, both[0], both[1])
}

// alternatives of a regular expression of the page.
func alternatives(cell string) []string {
	inner := strings.TrimSuffix(strings.TrimPrefix(strings.Trim(cell, "`"), "^"), "$")
	inner = strings.TrimSuffix(strings.TrimPrefix(inner, "("), ")")
	if inner == "" {
		return nil
	}
	return strings.Split(inner, "|")
}

func expression(alternatives []string) string {
	return "^(" + strings.Join(alternatives, "|") + ")$"
}

// With the permissions of the page each role works, and with any one of them taken away it does not.
func TestRabbitMQ(t *testing.T) {
	table := rows(t, "## RabbitMQ")
	s := servers.RabbitMQ(t)
	address, err := url.Parse(s.URL())
	must(t, err)
	vhost := "permissions"
	must(t, s.Control(t.Context(), "add_vhost", vhost))
	t.Cleanup(func() { _ = s.Control(context.Background(), "delete_vhost", vhost) })
	user := address.User.Username()
	must(t, s.Control(t.Context(), "set_permissions", "-p", vhost, user, ".*", ".*", ".*"))
	must(t, s.Control(t.Context(), "add_user", "role", "role"))
	t.Cleanup(func() { _ = s.Control(context.Background(), "delete_user", "role") })
	open := func(t *testing.T, as *url.Userinfo, o rabbitmq.Options) *rabbitmq.Transport {
		u := *address
		u.User, u.Path = as, "/"+vhost
		o.Logger = quiet()
		tr, err := rabbitmq.New(u.String(), &o)
		must(t, err)
		t.Cleanup(func() { _ = tr.Close(context.Background()) })
		return tr
	}
	admin := open(t, address.User, rabbitmq.Options{Topics: []string{"orders"}, Groups: []bus.Subscription{shipping}})
	must(t, admin.Declare(t.Context(), "orders"))
	must(t, admin.DeclareGroups(t.Context(), shipping))
	try := func(t *testing.T, name string, rights [3][]string, limit time.Duration) error {
		must(t, s.Control(t.Context(), "set_permissions", "-p", vhost, "role", expression(rights[0]), expression(rights[1]), expression(rights[2])))
		role := open(t, url.UserPassword("role", "role"), rabbitmq.Options{Require: true})
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return rabbitRoles[name](ctx, role, admin)
	}
	for name := range rabbitRoles {
		cells := table[name]
		if len(cells) != 3 {
			t.Errorf("the page has no row %q with three cells", name)
			continue
		}
		rights := [3][]string{alternatives(cells[0]), alternatives(cells[1]), alternatives(cells[2])}
		t.Run(name, func(t *testing.T) {
			if err := try(t, name, rights, patience); err != nil {
				t.Fatalf("with all of its permissions: %v", err)
			}
			if testing.Short() {
				return
			}
			for kind, all := range rights {
				for i, one := range all {
					fewer := rights
					fewer[kind] = slices.Delete(slices.Clone(all), i, i+1)
					t.Run(fmt.Sprint("without ", []string{"configure ", "write ", "read "}[kind], one), func(t *testing.T) {
						if err := try(t, name, fewer, brief); err == nil {
							t.Errorf("it works without: take it off the page")
						}
					})
				}
			}
		})
	}
}
