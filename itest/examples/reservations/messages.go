package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Reserve asks the warehouse to put something aside for an order.
type Reserve struct {
	sixfold.Returns[Reserved] `json:"-"`

	Order string `json:"order"`
	Item  string `json:"item"`
}

func (Reserve) MessageName() string  { return "warehouse.reserve" }
func (m Reserve) MessageKey() string { return m.Order }

// Reserved is the place on the shelf, or why there is none.
type Reserved = request.Result[int, string]

// Warehouse puts things aside.
type Warehouse struct{}

// Reserve is the handler: the shelf, the record that the request was handled and the reply commit together.
func (Warehouse) Reserve(ctx context.Context, tx *sql.Tx, m Reserve) (res Reserved, err error) {
	var place int
	err = tx.QueryRowContext(ctx, "UPDATE shelf SET held_for = ? WHERE item = ? AND held_for = '' RETURNING place", m.Order, m.Item).Scan(&place)
	switch {
	case err == sql.ErrNoRows:
		return res.Reject("no " + m.Item + " is left"), nil
	case err != nil:
		return res, err
	}
	return res.Accept(place), nil
}

// Shop places orders.
type Shop struct {
	db       sqltx.DB[*sql.Tx]
	requests *durable.Service[*sql.Tx]
	told     chan string
}

// place enters an order and asks for what it needs: both, or neither. An hour later the shop will know in any case.
func (s *Shop) place(ctx context.Context, order, item string) error {
	return s.db.Run(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, item, state) VALUES (?, ?, 'placed')", order, item); err != nil {
			return err
		}
		id, err := s.requests.Ask(ctx, sqltx.Std(tx), Reserve{Order: order, Item: item}, time.Hour)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE orders SET request = ? WHERE id = ?", id, order)
		return err
	})
}

// outcome is told what came of a request, also after a restart and when it is late.
func (s *Shop) outcome(ctx context.Context, tx *sql.Tx, o durable.Outcome[Reserve, Reserved]) error {
	state := ""
	switch v, err := o.Value(); {
	case err != nil: // a *request.Fault, or durable.ErrDeadline
		state = "not known: " + err.Error()
	default:
		if place, ok := v.Value(); ok {
			state = fmt.Sprint("at place ", place)
		} else {
			state, _ = v.Rejection()
		}
	}
	var item string
	err := tx.QueryRowContext(ctx, "UPDATE orders SET state = ? WHERE request = ? RETURNING item", state, o.Request).Scan(&item)
	if err == nil {
		s.told <- item + ": " + state
	}
	return err
}
