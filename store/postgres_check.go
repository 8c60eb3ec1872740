package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Check implements outbox.Keeper.
func (k *pgKeeper) Check(ctx context.Context) (warnings []string, err error) {
	warnings, err = k.check(ctx)
	return warnings, unavailable(err, new(pgInbox).Passing)
}

// unavailable marks what is the infrastructure's own as an outage, which passes.
func unavailable(err error, passing func(error) bool) error {
	if passing(err) {
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	return err
}

func (k *pgKeeper) check(ctx context.Context) (warnings []string, err error) {
	if err := (postgres{}).begin(ctx, k.s); err != nil {
		return nil, err
	}
	if err := k.s.migrations.check(ctx); err != nil {
		return nil, err
	}
	errs := []error{k.privileges(ctx)}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		errs = append(errs, k.sequence(ctx, t))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return k.durability(ctx)
}

// durability warns of what loses committed rows in a crash. synchronous_commit is this session's; others may differ.
func (k *pgKeeper) durability(ctx context.Context) (warnings []string, err error) {
	err = k.s.db.EachRow(ctx, "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name", nil,
		func(r sqltx.Rows) error {
			var name, setting string
			if err := r.Scan(&name, &setting); err != nil {
				return err
			}
			warnings = append(warnings, fmt.Sprintf("the database runs with %s = %s: messages that were committed can be lost in a crash; switch it on", name, setting))
			return nil
		})
	return warnings, failed("check the server's settings", err)
}

// sequence refuses one that hands numbers out ahead of time or not upwards: the relay would skip rows for ever.
func (k *pgKeeper) sequence(ctx context.Context, t outbox.Table) error {
	name, found := k.s.names.of(t.String()), false
	var cache, increment int64
	var cycle bool
	err := k.s.db.EachRow(ctx, "SELECT seqcache, seqincrement, seqcycle FROM pg_catalog.pg_sequence WHERE seqrelid = pg_catalog.pg_get_serial_sequence($1::text, 'seq')::regclass",
		[]any{name}, func(r sqltx.Rows) error {
			found = true
			return r.Scan(&cache, &increment, &cycle)
		})
	switch {
	case err != nil:
		return failed("check the sequence of "+name, err)
	case !found:
		return fmt.Errorf("store: check %s: %w: its column seq has no sequence; make it GENERATED ALWAYS AS IDENTITY (CACHE 1)", name, ErrSchema)
	case cache != 1:
		return fmt.Errorf("store: check %s: %w: its sequence has CACHE %d, and would give old numbers to later transactions; run ALTER TABLE %s ALTER COLUMN seq SET CACHE 1", name, ErrSchema, cache, name)
	case increment < 1 || cycle:
		return fmt.Errorf("store: check %s: %w: its sequence must go upwards without a cycle; run ALTER TABLE %s ALTER COLUMN seq SET INCREMENT 1 SET NO CYCLE", name, ErrSchema, name)
	}
	return nil
}

// privileges names what this role may not do.
func (k *pgKeeper) privileges(ctx context.Context) error {
	var errs []error
	for _, t := range []string{"outbox", "local", "published", "delivered", "inbox", "parked", "node", "lease"} {
		name, lacks := k.s.names.of(t), ""
		err := k.s.db.EachRow(ctx, `SELECT coalesce(string_agg(p, ', '), '') FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p WHERE NOT pg_catalog.has_table_privilege($1::text, p)`,
			[]any{name}, func(r sqltx.Rows) error { return r.Scan(&lacks) })
		switch {
		case err != nil:
			return failed("check the privileges on "+name, err)
		case lacks != "":
			errs = append(errs, fmt.Errorf("store: check %s: the database role lacks %s; run GRANT %s ON %s TO <role>", name, lacks, lacks, name))
		}
	}
	return errors.Join(errs...)
}
