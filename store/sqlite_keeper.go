package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteKeeper implements outbox.Keeper.
type liteKeeper struct {
	*lite
	migrations                     *Migrations
	rows                           [2]string
	owners, nodes                  string
	purgeDelivered, purgePublished string
}

func newLiteKeeper(l *lite, m *Migrations) *liteKeeper {
	fill := l.names.fill
	rows := func(t outbox.Table) string {
		return fill("SELECT class, partition, count(*), ?1 - min(created_at) FROM {{" + t.String() + "}} GROUP BY class, partition ORDER BY class, partition")
	}
	return &liteKeeper{lite: l, migrations: m,
		rows: [2]string{rows(outbox.ToBroker), rows(outbox.ToLocal)},
		owners: fill(`SELECT l.class, l.partition, l.epoch, l.node FROM {{lease}} l JOIN {{node}} n ON n.id = l.node AND n.until >= ?2
WHERE l.local = ?1 ORDER BY l.class, l.partition`),
		nodes: fill(`SELECT n.class, count(*) FROM {{node}} n WHERE n.until >= ?2
AND EXISTS (SELECT 1 FROM {{lease}} l WHERE l.class = n.class AND l.local = ?1) GROUP BY n.class`),
		purgeDelivered: fill("DELETE FROM {{delivered}} WHERE rowid IN (SELECT rowid FROM {{delivered}} WHERE delivered_at < ?1 ORDER BY delivered_at LIMIT ?2)"),
		purgePublished: fill("DELETE FROM {{published}} WHERE rowid IN (SELECT rowid FROM {{published}} WHERE until < ?1 AND until < 9223372036854775807 ORDER BY until LIMIT ?2)"),
	}
}

// Stats implements outbox.Keeper. It reads the whole table.
func (k *liteKeeper) Stats(ctx context.Context, t outbox.Table) (outbox.Stats, error) {
	var c statsCollector
	now, local := k.now(), boolInt(t == outbox.ToLocal)
	err := k.db.EachRow(ctx, k.rows[t], []any{now}, c.rows)
	if err == nil {
		err = k.db.EachRow(ctx, k.owners, []any{local, now}, c.owners)
	}
	if err == nil {
		err = k.db.EachRow(ctx, k.nodes, []any{local, now}, c.nodes)
	}
	if err != nil {
		return outbox.Stats{}, failed("read the statistics of "+t.String(), err)
	}
	return c.stats(), nil
}

// Purge implements outbox.Keeper.
func (k *liteKeeper) Purge(ctx context.Context, limit int) (int, error) {
	d, err := k.db.ExecSQL(ctx, k.purgeDelivered, k.now()-k.keep.Microseconds(), limit)
	if err != nil {
		return 0, failed("purge delivered rows", err)
	}
	p, err := k.db.ExecSQL(ctx, k.purgePublished, k.now(), limit)
	if err != nil {
		return int(d), failed("purge published ids", err)
	}
	return int(d + p), nil
}

// Check implements outbox.Keeper.
func (k *liteKeeper) Check(ctx context.Context) (warnings []string, err error) {
	warnings, err = k.check(ctx)
	return warnings, unavailable(err, new(liteInbox).Passing)
}

func (k *liteKeeper) check(ctx context.Context) (warnings []string, err error) {
	if err := (sqlite{}).begin(ctx, k.migrations.s); err != nil {
		return nil, err
	}
	if err := k.migrations.check(ctx); err != nil {
		return nil, err
	}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		if err := k.autoincrement(ctx, t); err != nil {
			return nil, err
		}
	}
	return k.durability(ctx)
}

// autoincrement refuses a table that hands out its numbers again after a drain, below the relay's cursor.
func (k *liteKeeper) autoincrement(ctx context.Context, t outbox.Table) error {
	var ddl string
	err := k.db.EachRow(ctx, "SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE", []any{k.names.prefix + t.String()}, func(r sqltx.Rows) error { return r.Scan(&ddl) })
	if err != nil {
		return failed("check "+k.names.of(t.String()), err)
	}
	if !strings.Contains(strings.ToUpper(ddl), "AUTOINCREMENT") {
		return fmt.Errorf("store: check %s: %w: its column seq is not AUTOINCREMENT, so numbers come again after a drain; make the table with the migrations", k.names.of(t.String()), ErrSchema)
	}
	return nil
}

// durability warns of what loses committed rows. The settings are those of one connection of the pool.
func (k *liteKeeper) durability(ctx context.Context) (warnings []string, err error) {
	var errs []error
	ask := func(pragma string, to any) {
		errs = append(errs, k.db.EachRow(ctx, "PRAGMA "+pragma, nil, func(r sqltx.Rows) error { return r.Scan(to) }))
	}
	var synchronous, busy int
	var journal string
	ask("synchronous", &synchronous)
	ask("busy_timeout", &busy)
	ask("journal_mode", &journal)
	if err := errors.Join(errs...); err != nil {
		return nil, failed("check the settings of SQLite", err)
	}
	journal = strings.ToLower(journal)
	switch {
	case journal == "memory" || journal == "off":
		warnings = append(warnings, fmt.Sprintf("SQLite runs with journal_mode = %s: committed messages, or the whole file, can be lost in a crash; use journal_mode(WAL), and a file", journal))
	case synchronous == 0:
		warnings = append(warnings, "SQLite runs with synchronous = OFF: messages that were committed can be lost in a crash; use synchronous(FULL)")
	case synchronous == 1 && journal == "wal":
		warnings = append(warnings, "SQLite runs with synchronous = NORMAL and WAL: messages that were committed can be lost when the power fails; use synchronous(FULL)")
	}
	if busy == 0 {
		warnings = append(warnings, "SQLite runs without busy_timeout: a transaction fails at once while another one writes; use busy_timeout(10000)")
	}
	return warnings, nil
}
