package examples

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func script(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// orders are the ids in the bodies of what a table holds; each row must be fit to be relayed.
func orders(t *testing.T, st *store.Store, table outbox.Table, class string) (ids []string) {
	t.Helper()
	own := outbox.Ownership{Class: class}
	for p := range own.Partitions {
		own.Partitions[p] = true
	}
	rows, err := st.Outbox().Queue(table).Read(t.Context(), 0, 100, own)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		env := sixfold.Envelope{ID: r.ID, Key: r.Key, Body: r.Body}
		if _, err := outbox.DecodeAttrs(r.Attrs, &env); err != nil {
			t.Error(err)
		}
		m, err := sixfold.Decode[OrderPlaced](t.Context(), &env)
		if err := errors.Join(err, sixfold.CheckEnvelope(&env)); err != nil {
			t.Error(err)
		}
		if m.OrderID != r.Key || r.Partition != outbox.PartitionOf(r.Key) {
			t.Errorf("order %q has key %q in partition %d", m.OrderID, r.Key, r.Partition)
		}
		ids = append(ids, m.OrderID)
	}
	return ids
}

// What the documentation tells other writers to do makes rows that a relay takes.
func TestOtherWritersOnPostgreSQL(t *testing.T) {
	pool, st := openPostgres(t)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{script(t, "publish_postgres.sql"), script(t, "trigger_postgres.sql"),
		"INSERT INTO orders (id) VALUES ('o-4')", script(t, "insert_postgres.sql")} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(orders(t, st, outbox.ToBroker, ""), orders(t, st, outbox.ToLocal, "shipping")); got != "[o-1 o-2 o-4 o-5] [o-3]" {
		t.Errorf("the tables hold %s", got)
	}
}

func TestOtherWritersOnSQLite(t *testing.T) {
	_, st, sqlDB := openShop(t.Context())
	defer sqlDB.Close()
	if _, err := sqlDB.ExecContext(t.Context(), script(t, "insert_sqlite.sql")); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(orders(t, st, outbox.ToBroker, "")); got != "[o-5]" {
		t.Errorf("the table holds %s", got)
	}
	stats, err := st.Outbox().Keeper().Stats(t.Context(), outbox.ToBroker)
	if err != nil || stats.Oldest.Minutes() > 1 {
		t.Errorf("the row is %v old, %v", stats.Oldest, err)
	}
}

// The privileges that the documentation names are enough, and none is too many.
func TestGrants(t *testing.T) {
	server := servers.PrivatePostgres(t, nil) // roles belong to a whole server
	dsn := server.Database(t)
	admin, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	exec := func(q string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	as := func(role string) *pgxpool.Pool {
		t.Helper()
		config, err := pgxpool.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "SET ROLE "+role)
			return err
		}
		p, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	open := func(role string) *store.Store {
		t.Helper()
		st, err := store.Postgres(postgres.DB(as(role)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	exec("CREATE ROLE shop_owner; CREATE ROLE shop_service; CREATE ROLE shop_writer")
	owned, granted, found := strings.Cut(script(t, "grants_postgres.sql"), "-- Who runs")
	if !found {
		t.Fatal("grants_postgres.sql has changed")
	}
	exec(owned)
	if err := open("shop_owner").Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec("-- Who runs" + granted)

	if _, err := open("shop_service").Outbox().Keeper().Check(t.Context()); err != nil {
		t.Errorf("a service: %v", err)
	}
	if _, err := open("shop_writer").Outbox().Keeper().Check(t.Context()); err == nil {
		t.Error("a writer may run a relay")
	}
	writer := as("shop_writer")
	st := open("shop_writer")
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}), outbox.ToConsumer("shipping", OrderPlaced{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]outbox.Option{"plain": nil, "with an id": {outbox.ID(sixfold.NewID())}} {
		err := pgx.BeginFunc(t.Context(), writer, func(tx pgx.Tx) error {
			_, err := box.Publish(t.Context(), sqltx.Pgx(tx), OrderPlaced{OrderID: "o-1"}, opts...)
			return err
		})
		if err != nil {
			t.Errorf("a writer, %s: %v", name, err)
		}
	}
	if _, err := writer.Exec(t.Context(), script(t, "publish_postgres.sql")); err != nil {
		t.Errorf("a writer, by function: %v", err)
	}
	var denied *pgconn.PgError
	if _, err := writer.Exec(t.Context(), "SELECT * FROM sixfold.outbox"); !errors.As(err, &denied) || denied.Code != "42501" {
		t.Errorf("a writer reads: %v", err)
	}
}

// Migrations can be printed without a database, for tools that run SQL themselves.
func TestPrintMigrations(t *testing.T) {
	db, err := sql.Open("pgx", "postgres://nobody@192.0.2.1/none") // never connected
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st, err := store.Postgres(sqltx.StdDB(db), &store.Options{Schema: "messaging"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range st.Migrations().All() {
		fmt.Fprintf(t.Output(), "-- %04d_%s\n%s", m.Version, m.Name, m.Up)
		if !strings.Contains(m.Up, `CREATE TABLE "messaging".`) || strings.Contains(m.Up, "CREATE TABLE {{") {
			t.Error("the names are not filled in")
		}
	}
}
