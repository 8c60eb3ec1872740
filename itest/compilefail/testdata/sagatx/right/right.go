// Package right mends its twin.
package right

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/saga"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

type state struct{ Paid bool }

func define(box *saga.Box[pgx.Tx], h func(context.Context, pgx.Tx, *state, placed, *saga.Effects) error) {
	step := saga.StartedBy(func(m placed) string { return m.ID }, h)
	_, _ = saga.Define("fulfilment", box, step)
}
