package cli

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// canary is a password that stands nowhere else, with everything that has to be escaped.
const canary = `c4n@ry:/#?%'"\ x9`

// No password is in any output, whatever its form, and however the command ends. [NoSecretAnywhere]
func TestNoSecretAnywhere(t *testing.T) {
	pg := servers.Postgres(t).Database(t)
	u, err := url.Parse(pg)
	if err != nil {
		t.Fatal(err)
	}
	user := u.User.Username()
	right, _ := u.User.Password()
	dsns := map[string]string{"right": pg}
	for name, password := range map[string]string{"right": right, "canary": canary} {
		quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'"
		dsns[name+" URL"] = (&url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: u.Host, Path: u.Path}).String()
		dsns[name+" parameter"] = "postgres://" + user + "@" + u.Host + u.Path + "?password=" + url.QueryEscape(password)
		dsns[name+" pairs"] = "host=" + u.Hostname() + " port=" + u.Port() + " user=" + user + " dbname=" + strings.TrimPrefix(u.Path, "/") + " password=" + quoted
		dsns[name+" pairs, bad"] = "host=" + u.Hostname() + " port=99999 password=" + quoted
		dsns[name+" to nobody"] = "postgres://u:" + url.QueryEscape(password) + "@" + nobody + "/db"
		dsns[name+" to another host"] = "postgres://u:" + url.QueryEscape(password) + "@10.255.255.1/db"
		dsns[name+" of a bad URL"] = "postgres://u:" + password + "@h:x/db"
		dsns[name+" of a bad scheme"] = "mysqk://u:" + url.QueryEscape(password) + "@h/db"
		dsns[name+" without a scheme"] = "u:" + url.QueryEscape(password) + "@h/db"
		dsns[name+" of a bad mode"] = "postgres://u:" + url.QueryEscape(password) + "@h/db?sslmode=" + url.QueryEscape(password)
	}
	n := servers.NATS(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.Username, o.Password = "u", canary }})
	nu, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	brokers := map[string]string{
		"password": (&url.URL{Scheme: "nats", User: url.UserPassword("u", canary), Host: nu.Host}).String(),
		"wrong":    (&url.URL{Scheme: "nats", User: url.UserPassword("v", canary), Host: nu.Host}).String(),
		"token":    (&url.URL{Scheme: "nats", User: url.User(canary), Host: nu.Host}).String(),
		"bad":      "nats://u:" + canary + "@h:4222",
		"scheme":   "natz://u:" + url.QueryEscape(canary) + "@h",
		"far":      "nats://u:" + url.QueryEscape(canary) + "@10.255.255.1:4222",
	}
	ru, err := url.Parse(servers.RabbitMQ(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]string{"wrong": ru.Host, "to nobody": nobody, "far": "10.255.255.1", "bad": "h:x"} {
		brokers["AMQP "+name] = "amqp://u:" + url.QueryEscape(canary) + "@" + host + "/"
		brokers["AMQP, unescaped, "+name] = "amqp://u:" + canary + "@" + host + "/"
	}
	forms := []string{canary, url.QueryEscape(canary), url.PathEscape(canary), url.UserPassword("", canary).String()[1:], right, url.QueryEscape(right), `c4n@ry`, `c4n%40ry`}
	clean := func(what string, got result) {
		t.Helper()
		for _, f := range forms {
			if f != "" && strings.Contains(got.all(), f) {
				t.Errorf("%s shows a password:\n%s", what, got.all())
			}
		}
	}
	r, file := newRunner(t), filepath.Join(t.TempDir(), "a.db")
	commands := [][]string{{"outbox", "stats"}, {"outbox", "list"}, {"outbox", "show", "1"}, {"outbox", "purge", "--all", "--yes"}, {"outbox", "publish", "--topic", "a", "--type", "b"},
		{"migrate", "up"}, {"migrate", "status"}, {"migrate", "print"}, {"migrate", "down", "--to", "0", "--yes"}, {"grants"}, {"doctor"}, {"version"}, {"--help"}, {"outbox", "purge", "--help"}}
	if testing.Short() {
		commands = commands[:1]
	}
	for name, dsn := range dsns {
		for _, args := range commands {
			what := name + ": " + strings.Join(args, " ")
			clean(what, r.with("SIXFOLD_DSN="+dsn).run(append(args, "--timeout", "2s")...))
		}
		got := r.run("doctor", "--dsn", dsn, "--timeout", "2s")
		clean(name+": doctor --dsn", got)
		clean(name+": doctor --dsn in JSON", r.run("doctor", "--format", "json", "--dsn="+dsn, "--timeout", "2s"))
		clean(name+": -dsn", r.run("doctor", "-dsn="+dsn))
		clean(name+": as a command", r.run(dsn))
		clean(name+": as an argument", r.with("SIXFOLD_DSN=sqlite:"+file).run("outbox", "show", dsn))
		clean(name+": as a format", r.run("version", "--format", dsn))
	}
	for _, name := range []string{"right URL", "right parameter", "right pairs"} { // or the forms above would not be forms of a DSN
		if got := r.with("SIXFOLD_DSN="+dsns[name]).run("migrate", "up"); got.code != 0 {
			t.Errorf("%s does not open the database: %q", name, got.all())
		}
	}
	for name, url := range brokers {
		for _, args := range [][]string{{"bus", "peek", "orders"}, {"bus", "declare", "orders"}, {"bus", "purge", "orders", "--yes"}, {"bus", "publish", "orders", "--type", "a.b"}, {"doctor"}} {
			clean(name+": "+strings.Join(args, " "), r.with("SIXFOLD_BROKER="+url).run(append(args, "--timeout", "2s")...))
		}
		got := r.run("bus", "peek", "orders", "--timeout", "2s", "--broker", url)
		clean(name+": --broker", got)
		if name == "password" && (!strings.Contains(got.err, "put it into the variable SIXFOLD_BROKER")) {
			t.Errorf("a password among the arguments brings no warning: %q", got.err)
		}
	}
	if got := r.with("SIXFOLD_BROKER="+brokers["password"]).run("bus", "declare", "orders"); got.code != 0 { // two seconds may not have been enough
		t.Errorf("the right password of NATS declares nothing: %q", got.all())
	}
	if got := r.with("SIXFOLD_BROKER="+brokers["password"]).run("bus", "peek", "orders"); got.code != 0 {
		t.Errorf("the right password of NATS does not open it: %q", got.all())
	}
	got := r.run("outbox", "stats", "--dsn", dsns["right URL"])
	if !strings.Contains(got.err, "put it into the variable SIXFOLD_DSN") {
		t.Errorf("a password among the arguments brings no warning: %q", got.err)
	}
}
