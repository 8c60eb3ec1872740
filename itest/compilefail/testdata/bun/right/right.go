// Package right mends its twin.
package right

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sixfold-go/sixfold/sqltx"
)

func _(ctx context.Context, db *bun.DB) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := sqltx.Std(tx.Tx).Exec(ctx, "SELECT 1")
		return err
	})
}
