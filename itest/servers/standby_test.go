package servers_test

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestStandbyFollowsAndRefusesToWrite(t *testing.T) {
	primary := servers.PrivatePostgres(t, nil)
	dsn := primary.Database(t)
	standby := primary.Standby(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = standby.Addr()
	connect := func(dsn string) *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(t.Context()) })
		return conn
	}
	if _, err := connect(dsn).Exec(t.Context(), "CREATE TABLE t AS SELECT 6 AS n"); err != nil {
		t.Fatal(err)
	}
	replica := connect(u.String())
	for n := 0; n != 1; { // it comes a moment later
		if err := replica.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE tablename = 't'").Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := replica.Exec(t.Context(), "INSERT INTO t VALUES (7)"); err == nil {
		t.Error("a standby took a row")
	}
}
