package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
		errs = append(errs, k.sequence(ctx, t.String()))
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
func (k *pgKeeper) sequence(ctx context.Context, table string) error {
	name, found := k.s.names.of(table), false
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

// privileges names what this role lacks. It must be able to relay, or to run local consumers; of the two, what comes
// nearer is named.
func (k *pgKeeper) privileges(ctx context.Context) error {
	var nearest []error
	for _, d := range []duty{relaying, application} {
		lacks, err := k.lacks(ctx, d)
		if err != nil || len(lacks) == 0 {
			return err
		}
		if nearest == nil || len(lacks) < len(nearest) {
			nearest = lacks
		}
	}
	return errors.Join(nearest...)
}

// lacks answers an error for each table on which this role may not do what a duty needs.
func (k *pgKeeper) lacks(ctx context.Context, d duty) (lacks []error, err error) {
	tables, privileges := newArray(0), newArray(0)
	for _, g := range tableGrants {
		if g.duty == d {
			for p := range strings.SplitSeq(g.privileges, ", ") {
				tables.text(k.s.names.of(g.object))
				privileges.text(p)
			}
		}
	}
	err = k.s.db.EachRow(ctx, `SELECT u.t, string_agg(u.p, ', ' ORDER BY u.n) FROM unnest($1::text::text[], $2::text::text[]) WITH ORDINALITY u(t, p, n)
WHERE NOT pg_catalog.has_table_privilege(u.t, u.p) GROUP BY u.t ORDER BY min(u.n)`, []any{tables.String(), privileges.String()}, func(r sqltx.Rows) error {
		var table, lack string
		if err := r.Scan(&table, &lack); err != nil {
			return err
		}
		lacks = append(lacks, fmt.Errorf("store: check %s: the database role lacks %s; run GRANT %s ON %s TO <role>, or the script of `sixfold grants`", table, lack, lack, table))
		return nil
	})
	return lacks, failed("check the privileges", err)
}
