package cli

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/store"
)

// A crew runs each command with the login whose grants are made for it.
type crew struct{ as *roles.Logins }

// login answers the URL of who runs a command.
func (c crew) login(args []string) string {
	switch said := strings.Join(c.words(args), " "); {
	case strings.HasPrefix(said, "migrate"), strings.HasPrefix(said, "grants"), strings.HasPrefix(said, "outbox purge"):
		return c.as.Migrator
	case strings.HasPrefix(said, "outbox publish"):
		return c.as.Application
	case strings.HasPrefix(said, "outbox"):
		return c.as.Reader
	case strings.HasPrefix(said, "doctor"): // of the process that it is run beside
		return c.as.All
	}
	return c.as.Operator // dead, parked, explain
}

// words are what a command is called: flags that stand before it have values.
func (c crew) words(args []string) []string {
	for len(args) > 1 && strings.HasPrefix(args[0], "--") {
		args = args[2:]
	}
	return args[:min(len(args), 2)]
}

// after gives the roles their grants on tables that a command has made.
func (c crew) after(ctx context.Context, args []string) error {
	if !slices.Equal(c.words(args), []string{"migrate", "up"}) {
		return nil
	}
	return c.as.Migrate(ctx, optionsOf(args))
}

// optionsOf are those of the store that the flags before a command name.
func optionsOf(args []string) *store.Options {
	opts := &store.Options{}
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "--schema":
			opts.Schema = args[i+1]
		case "--prefix":
			opts.Prefix = args[i+1]
		}
	}
	return opts
}

// newCrew is a runner whose commands find the tables of a store with default options in the empty database dsn, a superuser's URL,
// and connect with the grants of their roles.
func newCrew(t *testing.T, dsn string) *runner {
	t.Helper()
	r := newRunner(t, "SIXFOLD_DSN="+dsn)
	r.crew = &crew{roles.On(t, dsn, nil)}
	return r
}
