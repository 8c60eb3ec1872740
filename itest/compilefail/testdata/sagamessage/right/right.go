// Package right mends its twin.
package right

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/saga"
)

type paid struct{ ID string }

func (paid) MessageName() string { return "orders.paid" }

type state struct{ Paid bool }

func step(h func(context.Context, pgx.Tx, *state, paid, *saga.Effects) error) saga.Step[pgx.Tx, state] {
	return saga.On(func(m paid) string { return m.ID }, h)
}
