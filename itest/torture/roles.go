package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sixfold-go/sixfold/store"
)

// ledgerGrants are what the processes may do to the tables of the ledger.
const ledgerGrants = `
CREATE ROLE torture_application LOGIN PASSWORD '%[1]s' IN ROLE sixfold_application, sixfold_reader;
CREATE ROLE torture_relay LOGIN PASSWORD '%[1]s' IN ROLE sixfold_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_key, ledger_tx, ledger_poison, effect, dead TO torture_application;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO torture_application;
`

// asRoles makes tables and roles on a server of our own, and answers the URL for each role of ours: relays may do what
// store.GrantScript gives to relays and nothing else, publishers and consumers what it gives to applications. The
// publisher also counts how much waits, as a reader. Where a relay brings messages to the local consumers of the database,
// it is an application of that, too; where the database is the broker, relays and consumers use that.
func asRoles(ctx context.Context, d database, db pool, st *store.Store, dsn string, o *Options) (map[string]string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("torture: the database's URL cannot be read")
	}
	password, _ := u.User.Password() // theirs too: the server is ours, and gone in a minute
	steps := []func() error{
		script(ctx, db, func() (string, error) { return st.RoleScript(store.Roles{}) }),
		func() error { return st.Migrate(ctx) },
		script(ctx, db, func() (string, error) { return st.GrantScript(store.Roles{}) }),
		func() error { return createLedger(ctx, d, db, o.Keys) },
		script(ctx, db, func() (string, error) { return fmt.Sprintf(ledgerGrants, strings.ReplaceAll(password, "'", "''")), nil }),
	}
	if o.Broker == "local" {
		steps = append(steps, script(ctx, db, func() (string, error) { return "GRANT sixfold_application TO torture_relay", nil }))
	}
	if o.Broker == "sqlqueue" {
		steps = append(steps, script(ctx, db, func() (string, error) { return "GRANT sixfold_broker TO torture_relay, torture_application", nil }))
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("torture: make the roles: %w", err)
		}
	}
	by := map[string]string{}
	for role, name := range map[string]string{"relay": "torture_relay", "publisher": "torture_application", "consumer": "torture_application"} {
		own := *u
		own.User = url.UserPassword(name, password)
		by[role] = own.String()
	}
	return by, nil
}

func script(ctx context.Context, db pool, text func() (string, error)) func() error {
	return func() error {
		sql, err := text()
		if err == nil {
			_, err = db.exec(ctx, sql)
		}
		return err
	}
}
