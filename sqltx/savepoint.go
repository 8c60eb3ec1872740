package sqltx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// rollbackLimit bounds a rollback, which goes on after its caller's context has ended: a server that does not answer
// must not hold the caller for ever.
const rollbackLimit = 10 * time.Second

// Savepoint runs fn inside a savepoint: when fn fails or panics, what it wrote is rolled back and the transaction
// is usable again. fn uses the Tx that it is given, which nests. More than 64 in one transaction slow a whole
// PostgreSQL cluster down.
func (t Tx) Savepoint(ctx context.Context, fn func(Tx) error) (err error) {
	// The name tells the depth only: libraries that keep a prepared statement per text would keep one for ever
	// for each name.
	name := "sixfold_" + strconv.Itoa(t.depth+1)
	if _, err := t.Exec(ctx, "SAVEPOINT "+name); err != nil {
		return fmt.Errorf("sqltx: savepoint: %w", err)
	}
	undo := true
	defer func() {
		if !undo {
			return
		}
		if uerr := t.undo(ctx, name); uerr != nil {
			err = errors.Join(err, uerr)
		}
	}()
	if err := fn(Tx{on: t.on, depth: t.depth + 1}); err != nil {
		return err
	}
	undo = false
	if _, err := t.Exec(ctx, "RELEASE SAVEPOINT "+name); err != nil {
		return fmt.Errorf("sqltx: release savepoint: %w", err)
	}
	return nil
}

// undo rolls back to the savepoint and releases it: rolling back alone would leave it open, and a loop of failures
// would nest ever deeper.
func (t Tx) undo(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
	defer cancel()
	for _, q := range []string{"ROLLBACK TO SAVEPOINT ", "RELEASE SAVEPOINT "} {
		if _, err := t.Exec(ctx, q+name); err != nil {
			return fmt.Errorf("sqltx: roll back to savepoint: %w", err)
		}
	}
	return nil
}
