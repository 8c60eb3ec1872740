package store

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Other languages publish through SQL functions; psql is one of them.
func TestPublishFromPsql(t *testing.T) {
	dsn := servers.Postgres(t).Database(t) // which installs psql with the server where it may
	if _, err := exec.LookPath("psql"); err != nil {
		if os.Getenv(servers.RequireEnv) == "1" {
			t.Fatal("psql is not installed; install postgresql-client")
		}
		t.Skip("psql is not installed; install postgresql-client")
	}
	as := roles.On(t, dsn, nil)
	st, err := store.Postgres(sqltx.PgxDB(pool(t, as.All)), nil)
	must(t, err)
	psql := func(q string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", as.Application, "-c", q).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	keys := []string{"", "a", "order-1", "ключ", "🔑", strings.Repeat("x", 255), `\`, "a''b"}
	for _, key := range keys {
		id, err := psql("SELECT sixfold.publish('orders', 'orders.placed', '\\x7b7d', '" + key + "', source => 'psql', headers => '{\"tenant\": \"7\"}')")
		if err != nil {
			t.Fatal(id)
		}
		rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 100, everything(""))
		must(t, err)
		r, key := rows[len(rows)-1], strings.ReplaceAll(key, "''", "'")
		if r.ID != id || r.Key != key || r.Topic != "orders" || string(r.Body) != "{}" || key != "" && r.Partition != outbox.PartitionOf(key) {
			t.Errorf("key %q: a row from psql is %q %q %q in partition %d, want %d", key, r.ID, r.Key, r.Topic, r.Partition, outbox.PartitionOf(key))
		}
		var env sixfold.Envelope
		if _, err := outbox.DecodeAttrs(r.Attrs, &env); err != nil || env.Type != "orders.placed" || env.Source != "psql" || env.Headers["tenant"] != "7" || env.ContentType != "application/json" || env.Time.IsZero() {
			t.Errorf("the attributes of a row from psql: %v, %v", env, err)
		}
	}
	if out, err := psql("SELECT sixfold.publish_local('shipping', 'orders.placed', NULL, 'k')"); err != nil {
		t.Fatal(out)
	}
	local, err := st.Outbox().Queue(outbox.ToLocal).Read(t.Context(), 0, 100, everything("shipping"))
	if err != nil || len(local) != 1 || local[0].Body != nil || local[0].Partition != outbox.PartitionOf("k") {
		t.Errorf("a row for a local consumer: %v, %v", local, err)
	}
	for _, bad := range []string{"'', 't', ''", "'a b', 't', ''", "'a.>', 't', ''", "'orders', '', ''", "'orders', NULL, ''", "'orders', 't', '', headers => '[1]'", "'orders', 't', '', headers => '{\"a\": 1}'"} {
		if out, err := psql("SELECT sixfold.publish(" + bad + ")"); err == nil || !strings.Contains(out, "sixfold: ") {
			t.Errorf("publish(%s) was taken: %s", bad, out)
		}
	}
}

// A partition that does not exist, from a writer who computes it wrongly, belongs to somebody too: the row is read with
// its number modulo 64, by one owner.
func TestOddPartitionsHaveAnOwner(t *testing.T) { // guarantees: R1
	st, p, super := granted(t, nil)
	for _, odd := range []int{64, 100, -1, 32767, -32768} {
		for _, table := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
			_, err := p.Exec(t.Context(), "INSERT INTO sixfold."+table.String()+" (partition, id, class, topic, attrs, body) VALUES ($1, gen_random_uuid(), 'c', '', '{\"type\":\"t\"}', '')", odd)
			must(t, err)
			var owners []int16
			for partition := range int16(outbox.Partitions) {
				own := outbox.Ownership{Class: "c"}
				own.Partitions[partition] = true
				rows, err := st.Outbox().Queue(table).Read(t.Context(), 0, 10, own)
				must(t, err)
				for _, r := range rows {
					if !r.Foreign {
						owners = append(owners, r.Partition)
					}
				}
			}
			if len(owners) != 1 || owners[0] != int16(odd&63) {
				t.Errorf("a row of partition %d in %s is owned as %v", odd, table, owners)
			}
			_, err = super.Exec(t.Context(), "TRUNCATE sixfold."+table.String())
			must(t, err)
		}
	}
}

// A prepared transaction may still fill a gap, without a session, and after a restart under another name.
func TestPreparedTransactionIsAWriter(t *testing.T) { // guarantees: R3
	server := servers.PrivatePostgres(t, nil)
	p := pool(t, roles.On(t, server.Database(t), nil).All)
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	_, err = p.Exec(t.Context(), "BEGIN; SELECT sixfold.publish('orders', 't', ''); PREPARE TRANSACTION 'one'")
	must(t, err)
	writers := func() []string {
		t.Helper()
		open, err := st.Outbox().Queue(outbox.ToBroker).Writers(t.Context())
		must(t, err)
		return open
	}
	if open := writers(); len(open) != 1 {
		t.Errorf("beside a prepared transaction the writers are %q", open)
	}
	server.Restart(t, servers.Fast)
	p.Reset()
	if open := writers(); len(open) != 1 || open[0][0] != '-' {
		t.Errorf("beside a prepared transaction, after a restart, the writers are %q; a name that stands for any must begin with -", open)
	}
	_, err = p.Exec(t.Context(), "COMMIT PREPARED 'one'")
	must(t, err)
	if open := writers(); len(open) != 0 {
		t.Errorf("after it the writers are %q", open)
	}
}

// A connection that dies in a transaction is the infrastructure's failure, and says nothing about a commit.
func TestLostConnection(t *testing.T) { // guarantees: O3, I8
	for name, db := range map[string]func(dsn string) sqltx.Runner{
		"pgx":          func(dsn string) sqltx.Runner { return sqltx.PgxDB(pool(t, dsn)) },
		"database/sql": func(dsn string) sqltx.Runner { return sqltx.StdDB(std(t, dsn)) },
	} {
		t.Run(name, func(t *testing.T) {
			as := roles.On(t, servers.Postgres(t).Database(t), nil)
			aside := pool(t, as.Superuser)
			db := db(as.All)
			st, err := store.Postgres(db, nil)
			must(t, err)
			var xact string
			err = db.InTx(t.Context(), func(tx sqltx.Tx) (err error) {
				_, xact, err = st.Outbox().Writer().Append(t.Context(), tx, outbox.ToBroker, []outbox.Row{row("k")}, true)
				must(t, err)
				_, err = aside.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'relation' AND relation = 'sixfold.outbox'::regclass AND mode = 'RowExclusiveLock'")
				must(t, err)
				return nil // so that COMMIT meets the dead connection
			})
			if err == nil {
				t.Fatal("a commit on a dead connection succeeded")
			}
			if st.Outbox().Writer().Definite(err) {
				t.Errorf("%v: taken for the database's word about a commit", err)
			}
			if !st.Inbox().Passing(err) {
				t.Errorf("%v: not taken for the infrastructure's failure", err)
			}
			if got, err := st.Outbox().Writer().Outcome(t.Context(), xact); err != nil || got != outbox.RolledBack {
				t.Errorf("outcome %v, %v", got, err)
			}
		})
	}
}

func TestDatabasesOwnWord(t *testing.T) { // guarantees: O3, I8
	st, p, super := granted(t, nil)
	_, err := super.Exec(t.Context(), "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
	must(t, err)
	err = pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO child VALUES (1)")
		return err
	})
	if err == nil || !st.Outbox().Writer().Definite(err) || st.Inbox().Passing(err) {
		t.Errorf("a constraint that fails at COMMIT: %v", err)
	}
	serial := func(tx pgx.Tx, q string) error { _, err := tx.Exec(t.Context(), q); return err }
	a, err := p.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(t, err)
	must(t, serial(a, "SELECT * FROM parent"))
	_, err = p.Exec(t.Context(), "INSERT INTO parent VALUES (1)")
	must(t, err)
	_, err = super.Exec(t.Context(), "CREATE TABLE n (i int); INSERT INTO n VALUES (0)")
	must(t, err)
	b, err := p.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(t, err)
	must(t, serial(b, "SELECT * FROM n"))
	_, err = p.Exec(t.Context(), "UPDATE n SET i = 1")
	must(t, err)
	if err := serial(b, "UPDATE n SET i = 2"); !st.Inbox().Passing(err) {
		t.Errorf("a serialization failure: %v", err)
	}
	must(t, a.Rollback(t.Context()))
	must(t, b.Rollback(t.Context()))
}

// A key with a line holds back what comes for it, in a batch and alone, of its own consumer only.
func TestParkedKeysHoldBack(t *testing.T) { // guarantees: K2
	st, p, super := granted(t, nil)
	_, err := super.Exec(t.Context(), `INSERT INTO sixfold.line (consumer, key, due, size) VALUES ('c', 'held', 'infinity', 1), ('other', 'free', 'infinity', 1);
INSERT INTO sixfold.inbox (consumer, message, digest, state) VALUES ('c', '\x01000000000000000000000000000000', '\x01000000000000000000000000000000', 2), ('c', '\x02000000000000000000000000000000', '\x02000000000000000000000000000000', 3),
  ('c', '\x03000000000000000000000000000000', '\x03000000000000000000000000000000', 0)`)
	must(t, err)
	rec := func(m byte, key string) inbox.Record {
		return inbox.Record{Message: [16]byte{m}, Digest: [16]byte{m}, Key: key}
	}
	record := func(recs ...inbox.Record) (verdicts []inbox.Verdict) {
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) (err error) {
			verdicts, err = st.Inbox().Record(t.Context(), sqltx.Pgx(tx), "c", recs)
			return err
		}))
		return verdicts
	}
	recs := []inbox.Record{rec(9, "free"), rec(1, "held"), rec(2, "held"), rec(3, "held"), rec(4, "held"), rec(5, "")}
	want := []inbox.Verdict{inbox.First, inbox.Parked, inbox.Dead, inbox.Behind, inbox.Behind, inbox.First}
	for i, v := range record(recs...) {
		if v != want[i] {
			t.Errorf("record %d of a batch: %d, want %d", i, v, want[i])
		}
	}
	want[3], want[4] = inbox.Parked, inbox.Parked // who was behind is in the line now
	for i := 1; i < 5; i++ {
		if v := record(recs[i]); v[0] != want[i] {
			t.Errorf("record %d alone: %d, want %d", i, v[0], want[i])
		}
	}
	if n, err := st.Inbox().Prune(t.Context(), 0, 100); err != nil || n != 3 {
		t.Errorf("pruned %d, %v; what waits stays", n, err)
	}
	got, err := st.Inbox().Suspect(t.Context(), "c", recs[1:2])
	if err != nil || got[0] != 0 {
		t.Errorf("a parked message is counted %v, %v", got, err)
	}
}

func TestArraysOfAnyText(t *testing.T) {
	st, p, _ := granted(t, nil)
	var long []outbox.Row
	for i := range 200 { // every ASCII text of two awkward characters
		odd := `"\{}, 'nN	`
		key := string(odd[i%len(odd)]) + strconv.Itoa(i) + string(odd[i/len(odd)%len(odd)])
		long = append(long, row(key))
	}
	put(t, st, sqltx.PgxDB(p), long...)
	rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 1000, everything(""))
	must(t, err)
	for i := range rows {
		if rows[i].Key != long[i].Key {
			t.Errorf("%q came back as %q", long[i].Key, rows[i].Key)
		}
	}
}

func TestBadRowIsAnError(t *testing.T) {
	st, p, _ := granted(t, nil)
	bad := row("k")
	bad.ID = "not a uuid"
	err := pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
		_, _, err := st.Outbox().Writer().Append(t.Context(), sqltx.Pgx(tx), outbox.ToBroker, []outbox.Row{bad}, false)
		return err
	})
	if err == nil {
		t.Error("an id that is no UUID was written")
	}
	_, _, err = st.Outbox().Writer().Append(t.Context(), sqltx.Tx{}, outbox.ToBroker, []outbox.Row{row("k")}, false)
	if !errors.Is(err, sqltx.ErrNoTx) {
		t.Errorf("a nil transaction: %v", err)
	}
}
