package examples

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a database in memory is warned of, and some examples fail on purpose
	servers.Main(m)
}

// OrderPlaced is an event: something that has happened.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// ChargeCard is a command: something that one receiver shall do.
type ChargeCard struct {
	sixfold.Returns[sixfold.Message] `json:"-"`

	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

func (ChargeCard) MessageName() string  { return "payments.charge_card" }
func (m ChargeCard) MessageKey() string { return m.OrderID }

// openShop opens a database in memory with the tables of Sixfold and of the shop. It lasts until close is called.
func openShop(ctx context.Context) (db sqltx.DB[*sql.Tx], st *store.Store, sqlDB *sql.DB) {
	sqlDB, err := sql.Open("sqlite", ":memory:")
	must(err)
	sqlDB.SetMaxOpenConns(1) // in memory, each connection would be a database of its own
	_, err = sqlDB.ExecContext(ctx, `CREATE TABLE orders (id TEXT PRIMARY KEY); CREATE TABLE shipments (order_id TEXT)`)
	must(err)
	db = sqltx.StdDB(sqlDB)
	st, err = store.SQLite(db, nil)
	must(err)
	must(st.Migrate(ctx))
	return db, st, sqlDB
}

// must ends an example that cannot go on.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// count answers what the query counts.
func count(ctx context.Context, db *sql.DB, query string) (n int) {
	must(db.QueryRowContext(ctx, query).Scan(&n))
	return n
}

// patience bounds an example.
func patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Minute)
}

func say(err error) { fmt.Println(err) }
