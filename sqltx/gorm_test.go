package sqltx_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Where one type stands for pools and transactions, a pool is a typed error, at every use.
func TestGormTellsAPoolFromATransaction(t *testing.T) {
	for what, tx := range map[string]sqltx.Tx{"*sql.DB": sqltx.Gorm(&sql.DB{}), "*sql.Conn": sqltx.Gorm(&sql.Conn{})} {
		_, exec := tx.Exec(t.Context(), "SELECT 1")
		for use, err := range map[string]error{
			"Exec": exec, "Each": tx.Each(t.Context(), "SELECT 1", nil, nil),
			"Savepoint": tx.Savepoint(t.Context(), func(sqltx.Tx) error { t.Error("fn was called"); return nil }),
		} {
			if !errors.Is(err, sqltx.ErrNotTx) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "db.Transaction") {
				t.Errorf("%s: %s: %v", what, use, err)
			}
		}
	}
	if !sqltx.Gorm(nil).IsZero() || !sqltx.Gorm((*sql.Tx)(nil)).IsZero() {
		t.Error("nothing passes for a transaction")
	}
	if tx := sqltx.Gorm(&sql.Tx{}); tx.IsZero() {
		t.Error("a transaction is taken for none")
	}
}
