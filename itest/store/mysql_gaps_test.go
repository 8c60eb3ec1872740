package store

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func wholeRow(key string) outbox.Row {
	return outbox.Row{Partition: outbox.PartitionOf(key), ID: sixfold.NewID(), Topic: "t", Key: key, Attrs: []byte(`{"type":"t"}`), Body: []byte("{}")}
}

func allOf(class string) outbox.Ownership {
	o := outbox.Ownership{Class: class}
	for p := range o.Partitions {
		o.Partitions[p] = true
	}
	return o
}

func appendRows(t testing.TB, st *store.Store, db *sql.DB, rows ...outbox.Row) {
	t.Helper()
	must(t, sqltx.StdDB(db).InTx(t.Context(), func(tx sqltx.Tx) error {
		_, _, err := st.Outbox().Writer().Append(t.Context(), tx, outbox.ToBroker, rows, false)
		return err
	}))
}

// A prepared XA transaction has given its shared locks back, and its rows may still come: its gap stays open until it is
// ended. guarantees: R3 [GapClosedTooEarly]
func TestPreparedXAKeepsItsGap(t *testing.T) {
	st, db := onMariaDB(t, nil)
	q := st.Outbox().Queue(outbox.ToBroker)
	conn, err := db.Conn(t.Context())
	must(t, err)
	run := func(on interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}, text string, args ...any) {
		t.Helper()
		if _, err := on.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	xid := "'" + t.Name() + "'"
	run(conn, "XA START "+xid)
	s, err := st.Outbox().Writer().Prepare(outbox.ToBroker, []outbox.Row{wholeRow("k")})
	must(t, err)
	run(conn, s.SQL, s.Args...)
	appendRows(t, st, db, wholeRow("k"))
	gap := []outbox.Range{{From: 1, To: 1}}
	lookUp := func() int {
		t.Helper()
		rows, err := q.LookUp(t.Context(), gap, 10, allOf(""))
		must(t, err)
		return len(rows)
	}
	writers := func() []string {
		t.Helper()
		w, err := q.Writers(t.Context())
		must(t, err)
		return w
	}
	if w := writers(); len(w) == 0 || lookUp() != 0 {
		t.Fatalf("an open transaction is not named: %v", w)
	}
	run(conn, "XA END "+xid)
	run(conn, "XA PREPARE "+xid)
	if w := writers(); len(w) == 0 || w[len(w)-1][0] != '-' {
		t.Fatalf("a prepared transaction is not named, so that its gap closes: %v", w)
	}
	run(conn, "XA COMMIT "+xid)
	must(t, conn.Close())
	if w := writers(); len(w) != 0 {
		t.Errorf("its gap never closes: %v", w)
	}
	if lookUp() != 1 {
		t.Error("its row is not found")
	}
}

// More ranges than one statement takes are looked up as if they were one, and nothing of them closes early. [FullLookUpClosesNothing]
func TestLookUpOfManyRanges(t *testing.T) {
	st, db := onMariaDB(t, nil)
	var rows []outbox.Row
	for range 3000 {
		rows = append(rows, wholeRow(""))
	}
	appendRows(t, st, db, rows...)
	var missing []outbox.Range
	for seq := int64(1); seq <= 3000; seq += 2 {
		missing = append(missing, outbox.Range{From: seq, To: seq + seq/2%2}) // singles and pairs
	}
	q := st.Outbox().Queue(outbox.ToBroker)
	for _, limit := range []int{5000, 700} {
		got, err := q.LookUp(t.Context(), missing, limit, allOf(""))
		must(t, err)
		want := 0
		for _, r := range missing {
			want += int(r.To - r.From + 1)
		}
		want = min(want, limit)
		if len(got) != want {
			t.Fatalf("%d rows of %d", len(got), want)
		}
		for i := 1; i < len(got); i++ {
			if got[i].Seq <= got[i-1].Seq {
				t.Fatalf("row %d comes after %d", got[i].Seq, got[i-1].Seq)
			}
		}
	}
}

// With statistics of an empty table the server keeps to the primary key. [PlanGuard]
func TestPlansOnMariaDB(t *testing.T) {
	st, db := onMariaDB(t, &store.Options{Prefix: "p_"})
	var rows []outbox.Row
	for range 2000 {
		rows = append(rows, wholeRow("k"))
	}
	appendRows(t, st, db, rows...)
	node := sixfold.NewID()
	must(t, st.Outbox().Leases().Join(t.Context(), "", node, 1<<40))
	read := func() (n int) {
		must(t, db.QueryRowContext(t.Context(), "SELECT sum(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME LIKE 'HANDLER_READ%'").Scan(&n))
		return n
	}
	q := st.Outbox().Queue(outbox.ToBroker)
	for what, do := range map[string]func() error{
		"read":   func() error { _, err := q.Read(t.Context(), 1000, 10, allOf("")); return err },
		"settle": func() error { _, err := q.Settle(t.Context(), node, []int64{1500, 1501}); return err },
		"look up": func() error {
			_, err := q.LookUp(t.Context(), []outbox.Range{{From: 1502, To: 1510}}, 10, allOf(""))
			return err
		},
	} {
		before := read()
		must(t, do())
		if n := read() - before; n > 100 {
			t.Errorf("%s read %d rows", what, n)
		} else {
			t.Logf("%s read %d rows", what, n)
		}
	}
}

// Ten processes migrate at once, what was left half done is taken back, and names may be odd.
func TestMigrateOnMariaDB(t *testing.T) {
	dsn := servers.MariaDB(t).Database(t)
	open := func() *store.Store {
		st, err := store.MySQL(sqltx.StdDB(mysqlDB(t, dsn)), &store.Options{Prefix: "select Имя "})
		must(t, err)
		return st
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := open().Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	st, db := open(), mysqlDB(t, dsn)
	if _, err := st.Outbox().Keeper().Check(t.Context()); err != nil {
		t.Error(err)
	}
	count := func() (n int) {
		must(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()").Scan(&n))
		return n
	}
	whole := count()
	// A process dies in the middle of the first one: what it had begun is noted, and some tables are there.
	must(t, st.Migrations().Down(t.Context(), 1))
	for _, q := range []string{"UPDATE `select Имя schema_version` SET version = -version", "DROP TABLE `select Имя inbox`, `select Имя lease`"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.Outbox().Keeper().Check(t.Context()); err == nil {
		t.Error("half of the tables pass for all")
	}
	must(t, st.Migrate(t.Context()))
	if n := count(); n != whole {
		t.Errorf("%d tables of %d", n, whole)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE `select Имя schema_version` SET checksum = 'x'"); err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("another checksum: %v", err)
	}
}

// Statements are cut before the server's limit, and a row beyond it is refused with what to do; the transaction goes on.
func TestMaxAllowedPacket(t *testing.T) {
	m := servers.PrivateMariaDB(t, &servers.MariaDBOptions{Settings: map[string]string{"max-allowed-packet": "1M"}})
	for _, params := range []string{"interpolateParams=true", "interpolateParams=false"} {
		db := mysqlDB(t, m.Database(t), readCommitted, params)
		st, err := store.MySQL(sqltx.StdDB(db), nil)
		must(t, err)
		must(t, st.Migrate(t.Context()))
		var rows []outbox.Row
		for range 8 {
			r := wholeRow("k")
			r.Body = []byte(strings.Repeat("\x00'", 100_000))
			rows = append(rows, r)
		}
		large := wholeRow("k")
		large.Body = make([]byte, 700_000)
		must(t, sqltx.StdDB(db).InTx(t.Context(), func(tx sqltx.Tx) error {
			w := st.Outbox().Writer()
			if _, _, err := w.Append(t.Context(), tx, outbox.ToBroker, []outbox.Row{large}, false); err == nil || !strings.Contains(err.Error(), "max_allowed_packet; raise it") {
				t.Errorf("a row that is too large: %v", err)
			}
			_, _, err := w.Append(t.Context(), tx, outbox.ToBroker, rows, false)
			return err
		}))
		got, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 100, allOf(""))
		must(t, err)
		if len(got) != len(rows) || string(got[7].Body) != string(rows[7].Body) {
			t.Errorf("%d rows of %d", len(got), len(rows))
		}
	}
}
