// Package wrong asks the transactions of one library for those of another.
package wrong

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/middleware"
)

type placed struct{ ID string }

func handler(t *middleware.Transaction[*sql.Tx], h func(context.Context, pgx.Tx, placed) error) func(context.Context, placed) error {
	return middleware.InTx(t, h)
}
