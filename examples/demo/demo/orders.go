package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// customers of the shop; orders of each stay in order.
const customers = 40

// errChangedMind rolls an order back after its message was published: nobody may ever hear of it.
var errChangedMind = errors.New("the customer changed his mind")

// placer places orders, a tenth of which are rolled back.
type placer struct {
	s          *Service
	out        *outbox.Outbox
	placed     int
	rolledBack int
}

// place writes the order and its message in one transaction.
func (p *placer) place(ctx context.Context) error {
	err := outbox.Do(ctx, p.out, p.s.db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
		m := OrderPlaced{Order: sixfold.NewID(), Customer: fmt.Sprintf("customer-%02d", rand.N(customers)), PlacedAt: time.Now().UnixMicro()}
		// The customer's row is locked until the commit, so the orders of one customer have one order.
		err := tx.QueryRowContext(ctx, `INSERT INTO customers VALUES (?, 1) ON CONFLICT DO UPDATE SET orders = orders + 1 RETURNING orders`, m.Customer).Scan(&m.Number)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO orders VALUES (?, ?, ?)`, m.Order, m.Customer, m.Number); err != nil {
			return err
		}
		if rand.N(10) == 0 {
			if _, err := p.out.Publish(ctx, sqltx.Std(tx), m); err != nil {
				return err
			}
			return errChangedMind
		}
		u.Publish(m)
		return nil
	})
	switch {
	case err == nil:
		p.placed++
	case errors.Is(err, errChangedMind):
		p.rolledBack++
	default:
		return fmt.Errorf("demo: place an order: %w", err)
	}
	return nil
}
