package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// postgres runs the checks that only PostgreSQL has.
func (e *examination) postgres(ctx context.Context, k *pgKeeper) {
	e.each("privileges", Problem, k.privileges(ctx), "this role may relay, or run local consumers")
	var errs []error
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		errs = append(errs, k.sequence(ctx, t.String()))
	}
	e.each("sequence", Problem, errors.Join(errs...), "no number is given out ahead of time")
	e.durability(k.durability(ctx))
	e.transactions(ctx)
	e.prepared(ctx)
	e.slots(ctx)
	e.dead(ctx)
}

// transactions reports those that are open for long: they keep vacuum from removing the rows that were delivered.
func (e *examination) transactions(ctx context.Context) {
	const q = `SELECT pid, coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, ''), extract(epoch FROM clock_timestamp() - xact_start)::bigint
FROM pg_catalog.pg_stat_activity WHERE xact_start < clock_timestamp() - $1::bigint::double precision * interval '1 microsecond' AND pid <> pg_catalog.pg_backend_pid()
AND datname = current_database() AND backend_type = 'client backend' ORDER BY xact_start LIMIT 5`
	some := false
	err := e.s.db.EachRow(ctx, q, []any{e.o.OldTransaction.Microseconds()}, func(r sqltx.Rows) error {
		some = true
		var pid int
		var user, app, state string
		var age int64
		if err := r.Scan(&pid, &user, &app, &state, &age); err != nil {
			return err
		}
		e.report("transactions", Warning, fmt.Sprintf("process %d of role %s (%s) has had a transaction open for %v, and is %s", pid, quoteCut(user), quoteCut(app), time.Duration(age)*time.Second, quoteCut(state)),
			fmt.Sprintf("end it where it began, or with SELECT pg_terminate_backend(%d)", pid))
		return nil
	})
	if err != nil {
		e.failed("transactions", err)
	} else if !some {
		e.report("transactions", Fine, fmt.Sprintf("none that this role sees has been open for %v", e.o.OldTransaction), "")
	}
}

// prepared reports prepared transactions that nobody finishes: they hold back vacuum, and the gaps of the relay.
func (e *examination) prepared(ctx context.Context) {
	const q = `SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::bigint FROM pg_catalog.pg_prepared_xacts
WHERE prepared < clock_timestamp() - $1::bigint::double precision * interval '1 microsecond' AND database = current_database() ORDER BY prepared LIMIT 5`
	some := false
	err := e.s.db.EachRow(ctx, q, []any{e.o.OldTransaction.Microseconds()}, func(r sqltx.Rows) error {
		some = true
		var gid string
		var age int64
		if err := r.Scan(&gid, &age); err != nil {
			return err
		}
		e.report("prepared", Warning, fmt.Sprintf("transaction %s was prepared %v ago and is neither committed nor rolled back", quoteCut(gid), time.Duration(age)*time.Second),
			"COMMIT PREPARED or ROLLBACK PREPARED it, as its coordinator decided")
		return nil
	})
	if err != nil {
		e.failed("prepared", err)
	} else if !some {
		e.report("prepared", Fine, "no prepared transaction waits", "")
	}
}

// slots reports replication slots that nobody reads: they keep the log and, with a catalog horizon, dead rows.
func (e *examination) slots(ctx context.Context) {
	const q = `SELECT slot_name::text, coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::bigint / 1048576 FROM pg_catalog.pg_replication_slots
WHERE NOT active ORDER BY restart_lsn LIMIT 5`
	some := false
	err := e.s.db.EachRow(ctx, q, nil, func(r sqltx.Rows) error {
		some = true
		var name string
		var megabytes int64
		if err := r.Scan(&name, &megabytes); err != nil {
			return err
		}
		e.report("slots", Warning, fmt.Sprintf("nobody reads replication slot %s, which keeps %d MB of the log", quoteCut(name), megabytes),
			"start its reader, or drop it with SELECT pg_drop_replication_slot("+quoteLiteral(name)+")")
		return nil
	})
	if err != nil {
		e.failed("slots", err)
	} else if !some {
		e.report("slots", Fine, "every replication slot has a reader", "")
	}
}

// dead reports tables that vacuum does not keep up with.
func (e *examination) dead(ctx context.Context) {
	const q = `SELECT c.relname::text, pg_catalog.pg_stat_get_dead_tuples(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = ANY(ARRAY[$1::text::regclass, $2::text::regclass]::oid[])
AND pg_catalog.pg_stat_get_dead_tuples(c.oid) >= $3::bigint ORDER BY 1`
	some := false
	err := e.s.db.EachRow(ctx, q, []any{e.s.names.of("outbox"), e.s.names.of("local"), e.o.DeadRows}, func(r sqltx.Rows) error {
		some = true
		var name string
		var n int64
		if err := r.Scan(&name, &n); err != nil {
			return err
		}
		e.report("vacuum", Warning, fmt.Sprintf("table %s has about %d dead rows", quoteCut(name), n), "end what the checks above name, switch autovacuum on, and run VACUUM on the table")
		return nil
	})
	if err != nil {
		e.failed("vacuum", err)
	} else if !some {
		e.report("vacuum", Fine, fmt.Sprintf("no table of the outbox has %d dead rows", e.o.DeadRows), "")
	}
}
