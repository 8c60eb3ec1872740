package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// The table has no unique key on purpose: nothing but the inbox keeps an order from being paid twice.
const paymentTables = `CREATE TABLE IF NOT EXISTS bank.payments (order_id text NOT NULL, cents integer NOT NULL)`

// limit in cents, above which nobody gets credit.
const limit = 100_000

// payments is the bank's service.
type payments struct{ *service }

func newPayments(ctx context.Context, dsn string, broker bus.Transport) (*payments, error) {
	s, err := newService(ctx, dsn, "bank", paymentTables, broker, outbox.To("payments", PaymentTaken{}, PaymentRefused{}))
	if err != nil {
		return nil, err
	}
	p := &payments{s}
	if err := s.consume(broker, toPayments, bus.Hooks{}, inbox.On(s.in, p.pay)); err != nil {
		s.pool.Close()
		return nil, err
	}
	return p, nil
}

// pay takes the money and says so: payment, answer, and the record that the order was handled are one transaction.
func (p *payments) pay(ctx context.Context, tx pgx.Tx, m OrderPlaced) error {
	var answer sixfold.Message = PaymentTaken{OrderID: m.OrderID}
	if m.Cents > limit {
		answer = PaymentRefused{OrderID: m.OrderID, Why: "it is above the limit"}
	} else if _, err := tx.Exec(ctx, "INSERT INTO bank.payments (order_id, cents) VALUES ($1, $2)", m.OrderID, m.Cents); err != nil {
		return err
	}
	_, err := p.box.Publish(ctx, sqltx.Pgx(tx), answer)
	return err
}
