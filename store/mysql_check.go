package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Check implements outbox.Keeper.
func (k *myKeeper) Check(ctx context.Context) (warnings []string, err error) {
	warnings, err = k.check(ctx)
	return warnings, unavailable(err, myPassing)
}

func (k *myKeeper) check(ctx context.Context) (warnings []string, err error) {
	return k.checkFor(ctx, func(ctx context.Context) error {
		return errors.Join(k.sequence(ctx, outbox.ToBroker.String()), k.sequence(ctx, outbox.ToLocal.String()), k.gate(ctx))
	})
}

// checkFor looks at the server, the schema, the tables that order rests on, and the settings.
func (k *myKeeper) checkFor(ctx context.Context, tables func(context.Context) error) (warnings []string, err error) {
	if err := (mysql{}).begin(ctx, k.s); err != nil {
		return nil, err
	}
	if err := k.s.migrations.check(ctx); err != nil {
		return nil, err
	}
	if err := tables(ctx); err != nil {
		return nil, err
	}
	vars, err := k.variables(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range slicesConcat(vars.durability(), vars.cluster(), vars.session()) {
		warnings = append(warnings, f.Text+"; "+f.Fix)
	}
	return warnings, nil
}

// slicesConcat joins what the checks found.
func slicesConcat(lists ...[]Finding) (all []Finding) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// sequence refuses a table whose numbers could come again, or whose rows no transaction protects.
func (k *myKeeper) sequence(ctx context.Context, table string) error {
	name, engine, extra := myQuoted(k.names.of(table)), "", ""
	err := k.db.EachRow(ctx, "SELECT t.ENGINE, c.EXTRA FROM information_schema.TABLES t JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME "+
		"AND c.COLUMN_NAME = 'seq' WHERE t.TABLE_SCHEMA = coalesce(nullif(?, ''), DATABASE()) AND t.TABLE_NAME = ?", []any{k.names.schema, k.names.prefix + table},
		func(r sqltx.Rows) error { return r.Scan(&engine, &extra) })
	switch {
	case err != nil:
		return failed("check "+name, err)
	case engine == "": // a table that this user has no privilege on is not listed, and not used by it
		return nil
	case !strings.EqualFold(engine, "InnoDB"):
		return fmt.Errorf("store: check %s: %w: its engine is %s, which has no transactions; run ALTER TABLE %s ENGINE = InnoDB", name, ErrSchema, quoteCut(engine), name)
	case !strings.Contains(strings.ToLower(extra), "auto_increment"):
		return fmt.Errorf("store: check %s: %w: its column seq is not AUTO_INCREMENT; make the table with the migrations", name, ErrSchema)
	}
	return nil
}

// gate refuses one without all its slots: a writer would draw numbers that no relay knows of.
func (k *myKeeper) gate(ctx context.Context) error {
	n := 0
	err := k.db.EachRow(ctx, myQuoted(k.names.fill("SELECT count(*) FROM {{gate}} WHERE slot >= 0 AND slot < ?")), []any{2 * gateSlots}, func(r sqltx.Rows) error { return r.Scan(&n) })
	if err == nil && n != 2*gateSlots {
		name := myQuoted(k.names.of("gate"))
		return fmt.Errorf("store: check %s: %w: it has %d of its %d slots, and a relay could skip rows that commit late; insert the missing numbers from 0 to %d into its column slot", name, ErrSchema, n, 2*gateSlots, 2*gateSlots-1)
	}
	return failed("check the gate", err)
}

// myVariables are the server's and this session's settings, by name in lower case.
type myVariables map[string]string

// myAsked are the settings that are looked at. A server does not have all of them.
const myAsked = "'innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', 'auto_increment_increment', 'wsrep_on', 'sql_mode', 'tx_isolation', 'transaction_isolation', " +
	"'innodb_doublewrite', 'group_replication_single_primary_mode', 'group_replication_group_name', 'lower_case_table_names'"

func (k *myKeeper) variables(ctx context.Context) (myVariables, error) {
	vars := myVariables{}
	err := k.db.EachRow(ctx, "SHOW VARIABLES WHERE Variable_name IN ("+myAsked+")", nil, func(r sqltx.Rows) error {
		var name, value string
		err := r.Scan(&name, &value)
		vars[strings.ToLower(name)] = value
		return err
	})
	return vars, failed("check the server's settings", err)
}

func (v myVariables) on(name string) bool {
	return strings.EqualFold(v[name], "ON") || v[name] == "1"
}

func finding(check string, s Severity, fix, format string, args ...any) Finding {
	return Finding{Check: check, Severity: s, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// durability names what loses committed rows in a crash.
func (v myVariables) durability() (all []Finding) {
	if flush, ok := v["innodb_flush_log_at_trx_commit"]; ok && flush != "1" {
		all = append(all, finding("durability", Problem, "set it to 1", "the database runs with innodb_flush_log_at_trx_commit = %s: messages that were committed can be lost in a crash", flush))
	}
	if sync, ok := v["sync_binlog"]; ok && sync != "1" && v.on("log_bin") {
		all = append(all, finding("durability", Warning, "set it to 1", "the database runs with sync_binlog = %s: after a crash its replicas may lack messages that were committed, or have some that were not", sync))
	}
	if strings.EqualFold(v["innodb_doublewrite"], "OFF") || v["innodb_doublewrite"] == "0" {
		all = append(all, finding("durability", Problem, "switch it on, unless the file system writes pages as a whole", "the database runs with innodb_doublewrite off: a crash in the middle of a write can damage the tables"))
	}
	return all
}

// cluster names what gives numbers out on several servers at once: they do not rise with time then, and the locks of one
// server say nothing about the writers of another.
func (v myVariables) cluster() (all []Finding) {
	if v.on("wsrep_on") {
		all = append(all, finding("cluster", Problem, "send everything that publishes, relays and handles to one and the same node, and fail over as a whole",
			"the server is a node of a Galera cluster: rows that are written on several nodes have numbers that do not rise with time, so messages of a key can be sent out of order, late rows minutes later"))
	}
	if v["group_replication_group_name"] != "" && strings.EqualFold(v["group_replication_single_primary_mode"], "OFF") {
		all = append(all, finding("cluster", Problem, "use the single-primary mode, or send everything of Sixfold to one and the same member",
			"group replication runs with several primaries: rows that are written on several of them have numbers that do not rise with time, so messages of a key can be sent out of order"))
	}
	if n, err := strconv.Atoi(v["auto_increment_increment"]); err == nil && n > 1 && !v.on("wsrep_on") {
		all = append(all, finding("cluster", Warning, "set it to 1 unless several servers are written to; if they are, write to one",
			"auto_increment_increment is %d: every number in between is a gap that the relay looks into, and where it is set since several servers are written to, messages of a key can be sent out of order", n))
	}
	return all
}

// session names settings of this session that the statements do not want.
func (v myVariables) session() (all []Finding) {
	isolation := v["transaction_isolation"]
	if isolation == "" {
		isolation = v["tx_isolation"]
	}
	if isolation != "" && isolation != "READ-COMMITTED" {
		all = append(all, finding("isolation", Warning, "set transaction_isolation (tx_isolation before MariaDB 11.1) to 'READ-COMMITTED' in the DSN",
			"transactions run with %s: it locks gaps between rows, so that they deadlock and are run again, and what they read first they keep reading", isolation))
	}
	if mode := strings.ToUpper(v["sql_mode"]); !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES") && !strings.Contains(mode, "TRADITIONAL") {
		all = append(all, finding("sql_mode", Problem, "add STRICT_TRANS_TABLES to sql_mode", "sql_mode is not strict: what does not fit into a column is cut in silence"))
	}
	return all
}
