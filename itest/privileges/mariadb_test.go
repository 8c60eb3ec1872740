package privileges

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// maria is what differs on MariaDB.
type maria struct {
	config *mysql.Config // of the superuser
	super  *sql.DB
	users  map[string]string // by role, with one password
}

// spare reports whether a grant is not needed today, or not here: MySQL 8 asks for one that changes rows where rows are locked,
// and later migrations will alter tables.
func spare(grant string) bool {
	return strings.HasPrefix(grant, "UPDATE ") && strings.HasSuffix(grant, "gate`") || strings.HasPrefix(grant, "ALTER ON") || strings.HasPrefix(grant, "INDEX ON")
}

// repair makes the tables anew, after a migration that was not let do its work. Grants stay with the names.
func (m *maria) repair(w *world) {
	w.Helper()
	var tables []string
	w.must(w.super.EachRow(w.Context(), "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()", nil, func(r sqltx.Rows) error {
		var name string
		err := r.Scan(&name)
		tables = append(tables, "`"+name+"`")
		return err
	}))
	w.exec("DROP TABLE " + strings.Join(tables, ", "))
	w.must(w.st.Migrate(w.Context()))
}

func newMariaWorld(t *testing.T) *world {
	t.Helper()
	config, err := mysql.ParseDSN(servers.MariaDB(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	config.InterpolateParams = true
	config.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'"}
	m := &maria{config: config, users: map[string]string{}}
	w := &world{T: t, maria: m, known: map[string]*login{}}
	m.super = m.open(w, config.User)
	w.super = sqltx.StdDB(m.super)
	suffix := config.DBName[len(config.DBName)-10:]
	w.roles = store.Roles{Application: "app " + suffix, Relay: "Relay_" + suffix, Migrator: "migrator-" + suffix, Reader: "reader_" + suffix, Operator: "operator_" + suffix, Broker: "broker_" + suffix}
	w.st = m.store(w, w.super)
	script, err := w.st.RoleScript(w.roles)
	w.must(err)
	w.must(m.script(t.Context(), script))
	t.Cleanup(func() {
		for role, user := range m.users {
			if _, err := m.super.Exec("DROP USER `" + user + "`"); err != nil {
				t.Error(err)
			}
			if _, err := m.super.Exec("DROP ROLE `" + role + "`"); err != nil {
				t.Error(err)
			}
		}
	})
	for i, role := range []string{w.roles.Application, w.roles.Relay, w.roles.Migrator, w.roles.Reader, w.roles.Operator, w.roles.Broker} {
		user := string("armiob"[i]) + suffix
		m.users[role] = user
		for _, q := range []string{"CREATE USER `" + user + "` IDENTIFIED BY '" + config.Passwd + "'", "GRANT `" + role + "` TO `" + user + "`", "SET DEFAULT ROLE `" + role + "` FOR `" + user + "`"} {
			w.exec(q)
		}
	}
	_, st := w.as(w.roles.Migrator)
	w.must(st.Migrate(t.Context()))
	w.grant()
	return w
}

func (m *maria) open(w *world, user string) *sql.DB {
	w.Helper()
	config := m.config.Clone()
	config.User = user
	connector, err := mysql.NewConnector(config)
	w.must(err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(4)
	w.Cleanup(func() { db.Close() })
	return db
}

func (m *maria) store(w *world, db sqltx.Runner) *store.Store {
	w.Helper()
	st, err := store.MySQL(db, &store.Options{KeepDelivered: time.Microsecond})
	w.must(err)
	return st
}

func (m *maria) login(w *world, role string) *login {
	w.Helper()
	raw := m.open(w, m.users[role])
	db := sqltx.StdDB(raw)
	return &login{db, m.store(w, db), func() {
		raw.SetMaxIdleConns(-1) // which closes those that nobody uses
		raw.SetMaxIdleConns(2)
	}}
}

// script runs statements that end with their lines.
func (m *maria) script(ctx context.Context, text string) error {
	for q := range strings.SplitSeq(text, ";\n") {
		var lines []string
		for line := range strings.Lines(q) {
			if !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		if q = strings.TrimSpace(strings.Join(lines, "")); q == "" {
			continue
		}
		if _, err := m.super.ExecContext(ctx, q); err != nil {
			return errors.Join(errors.New(q), err)
		}
	}
	return nil
}

var grantLine = regexp.MustCompile("^GRANT (.*) ON (`[^`]*`\\.(?:`[^`]*`|\\*)) TO ")

// grants are those that a role has, one privilege each.
func (m *maria) grants(w *world, role string) (all []string) {
	w.Helper()
	w.must(w.super.EachRow(w.Context(), "SHOW GRANTS FOR `"+role+"`", nil, func(r sqltx.Rows) error {
		var line string
		err := r.Scan(&line)
		if p := grantLine.FindStringSubmatch(line); p != nil {
			for privilege := range strings.SplitSeq(p[1], ", ") {
				all = append(all, privilege+" ON "+p[2])
			}
		}
		return err
	}))
	return all
}

// quoted is the name of a role in a statement.
func (w *world) quoted(role string) string {
	if w.maria != nil {
		return "`" + role + "`"
	}
	return pgx.Identifier{role}.Sanitize()
}

// The script is for a connection to the database of the tables, or names it.
func TestRoleScriptOnMySQL(t *testing.T) {
	st, err := store.MySQL(sqltx.StdDB(new(sql.DB)), &store.Options{Schema: "shop", Prefix: "p_"})
	if err != nil {
		t.Fatal(err)
	}
	roles, err := st.RoleScript(store.Roles{Migrator: "m"})
	if err != nil || !strings.Contains(roles, "CREATE DATABASE IF NOT EXISTS `shop`") || !strings.Contains(roles, "ON `shop`.* TO `m`") {
		t.Errorf("%v: %s", err, roles)
	}
	grants, err := st.GrantScript(store.Roles{Relay: "r"})
	if err != nil || !strings.Contains(grants, "GRANT SELECT, DELETE ON `shop`.`p_outbox` TO `r`;") {
		t.Errorf("%v: %s", err, grants)
	}
}
