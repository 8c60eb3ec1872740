package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/outbox"
)

// serverError looks like the driver's, which the store does not import.
type serverError struct {
	Number   uint16
	SQLState [5]byte
	Message  string
}

func (e *serverError) Error() string { return fmt.Sprintf("Error %d: %s", e.Number, e.Message) }

func TestMySQLErrors(t *testing.T) {
	of := func(n uint16) error {
		return fmt.Errorf("a: %w", errors.Join(errors.New("b"), &serverError{Number: n}))
	}
	for _, c := range []struct {
		err               error
		code              int
		passing, definite bool
	}{
		{of(1062), 1062, false, true}, {of(1205), 1205, true, true}, {of(1213), 1213, true, true}, {of(3572), 3572, true, false}, {of(1290), 1290, true, true},
		{of(1053), 1053, true, false}, {of(1180), 1180, false, false}, {of(1064), 1064, false, false}, {driver.ErrBadConn, 0, true, false},
		{errors.New("invalid connection"), 0, true, false}, {errors.New("x"), 0, false, false}, {nil, 0, false, false},
	} {
		if got := mysqlCode(c.err); got != c.code {
			t.Errorf("%v has the number %d, not %d", c.err, got, c.code)
		}
		if got := myPassing(c.err); got != c.passing {
			t.Errorf("%v passes: %t", c.err, got)
		}
		if got := myDefinite(c.err); got != c.definite {
			t.Errorf("%v of a COMMIT is definite: %t", c.err, got)
		}
	}
	for code, want := range map[uint16]string{1146: "sixfold migrate up", 1142: "privilege", 1290: "primary", 1153: "max_allowed_packet"} {
		if err := failed("read", of(code)); !strings.Contains(err.Error(), want) {
			t.Errorf("%d does not say %q: %v", code, want, err)
		}
	}
}

func TestMySQLServers(t *testing.T) {
	for version, fits := range map[string]bool{
		"10.11.6-MariaDB-0+deb12u1": true, "5.5.5-10.6.4-MariaDB": true, "10.5.21-MariaDB": false, "11.4.2-MariaDB": true, "8.0.36": true, "8.0.13": false, "8.4.0": true, "9.1.0": true,
		"5.7.44-log": false, "something": false,
	} {
		if err := myServer(version, false); (err == nil) != fits {
			t.Errorf("%s: %v", version, err)
		}
	}
	if err := myServer("8.0.36", true); err == nil || !strings.Contains(err.Error(), "primary") {
		t.Errorf("a replica is taken: %v", err)
	}
}

// What a single server cannot be made to say is told by its settings alone.
func TestMySQLSettings(t *testing.T) {
	fine := func() myVariables {
		return myVariables{"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1", "log_bin": "ON", "auto_increment_increment": "1", "wsrep_on": "OFF", "sql_mode": "STRICT_TRANS_TABLES",
			"transaction_isolation": "READ-COMMITTED", "innodb_doublewrite": "ON"}
	}
	found := func(v myVariables) []Finding { return slicesConcat(v.durability(), v.cluster(), v.session()) }
	if all := found(fine()); len(all) != 0 {
		t.Errorf("a sound server has findings: %+v", all)
	}
	for _, c := range []struct{ name, value, check, text string }{
		{"wsrep_on", "ON", "cluster", "Galera"}, {"group_replication_group_name", "g", "cluster", "several primaries"}, {"auto_increment_increment", "2", "cluster", "auto_increment_increment is 2"},
		{"sync_binlog", "0", "durability", "replicas"}, {"innodb_flush_log_at_trx_commit", "2", "durability", "lost in a crash"}, {"innodb_doublewrite", "OFF", "durability", "damage"},
		{"sql_mode", "ANSI", "sql_mode", "not strict"}, {"transaction_isolation", "REPEATABLE-READ", "isolation", "REPEATABLE-READ"},
	} {
		v := fine()
		v[c.name] = c.value
		v["group_replication_single_primary_mode"] = "OFF"
		all := found(v)
		if len(all) != 1 || all[0].Check != c.check || all[0].Severity == Fine || all[0].Fix == "" || !strings.Contains(all[0].Text, c.text) {
			t.Errorf("%s = %s: %+v", c.name, c.value, all)
		}
	}
	galera := fine()
	galera["wsrep_on"], galera["auto_increment_increment"] = "ON", "3"
	if all := found(galera); len(all) != 1 { // the increment is the cluster's own
		t.Errorf("a node of Galera: %+v", all)
	}
}

func TestMySQLStatements(t *testing.T) {
	s := myStatementOf(names{"s", "key "}, "SELECT key, p.key, partition FROM {{outbox}} p WHERE `before` = ?2 AND key = ?1 OR n = ?2 FORCE INDEX (PRIMARY)")
	if want := "SELECT `key`, p.key, `partition` FROM `s`.`key outbox` p WHERE `before` = ? AND `key` = ? OR n = ? FORCE INDEX (PRIMARY)"; s.sql != want {
		t.Errorf("got  %s\nwant %s", s.sql, want)
	}
	if got := fmt.Sprint(s.args([]any{"a", "b"})); got != "[b a b]" {
		t.Errorf("arguments %s", got)
	}
	for want, ranges := range map[string][]outbox.Range{
		"(seq IN (NULL))": nil, "(seq IN (3))": {{From: 3, To: 3}}, "(seq IN (3, 9) OR seq BETWEEN 5 AND 7)": {{From: 3, To: 3}, {From: 5, To: 7}, {From: 9, To: 9}, {From: 12, To: 11}},
	} {
		if got := inRanges(ranges); got != want {
			t.Errorf("%v: %s", ranges, got)
		}
	}
	left := leftOf([]outbox.Range{{From: 1, To: 1}, {From: 3, To: 7}, {From: 9, To: 1<<63 - 1}}, []outbox.Row{{Seq: 1}, {Seq: 4}, {Seq: 5}, {Seq: 9}})
	if got := fmt.Sprint(left); got != "[{3 3} {6 7} {10 9223372036854775807}]" {
		t.Errorf("what is left is %s", got)
	}
	rows := make([]outbox.Row, 2500)
	if n := fitting(rows, 1<<20); n != myRowsAtMost {
		t.Errorf("%d rows in a statement", n)
	}
	rows[0].Body, rows[1].Body = make([]byte, 900), make([]byte, 900)
	if a, b := fitting(rows, 100), fitting(rows[:3], 1950); a != 1 || b != 2 {
		t.Errorf("%d and %d rows fit, want 1 and 2", a, b)
	}
}
