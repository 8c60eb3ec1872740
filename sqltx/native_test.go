package sqltx_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

// noted notes the statements that it is to perform.
type noted struct{ statements []string }

func (n *noted) Perform(_ context.Context, q string, _ ...any) (int64, error) {
	n.statements = append(n.statements, q)
	return 1, nil
}

func TestNativeCarriesItsTransaction(t *testing.T) {
	tx := &noted{}
	if got := sqltx.Native(tx).Native(); got != sqltx.NativeTx(tx) {
		t.Errorf("the store finds %v in place of its own transaction", got)
	}
	if sqltx.Pgx(&pgxNothing).Native() != nil || (sqltx.Tx{}).Native() != nil {
		t.Error("a transaction that speaks SQL is taken for one that does not")
	}
	if none := sqltx.Native((*noted)(nil)); !none.IsZero() {
		t.Error("a nil transaction is taken for one")
	}
	err := sqltx.Native(tx).Each(t.Context(), "SELECT 1", nil, func(sqltx.Rows) error { return nil })
	if err == nil {
		t.Error("a query was answered by a database that speaks no SQL")
	}
}

var pgxNothing tx

func TestNativeSavepoints(t *testing.T) { // guarantees: O1
	tx, broken := &noted{}, errors.New("broken")
	err := sqltx.Native(tx).Savepoint(t.Context(), func(outer sqltx.Tx) error {
		if outer.Native() == nil {
			t.Error("inside of a savepoint the store does not find its transaction")
		}
		if err := outer.Savepoint(t.Context(), func(sqltx.Tx) error { return broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	want := []string{"SAVEPOINT sixfold_1", "SAVEPOINT sixfold_2", "ROLLBACK TO SAVEPOINT sixfold_2", "RELEASE SAVEPOINT sixfold_2", "RELEASE SAVEPOINT sixfold_1"}
	if !slices.Equal(tx.statements, want) {
		t.Errorf("performed %q", tx.statements)
	}
}
