// Package wrong passes a database of bun as something like a transaction.
package wrong

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sixfold-go/sixfold/sqltx"
)

func _(ctx context.Context, db *bun.DB) error {
	_, err := sqltx.Like(db).Exec(ctx, "SELECT 1")
	return err
}
