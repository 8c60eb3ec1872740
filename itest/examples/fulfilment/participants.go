package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// participant is a service that does something for orders: once for each, and not any more when it was undone.
type participant struct {
	out   *outbox.Outbox
	table string // (order_id, state), where state is done or undone
}

// state of an order, empty if nothing of it is known.
func (p *participant) state(ctx context.Context, tx *sql.Tx, order string) (state string, err error) {
	err = tx.QueryRowContext(ctx, "SELECT state FROM "+p.table+" WHERE order_id = ?", order).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return state, err
}

func (p *participant) set(ctx context.Context, tx *sql.Tx, order, state string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO "+p.table+" (order_id, state) VALUES (?, ?) ON CONFLICT (order_id) DO UPDATE SET state = excluded.state", order, state)
	return err
}

// answer publishes a reply. The command that is being handled becomes its causation, by which the flow knows its step.
func (p *participant) answer(ctx context.Context, tx *sql.Tx, m sixfold.Message) error {
	_, err := p.out.Publish(ctx, sqltx.Std(tx), m)
	return err
}

// do carries a command out: once, and not behind its undoing. The answer is the same however often it comes.
func (p *participant) do(ctx context.Context, tx *sql.Tx, order string, work func() (refusal sixfold.Message, err error), done, undone sixfold.Message) error {
	switch state, err := p.state(ctx, tx, order); {
	case err != nil:
		return err
	case state == "done":
		return p.answer(ctx, tx, done)
	case state == "undone":
		return p.answer(ctx, tx, undone)
	}
	refusal, err := work()
	if err != nil {
		return err
	}
	if refusal != nil {
		return p.answer(ctx, tx, refusal)
	}
	if err := p.set(ctx, tx, order, "done"); err != nil {
		return err
	}
	return p.answer(ctx, tx, done)
}

// undo takes a command back, or makes sure that it has no effect when it comes.
func (p *participant) undo(ctx context.Context, tx *sql.Tx, order string, work func() error, undone sixfold.Message) error {
	state, err := p.state(ctx, tx, order)
	if err != nil {
		return err
	}
	if state == "done" {
		if err := work(); err != nil {
			return err
		}
	}
	if err := p.set(ctx, tx, order, "undone"); err != nil {
		return err
	}
	return p.answer(ctx, tx, undone)
}

// stock has one article, of which there is some.
func stock(in *inbox.Box[*sql.Tx], p *participant) []sixfold.Route {
	return []sixfold.Route{
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, c ReserveStock) error {
			return p.do(ctx, tx, c.Order, func() (sixfold.Message, error) {
				res, err := tx.ExecContext(ctx, "UPDATE articles SET free = free - 1 WHERE name = ? AND free > 0", c.Article)
				if err != nil {
					return nil, err
				}
				if n, err := res.RowsAffected(); n == 0 {
					return StockMissing{c.Order}, err
				}
				return nil, nil
			}, StockReserved{c.Order}, StockMissing{c.Order})
		}),
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, c ReleaseStock) error {
			return p.undo(ctx, tx, c.Order, func() error {
				_, err := tx.ExecContext(ctx, "UPDATE articles SET free = free + 1")
				return err
			}, StockReleased(c))
		}),
	}
}

// bank knows what its customers have, and no way to pay Cleo anything.
func bank(in *inbox.Box[*sql.Tx], p *participant) []sixfold.Route {
	return []sixfold.Route{
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, c TakePayment) error {
			return p.do(ctx, tx, c.Order, func() (sixfold.Message, error) {
				res, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents - ?, held = ?, taken = ? WHERE customer = ? AND cents >= ?", c.Cents, c.Order, c.Cents, c.Customer, c.Cents)
				if err != nil {
					return nil, err
				}
				if n, err := res.RowsAffected(); n == 0 {
					return PaymentRefused{c.Order, "not enough money"}, err
				}
				return nil, nil
			}, PaymentTaken{c.Order}, PaymentRefused{c.Order, "called off"})
		}),
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, c Refund) error {
			var customer string
			err := tx.QueryRowContext(ctx, "SELECT customer FROM accounts WHERE held = ?", c.Order).Scan(&customer)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if customer == "Cleo" {
				return p.answer(ctx, tx, RefundImpossible(c))
			}
			return p.undo(ctx, tx, c.Order, func() error {
				_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + taken WHERE held = ?", c.Order)
				return err
			}, Refunded(c))
		}),
	}
}

// carrier does not go where Cleo lives.
func carrier(in *inbox.Box[*sql.Tx], p *participant) []sixfold.Route {
	return []sixfold.Route{
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, c Ship) error {
			return p.do(ctx, tx, c.Order, func() (sixfold.Message, error) {
				if c.Customer == "Cleo" {
					return ShippingRefused{c.Order, "no carrier goes there"}, nil
				}
				return nil, nil
			}, Shipped{c.Order, "parcel of " + c.Order}, ShippingRefused{c.Order, "called off"})
		}),
	}
}
