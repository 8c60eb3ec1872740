package sqlqueue

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

var numberedParameter = regexp.MustCompile(`\$\d+`)

func newMariaDB(t testing.TB) *world {
	t.Helper()
	config, err := mysql.ParseDSN(servers.MariaDB(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	config.InterpolateParams = true
	config.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'"}
	open := func(tb testing.TB, user, password string) *sql.DB {
		tb.Helper()
		as := config.Clone()
		as.User, as.Passwd = user, password
		connector, err := mysql.NewConnector(as)
		if err != nil {
			tb.Fatal(err)
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(8)
		tb.Cleanup(func() { db.Close() })
		return db
	}
	super := open(t, config.User, config.Passwd)
	w := &world{TB: t, kind: "mariadb",
		connect: func(tb testing.TB) sqltx.Runner {
			tb.Helper()
			return sqltx.StdDB(open(tb, config.User, config.Passwd))
		},
		make: func(db sqltx.Runner) (*store.Store, error) { return store.MySQL(db, nil) },
		exec: func(tb testing.TB, q string, args ...any) int64 {
			tb.Helper()
			r, err := super.Exec(numberedParameter.ReplaceAllString(strings.NewReplacer("{q}", "sixfold_", "partition", "`partition`").Replace(q), "?"), args...)
			if err != nil {
				tb.Fatal(err)
			}
			n, _ := r.RowsAffected()
			return n
		},
		ping: super.PingContext,
		lost: errCut,
		std:  super,
		dsn:  config.FormatDSN(),
		stranger: func(tb testing.TB) sqltx.Runner {
			tb.Helper()
			name, password := "s"+strings.ReplaceAll(sixfold.NewID(), "-", "")[:30], sixfold.NewID()
			for _, q := range []string{"CREATE USER " + name + " IDENTIFIED BY '" + password + "'", "GRANT CREATE TEMPORARY TABLES ON `" + config.DBName + "`.* TO " + name} {
				if _, err := super.ExecContext(tb.Context(), q); err != nil {
					tb.Fatal(err)
				}
			}
			tb.Cleanup(func() {
				if _, err := super.Exec("DROP USER " + name); err != nil {
					tb.Error(err)
				}
			})
			return sqltx.StdDB(open(tb, name, password))
		},
	}
	st, err := w.make(sqltx.StdDB(super))
	if err == nil {
		err = st.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Whoever sends to a topic waits for a transaction that is sending to it, so that a row which is committed late has no later
// ones before it. guarantees: R3, K1 [LateCommitNotSkipped]
func TestLateCommitIsNotSkippedOnMariaDB(t *testing.T) {
	t.Parallel()
	w := newMariaDB(t)
	p := w.process(t, w.fast())
	topic, elsewhere := w.topic(), w.topic()
	src, other := hand.Subscribe(t, p, group(topic)), hand.Subscribe(t, p, group(elsewhere))
	hand.MustSend(t, hand.Open(t, p), append(hand.Messages(topic, "k/before"), hand.Messages(elsewhere, "k/before")...)...) // the groups are known
	hand.Receive(t, src, 1)
	hand.Receive(t, other, 1)
	slow, err := w.std.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback()
	if err := slow.QueryRow("SELECT topic FROM sixfold_queue_topic WHERE topic = ? FOR UPDATE", topic).Scan(new(string)); err != nil {
		t.Fatal(err)
	}
	_, err = slow.Exec("INSERT INTO sixfold_queue (class, `partition`, id, `key`, attrs, body) SELECT id, ?, 'late', 'k', '{\"type\":\"test\"}', 'late' FROM sixfold_queue_group WHERE topic = ? AND kind = 1",
		outbox.PartitionOf("k"), topic)
	if err != nil {
		t.Fatal(err)
	}
	pending := hand.Open(t, p).Send(t.Context(), hand.Messages(topic, "k/after"))
	hand.MustSend(t, hand.Open(t, p), hand.Messages(elsewhere, "k/elsewhere")...) // nobody else waits
	hand.Receive(t, other, 1)
	nothing(t, src)
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pending.Wait(t.Context())...); err != nil {
		t.Fatal(err)
	}
	if got := hand.Bodies(hand.Receive(t, src, 2)); !slices.Equal(got, []string{"late", "k/after"}) {
		t.Errorf("they came as %v", got)
	}
}

// A process that remembers the groups of a topic notices that there is another one, or one fewer, whatever the mode of the
// server; while it is not strict too.
func TestSenderNoticesNewGroupsOnMariaDB(t *testing.T) {
	t.Parallel()
	w := newMariaDB(t)
	for _, mode := range []string{"STRICT_TRANS_TABLES", ""} {
		config, err := mysql.ParseDSN(w.dsn)
		if err != nil {
			t.Fatal(err)
		}
		config.Params["sql_mode"] = "'" + mode + "'"
		connector, err := mysql.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		defer db.Close()
		sending := w.processOn(t, newLine(sqltx.StdDB(db), w.lost), w.fast())
		other := w.process(t, w.fast())
		topic := w.topic()
		first, s := hand.Subscribe(t, other, group(topic)), hand.Open(t, sending)
		hand.MustSend(t, s, hand.Messages(topic, "k/1")...)
		second := group(topic)
		second.Group = "billing"
		late := hand.Subscribe(t, other, second)
		hand.MustSend(t, s, hand.Messages(topic, "k/2")...)
		if got := hand.Bodies(hand.Receive(t, late, 1)); !slices.Equal(got, []string{"k/2"}) {
			t.Errorf("mode %q: the new group got %v", mode, got)
		}
		if got := hand.Bodies(hand.Receive(t, first, 2)); !slices.Equal(got, []string{"k/1", "k/2"}) {
			t.Errorf("mode %q: the first group got %v", mode, got)
		}
		if err := late.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if found, err := other.Forget(t.Context(), topic, "billing"); err != nil || !found {
			t.Fatal(found, err)
		}
		if err := first.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if found, err := other.Forget(t.Context(), topic, "shipping"); err != nil || !found {
			t.Fatal(found, err)
		}
		if errs := s.Send(t.Context(), hand.Messages(topic, "k/3")).Wait(t.Context()); errs[0] == nil {
			t.Errorf("mode %q: a message that nobody wants is sent", mode)
		}
	}
}
