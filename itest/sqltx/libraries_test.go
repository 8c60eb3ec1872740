package sqltx_test

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/sixfold-go/sixfold/sqltx"
)

func openStd(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		idle(t, func() int { return db.Stats().InUse })
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestBunIsRefusedAndItsInsideIsNot(t *testing.T) {
	dsn := newDatabase(t)
	db := bun.NewDB(openStd(t, dsn), pgdialect.New())
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, like := range []sqltx.LikeTx{tx, &tx} {
		for what, err := range everyUse(t, sqltx.Like(like)) {
			if err == nil || !strings.Contains(err.Error(), "sqltx.Std(tx.Tx)") {
				t.Errorf("%T: %s: %v", like, what, err)
			}
		}
	}
	if n, err := sqltx.Std(tx.Tx).Exec(t.Context(), "INSERT INTO t(id) VALUES ($1)", int64(1)); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{1}) {
		t.Errorf("the table holds %v", got)
	}
}

func TestSqlx(t *testing.T) {
	dsn := newDatabase(t)
	db := sqlx.NewDb(openStd(t, dsn), "pgx")
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for i, like := range []sqltx.Tx{sqltx.Std(tx.Tx), sqltx.Like(tx)} {
		if n, err := like.Exec(t.Context(), "INSERT INTO t(id) VALUES ($1)", int64(i)); err != nil || n != 1 {
			t.Errorf("%d rows, %v", n, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("the table holds %v", got)
	}
}

func TestGormWithAndWithoutPreparedStatements(t *testing.T) {
	for _, prepare := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "PrepareStmt"}[prepare], func(t *testing.T) {
			dsn := newDatabase(t)
			std := openStd(t, dsn)
			db, err := gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: std}), &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := db.Statement.ConnPool.(sqltx.LikeTx); ok {
				t.Error("a pool passes for a transaction")
			}
			run := func(fail error) error {
				return db.WithContext(t.Context()).Transaction(func(g *gorm.DB) error {
					like, ok := g.Statement.ConnPool.(sqltx.LikeTx)
					if !ok {
						t.Fatalf("%T is no transaction", g.Statement.ConnPool)
					}
					tx := sqltx.Like(like)
					if n, err := tx.Exec(t.Context(), "INSERT INTO t(id) SELECT coalesce(max(id), 0) + $1 FROM t", int64(1)); err != nil || n != 1 {
						t.Errorf("%d rows, %v", n, err)
					}
					// With PrepareStmt every text is prepared and kept: savepoints must bring few.
					for range 50 {
						err := tx.Savepoint(t.Context(), func(tx sqltx.Tx) error {
							_, err := tx.Exec(t.Context(), "INSERT INTO t(id) VALUES ($1)", int64(1000))
							return errors.Join(err, errBoom)
						})
						if err == nil || err.Error() != "boom" {
							t.Fatal(err)
						}
					}
					var got []int64
					if err := tx.Each(t.Context(), "SELECT id FROM t WHERE id < $1", []any{int64(1000)}, collect(&got)); err != nil || len(got) == 0 {
						t.Errorf("%v, %v", got, err)
					}
					return fail
				})
			}
			if err := run(nil); err != nil {
				t.Fatal(err)
			}
			if err := run(errBoom); !errors.Is(err, errBoom) {
				t.Fatal(err)
			}
			if got := ids(t, dsn); !slices.Equal(got, []int64{1}) {
				t.Errorf("the table holds %v", got)
			}
			if p, ok := db.Statement.ConnPool.(*gorm.PreparedStmtDB); ok {
				if n := len(p.Stmts.Keys()); n > 10 {
					t.Errorf("%d prepared statements are kept", n)
				}
				p.Close()
			}
		})
	}
}
