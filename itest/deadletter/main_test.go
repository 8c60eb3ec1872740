// Package deadletter tests package deadletter on real databases.
package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/itest/tables"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	if os.Getenv("SIXFOLD_REDRIVE_CHILD") != "" {
		os.Exit(child())
	}
	servers.Main(m)
}

// world is a database with the tables of a store. On PostgreSQL what is tested has the grants of an operator, and the
// superuser makes what it finds.
type world struct {
	t       testing.TB
	pg, my  bool
	dsn     string
	run     sqltx.Runner
	st      *store.Store
	letters *deadletter.Letters
}

// open opens the store of a DSN: "sqlite:" and a path, "mysql:" and the driver's DSN, or PostgreSQL's.
func open(ctx context.Context, dsn string) (w *world, stop func(), err error) {
	w = &world{dsn: dsn}
	if path, lite := strings.CutPrefix(dsn, "sqlite:"); lite {
		db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		if err != nil {
			return nil, nil, err
		}
		w.run, stop = sqltx.StdDB(db), func() { db.Close() }
		w.st, err = store.SQLite(w.run, nil)
		if err != nil {
			return nil, nil, err
		}
	} else if maria, my := strings.CutPrefix(dsn, "mysql:"); my {
		db, err := sql.Open("mysql", maria+"?tx_isolation=%27READ-COMMITTED%27&interpolateParams=true")
		if err != nil {
			return nil, nil, err
		}
		w.my, w.run, stop = true, sqltx.StdDB(db), func() { db.Close() }
		if w.st, err = store.MySQL(w.run, nil); err != nil {
			return nil, nil, err
		}
	} else {
		pool, err := pgxpool.New(ctx, dsn)
		if err != nil {
			return nil, nil, err
		}
		w.pg, w.run, stop = true, sqltx.PgxDB(pool), pool.Close
		if w.st, err = store.Postgres(w.run, nil); err != nil {
			return nil, nil, err
		}
	}
	w.letters, err = deadletter.New(w.st.DeadLetters())
	return w, stop, err
}

// prepared are databases with their tables. The tests of this process have them one after another, and find them empty: making the
// tables takes longer than most tests.
var prepared struct {
	lite  []byte // a file
	pg    *roles.Logins
	maria string // as open takes it
}

// each runs a test on every database.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("SQLite", func(t *testing.T) { test(t, onSQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, onPostgres(t)) })
	t.Run("MariaDB", func(t *testing.T) { test(t, onMariaDB(t)) })
}

func onSQLite(t testing.TB) *world {
	t.Helper()
	if prepared.lite == nil {
		path := filepath.Join(t.TempDir(), "made.db")
		w, stop, err := open(t.Context(), "sqlite:"+path)
		must(t, err)
		must(t, w.st.Migrate(t.Context()))
		stop() // which leaves no log beside the file
		prepared.lite, err = os.ReadFile(path)
		must(t, err)
	}
	path := filepath.Join(t.TempDir(), "t.db")
	must(t, os.WriteFile(path, prepared.lite, 0o600))
	return opened(t, "sqlite:"+path)
}

func onPostgres(t testing.TB) *world {
	t.Helper()
	if prepared.pg == nil {
		dsn, err := servers.Postgres(t).CreateDatabase(t.Context(), "deadletter") // it goes with the server
		must(t, err)
		prepared.pg = roles.On(t, dsn, nil)
	}
	w, operator := opened(t, prepared.pg.Superuser), opened(t, prepared.pg.Operator)
	w.dsn, w.letters = operator.dsn, operator.letters
	w.exec("TRUNCATE {{" + strings.Join(tables.Names(), "}}, {{") + "}} RESTART IDENTITY")
	return w
}

func onMariaDB(t testing.TB) *world {
	t.Helper()
	if prepared.maria == "" {
		dsn, err := servers.MariaDB(t).CreateDatabase(t.Context(), "deadletter") // it goes with the server
		must(t, err)
		must(t, opened(t, "mysql:"+dsn).st.Migrate(t.Context()))
		prepared.maria = "mysql:" + dsn
	}
	w := opened(t, prepared.maria)
	for _, table := range tables.Names() {
		w.exec("DELETE FROM {{" + table + "}}")
	}
	for _, table := range []string{"outbox", "parked", "line"} { // whose numbers the tests know
		w.exec("TRUNCATE TABLE {{" + table + "}}")
	}
	return w
}

// opened is the world of a DSN until the test ends.
func opened(t testing.TB, dsn string) *world {
	t.Helper()
	w, stop, err := open(t.Context(), dsn)
	must(t, err)
	t.Cleanup(stop)
	w.t = t
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var parameter = regexp.MustCompile(`\?(\d+)`)

// sql writes {{table}}, ?1 and {{now}}, {{never}} in the dialect's way.
func (w *world) sql(text string) string {
	table, now, soon, never := `"sixfold_$1"`, "1700000000000000", "4000000000000000", "9223372036854775807"
	if w.pg {
		table, now, soon, never = `"sixfold"."$1"`, "clock_timestamp()", "clock_timestamp()", "'infinity'::timestamptz"
		text = parameter.ReplaceAllString(text, "$$$1")
	}
	if w.my {
		table = "`sixfold_$1`"
		text = parameter.ReplaceAllString(text, "?") // all of them are there once, in order
		text = regexp.MustCompile(`(^|[^.\w])(key|partition|before)\b`).ReplaceAllString(text, "$1`$2`")
		text = strings.NewReplacer(" AS l (", " (", "ON CONFLICT (consumer, `key`) DO UPDATE SET size = l.size + 1", "ON DUPLICATE KEY UPDATE size = size + 1").Replace(text)
	}
	text = strings.NewReplacer("{{now}}", now, "{{soon}}", soon, "{{never}}", never).Replace(text)
	return regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllString(text, table)
}

func (w *world) exec(text string, args ...any) {
	w.t.Helper()
	_, err := w.run.ExecSQL(w.t.Context(), w.sql(text), args...)
	must(w.t, err)
}

// ask answers the first column of every row, as text.
func (w *world) ask(text string, args ...any) (out []string) {
	w.t.Helper()
	must(w.t, w.run.EachRow(w.t.Context(), w.sql(text), args, func(r sqltx.Rows) error {
		var v any
		err := r.Scan(&v)
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		out = append(out, fmt.Sprint(v))
		return err
	}))
	return out
}

func (w *world) want(what, want, text string, args ...any) {
	w.t.Helper()
	if got := strings.Join(w.ask(text, args...), " "); got != want {
		w.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// letter is a message to be parked by hand.
type letter struct {
	dead, loose, relay bool
	consumer, id, key  string
	kind, reason, err  string
	body               string
	handled            bool // by another copy
}

// put parks a message as a consumer would, and answers its number.
func (w *world) put(l letter) (n int64) {
	w.t.Helper()
	if l.consumer == "" {
		l.consumer = "billing"
	}
	if l.id == "" {
		l.id = sixfold.NewID()
	}
	if l.kind == "" {
		l.kind = "orders.placed"
	}
	if l.body == "" {
		l.body = `{"n":1}`
	}
	env := &sixfold.Envelope{ID: l.id, Source: "shop", Type: l.kind, Key: l.key, ContentType: "application/json", Headers: map[string]string{"tenant": "a"}, Body: []byte(l.body)}
	rec := inbox.RecordOf(env)
	must(w.t, w.run.InTx(w.t.Context(), func(tx sqltx.Tx) error {
		var line any
		if !l.relay && !(l.dead && l.loose) {
			var id int64
			due := "{{now}}"
			if l.dead {
				due = "{{never}}"
			}
			var key any
			if l.key != "" {
				key = l.key
			}
			if err := tx.Each(w.t.Context(), w.sql("INSERT INTO {{line}} AS l (consumer, key, due, size) VALUES (?1, ?2, "+due+", 1) ON CONFLICT (consumer, key) DO UPDATE SET size = l.size + 1 RETURNING id"),
				[]any{l.consumer, key}, func(r sqltx.Rows) error { return r.Scan(&id) }); err != nil {
				return err
			}
			line = id
		}
		var key any
		if l.key != "" {
			key = l.key
		}
		state := 1
		if l.dead {
			state = 2
		}
		relay := any(l.relay)
		if err := tx.Each(w.t.Context(), w.sql("INSERT INTO {{parked}} (line, state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at, last_at) "+
			"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'shop', ?8, 'orders', ?9, ?10, ?11, 3, ?12, ?13, 'host/1', {{now}}, {{now}}) RETURNING n"),
			[]any{line, state, relay, l.consumer, rec.Message[:], rec.Digest[:], l.id, l.kind, key, outbox.EncodeAttrs(env, outbox.Flags{}), env.Body, l.reason, l.err},
			func(r sqltx.Rows) error { return r.Scan(&n) }); err != nil {
			return err
		}
		if _, err := tx.Exec(w.t.Context(), w.sql("INSERT INTO {{attempt}} (n, attempt, at, node, error) VALUES (?1, 3, {{now}}, 'host/1', 'it failed')"), n); err != nil || l.relay {
			return err
		}
		inboxState := state + 1
		if l.handled {
			inboxState = 1
		}
		_, err := tx.Exec(w.t.Context(), w.sql("INSERT INTO {{inbox}} (consumer, message, digest, state, at) VALUES (?1, ?2, ?3, ?4, {{now}})"), l.consumer, rec.Message[:], rec.Digest[:], inboxState)
		return err
	}))
	return n
}

// redrive does it, and wants a number of messages to be done.
func (w *world) redrive(want int, f deadletter.Filter, o deadletter.Options) deadletter.Report {
	w.t.Helper()
	o.Who = "ann"
	report, err := w.letters.Redrive(w.t.Context(), f, o)
	must(w.t, err)
	if report.Done != want {
		w.t.Errorf("%d messages were sent again, want %d: %+v", report.Done, want, report)
	}
	return report
}
