// Package right mends its twin.
package right

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/middleware"
)

type placed struct{ ID string }

func handler(t *middleware.Transaction[pgx.Tx], h func(context.Context, pgx.Tx, placed) error) func(context.Context, placed) error {
	return middleware.InTx(t, h)
}
