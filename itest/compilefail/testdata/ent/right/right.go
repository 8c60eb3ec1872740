// Package right mends its twin.
package right

import (
	"context"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/ent/ent"
	"github.com/sixfold-go/sixfold/sqltx"
)

func _(ctx context.Context, client *ent.Client) error {
	tx, err := client.Tx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = sqltx.Like(tx).Exec(ctx, "SELECT 1")
	return err
}
