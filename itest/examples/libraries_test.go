package examples

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func withSqlx(ctx context.Context, db *sqlx.DB, box *outbox.Outbox, m OrderPlaced) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := box.Publish(ctx, sqltx.Std(tx.Tx), m); err != nil {
		return err
	}
	return tx.Commit()
}

func withBun(ctx context.Context, db *bun.DB, box *outbox.Outbox, m OrderPlaced) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := box.Publish(ctx, sqltx.Std(tx.Tx), m)
		return err
	})
}

func withGorm(ctx context.Context, db *gorm.DB, box *outbox.Outbox, m OrderPlaced) error {
	return db.WithContext(ctx).Transaction(func(g *gorm.DB) error {
		tx, ok := g.Statement.ConnPool.(sqltx.LikeTx)
		if !ok {
			return fmt.Errorf("%T is no transaction", g.Statement.ConnPool)
		}
		_, err := box.Publish(ctx, sqltx.Like(tx), m)
		return err
	})
}

// gormDB is the DB of a *gorm.DB: handlers and outbox.Do get a *gorm.DB as their transaction.
func gormDB(db *gorm.DB) sqltx.DB[*gorm.DB] {
	return sqltx.DB[*gorm.DB]{
		Run: func(ctx context.Context, fn func(*gorm.DB) error) error {
			return db.WithContext(ctx).Transaction(fn)
		},
		Tx: func(g *gorm.DB) sqltx.Tx {
			tx, ok := g.Statement.ConnPool.(sqltx.LikeTx)
			if !ok {
				return sqltx.Tx{} // every use of it says that there is no transaction
			}
			return sqltx.Like(tx)
		},
	}
}

func TestLibraries(t *testing.T) { // guarantees: O1
	std, err := sql.Open("pgx", servers.Postgres(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { std.Close() })
	g, err := gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: std}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	st, err := store.Postgres(gormDB(g), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, publish := range map[string]func() error{
		"sqlx": func() error { return withSqlx(ctx, sqlx.NewDb(std, "pgx"), box, OrderPlaced{OrderID: "1"}) },
		"bun":  func() error { return withBun(ctx, bun.NewDB(std, pgdialect.New()), box, OrderPlaced{OrderID: "2"}) },
		"gorm": func() error { return withGorm(ctx, g, box, OrderPlaced{OrderID: "3"}) },
		"gorm in a unit": func() error {
			return outbox.Do(ctx, box, gormDB(g), func(ctx context.Context, tx *gorm.DB, u *outbox.Unit) error {
				u.Publish(OrderPlaced{OrderID: "4"})
				return nil
			})
		},
	} {
		if err := publish(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	stats, err := st.Outbox().Keeper().Stats(ctx, outbox.ToBroker)
	if err != nil || stats.Pending != 4 {
		t.Errorf("%d rows, %v", stats.Pending, err)
	}
}
