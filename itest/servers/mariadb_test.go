package servers_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// mariaQuery returns the one value of a query on a connection of its own.
func mariaQuery(t *testing.T, dsn, q string) (v string, err error) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.QueryRowContext(t.Context(), q).Scan(&v)
	return v, err
}

func TestMariaDBHasADatabaseForATest(t *testing.T) {
	m := servers.MariaDB(t)
	name, err := mariaQuery(t, m.Database(t), "SELECT DATABASE()")
	if err != nil || !strings.HasPrefix(name, "t_testmariadbhas") {
		t.Errorf("the database is %q (%v), not named after the test", name, err)
	}
	if a, b := servers.MariaDB(t).Pid(), m.Pid(); a != b || a == 0 {
		t.Errorf("the shared server has process ids %d and %d", a, b)
	}
}

func TestMariaDBRefusesAWrongPassword(t *testing.T) {
	config, err := mysql.ParseDSN(servers.MariaDB(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	config.Passwd = "wrong"
	if _, err := mariaQuery(t, config.FormatDSN(), "SELECT 1"); err == nil {
		t.Error("a wrong password is let in")
	}
}

func TestMariaDBSurvivesItsEnd(t *testing.T) {
	m := servers.PrivateMariaDB(t, &servers.MariaDBOptions{Settings: map[string]string{"auto_increment_increment": "3"}})
	dsn, addr := m.Database(t), m.Addr()
	if v, err := mariaQuery(t, dsn, "SELECT @@auto_increment_increment"); err != nil || v != "3" {
		t.Errorf("a setting is %q (%v), not 3", v, err)
	}
	if _, err := mariaQuery(t, dsn, "SELECT @@innodb_flush_log_at_trx_commit FROM (SELECT 1) d WHERE @@innodb_flush_log_at_trx_commit = 1"); err != nil {
		t.Errorf("commits are not durable: %v", err)
	}
	for _, how := range []servers.Shutdown{servers.Fast, servers.Kill} {
		m.Restart(t, how)
		if _, err := mariaQuery(t, dsn, "SELECT 1"); err != nil || m.Addr() != addr {
			t.Errorf("after stop %d the server is at %s, not %s (%v)", how, m.Addr(), addr, err)
		}
	}
	freeze(t, m.Pid())
	m.Restart(t, servers.Fast)
	if _, err := mariaQuery(t, dsn, "SELECT 1"); err != nil {
		t.Errorf("a frozen server does not come back: %v", err)
	}
}
