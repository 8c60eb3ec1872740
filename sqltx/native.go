package sqltx

import (
	"context"
	"errors"
)

// A NativeTx is an open transaction of a database that speaks no SQL, such as that of store/memory. A store finds its own
// kind by Tx.Native, and works on it directly.
type NativeTx interface {
	// Perform runs one of the three statements of Tx.Savepoint ("SAVEPOINT n", "ROLLBACK TO SAVEPOINT n", "RELEASE
	// SAVEPOINT n"), or one that the transaction's own store has prepared. It answers an error for everything else.
	Perform(ctx context.Context, statement string, args ...any) (int64, error)
}

var errNative = errors.New("sqltx: the database of this transaction speaks no SQL; ask it by its own methods")

// Native adapts a transaction that speaks no SQL. It carries messages and savepoints like any other; queries fail.
func Native(tx NativeTx) Tx {
	if isNil(tx) {
		return Tx{}
	}
	return Tx{on: native{tx}}
}

// Native answers the transaction that the function Native was given, or nil for one that speaks SQL.
func (t Tx) Native() NativeTx {
	if n, ok := t.on.(native); ok {
		return n.tx
	}
	return nil
}

type native struct{ tx NativeTx }

func (n native) exec(ctx context.Context, q string, args []any) (int64, error) {
	return n.tx.Perform(ctx, q, args...)
}

func (native) query(context.Context, string, []any) (closeRows, error) { return nil, errNative }
