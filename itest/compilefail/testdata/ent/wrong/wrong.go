// Package wrong passes a client of ent as a transaction.
package wrong

import (
	"context"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/ent/ent"
	"github.com/sixfold-go/sixfold/sqltx"
)

func _(ctx context.Context, client *ent.Client) error {
	_, err := sqltx.Like(client).Exec(ctx, "SELECT 1")
	return err
}
