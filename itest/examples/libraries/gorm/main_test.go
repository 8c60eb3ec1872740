package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/libtest"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/shop"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func TestMain(m *testing.M) {
	// gorm's cache of prepared statements has a goroutine that nothing ends.
	servers.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

func TestProgram(t *testing.T) { libtest.Program(t, run) } // guarantees: O1, I1

// gorm hides the *sql.Tx in a type of its own when it prepares statements.
func TestOneTransaction(t *testing.T) {
	for name, prepare := range map[string]bool{"plain": false, "PrepareStmt": true} {
		t.Run(name, func(t *testing.T) {
			dsn := roles.Service(t, servers.Postgres(t).Database(t))
			db := openGorm(t, dsn, prepare)
			libtest.Run(t, dsn, libtest.Library[*gorm.DB]{
				DB:     gormDB(db),
				Insert: func(_ context.Context, tx *gorm.DB, order string) error { return tx.Create(&Order{ID: order}).Error },
				Nested: func(_ context.Context, tx *gorm.DB, fn func(*gorm.DB) error) error { return tx.Transaction(fn) },
			})
		})
	}
}

// Outside of a transaction nothing is written, and the error says what it is and what to do.
func TestOutsideOfATransaction(t *testing.T) {
	for name, prepare := range map[string]bool{"plain": false, "PrepareStmt": true} {
		t.Run(name, func(t *testing.T) {
			db := openGorm(t, roles.Service(t, servers.Postgres(t).Database(t)), prepare)
			_, box, err := shop.Open(t.Context(), gormDB(db))
			if err != nil {
				t.Fatal(err)
			}
			refused := func(db *gorm.DB) {
				t.Helper()
				_, err := box.Publish(t.Context(), sqltx.Gorm(db.Statement.ConnPool), shop.OrderPlaced{OrderID: "1"})
				if !errors.Is(err, sqltx.ErrNotTx) || !strings.Contains(err.Error(), "db.Transaction") {
					t.Errorf("%T: %v", db.Statement.ConnPool, err)
				}
			}
			refused(db)
			refused(db.Session(&gorm.Session{NewDB: true, PrepareStmt: !prepare}))
			if err := db.Connection(func(conn *gorm.DB) error { refused(conn); return nil }); err != nil {
				t.Error(err)
			}
			// A transaction that gorm's user begins by hand, and a session inside of it, are ones.
			tx := db.Begin()
			defer tx.Rollback()
			for _, in := range []*gorm.DB{tx, tx.Session(&gorm.Session{NewDB: true}), tx.Session(&gorm.Session{PrepareStmt: true}), tx.Model(&Order{})} {
				if _, err := box.Publish(t.Context(), sqltx.Gorm(in.Statement.ConnPool), shop.OrderPlaced{OrderID: "2"}, outbox.Header("in", "tx")); err != nil {
					t.Errorf("%T: %v", in.Statement.ConnPool, err)
				}
			}
		})
	}
}

func openGorm(t *testing.T, dsn string, prepare bool) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGorm(db) })
	return db
}
