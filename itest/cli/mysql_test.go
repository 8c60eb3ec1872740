package cli

import (
	"database/sql"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// asURL writes a DSN of the driver as a URL.
func asURL(t *testing.T, dsn string) (text string, config *mysql.Config) {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "mysql", User: url.UserPassword(config.User, config.Passwd), Host: config.Addr, Path: "/" + config.DBName}).String(), config
}

func TestCommandsOnMariaDB(t *testing.T) {
	dsn := servers.MariaDB(t).Database(t)
	link, _ := asURL(t, dsn)
	for _, where := range []string{link, dsn} {
		r := newRunner(t, "SIXFOLD_DSN="+where)
		for _, c := range []struct {
			args string
			want []string
		}{
			{"migrate up", nil}, {"migrate status", []string{"0001_outbox_inbox", "yes"}}, {"migrate print --dialect mysql", []string{"CREATE TABLE `sixfold_outbox`"}},
			{"outbox publish --topic orders --type orders.placed --key k", nil}, {"outbox stats", []string{"1"}}, {"outbox list", []string{"orders.placed"}},
			{"dead list", nil}, {"parked list", nil}, {"outbox purge --all --yes", []string{"1"}}, {"outbox list", nil},
		} {
			got := r.run(strings.Fields(c.args)...)
			if got.code != 0 {
				t.Errorf("%s: code %d: %s", c.args, got.code, got.all())
			}
			for _, want := range c.want {
				if !strings.Contains(got.out, want) {
					t.Errorf("%s: %q does not say %q", c.args, got.out, want)
				}
			}
		}
		if got := r.run("migrate", "down", "--to", "0", "--yes"); got.code != 0 {
			t.Errorf("migrate down: %s", got.all())
		}
	}
}

func TestMySQLIsNotReached(t *testing.T) {
	link, config := asURL(t, servers.MariaDB(t).Database(t))
	for _, c := range []struct{ dsn, want string }{
		{strings.Replace(link, config.Passwd, canaryOf(), 1), "refused the password"}, {strings.Replace(link, "/"+config.DBName, "/absent", 1), "has no database"},
		{"mysql://u:" + canaryOf() + "@" + nobody + "/db", "nobody listens"}, {"mysql://u:" + canaryOf() + "@10.255.255.1/db", "unencrypted"}, {"u:" + canaryOf() + "@tcp(h:x/db", "cannot be read"},
		{"u:" + canaryOf() + "@tcp(" + nobody + ")/db", "nobody listens"},
	} {
		got := newRunner(t, "SIXFOLD_DSN="+c.dsn).run("outbox", "stats")
		if got.code == 0 || got.out != "" || !strings.Contains(got.err, c.want) {
			t.Errorf("%s is not said: code %d, %q", c.want, got.code, got.all())
		}
		if strings.Contains(got.all(), canaryOf()) || strings.Contains(got.all(), url.QueryEscape(canaryOf())) || strings.Contains(got.all(), config.Passwd) {
			t.Errorf("a password is shown: %q", got.all())
		}
	}
}

// canaryOf is a password that needs no escaping.
func canaryOf() string { return "canary-pw-0815" }

func TestDoctorOnMariaDB(t *testing.T) {
	m := servers.PrivateMariaDB(t, &servers.MariaDBOptions{Settings: map[string]string{"innodb-flush-log-at-trx-commit": "2", "auto-increment-increment": "2", "sql-mode": "", "log-bin": "bin", "server-id": "1"}})
	dsn := m.Database(t)
	link, _ := asURL(t, dsn)
	r := newRunner(t, "SIXFOLD_DSN="+link)
	if got := r.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.all())
	}
	doctor := func() map[string]string {
		var report struct{ Findings []finding }
		got := r.run("--format", "json", "doctor")
		if err := json.Unmarshal([]byte(got.out), &report); err != nil {
			t.Fatalf("%v: %q", err, got.all())
		}
		said := map[string]string{}
		for _, f := range report.Findings {
			said[f.Check] += f.State + ": " + f.Text + " "
			if f.State != "ok" && f.Fix == "" {
				t.Errorf("%s has no fix: %s", f.Check, f.Text)
			}
		}
		return said
	}
	said := doctor()
	for check, want := range map[string]string{"durability": "innodb_flush_log_at_trx_commit = 2", "cluster": "auto_increment_increment is 2", "sql_mode": "not strict", "isolation": "ok:", "gate": "ok:", "sequence": "ok:"} {
		if !strings.Contains(said[check], want) {
			t.Errorf("%s does not say %q: %q", check, want, said[check])
		}
	}
	if !strings.Contains(said["durability"], "sync_binlog = 0") {
		t.Errorf("durability does not speak of the log: %q", said["durability"])
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"DELETE FROM sixfold_gate WHERE slot = 3", "ALTER TABLE sixfold_local ENGINE = MyISAM"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	said = doctor()
	if !strings.Contains(said["gate"], "63 of its 64") || !strings.Contains(said["sequence"], "MyISAM") {
		t.Errorf("what was broken is not said: %q, %q", said["gate"], said["sequence"])
	}
}
