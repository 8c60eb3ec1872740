package calls

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"iter"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Shop has the state of its handlers.
type Shop struct {
	DB  *sql.DB
	Box *outbox.Outbox
	TX  *middleware.Transaction[*sql.Tx]
	Out io.Writer
}

// Create writes the order and publishes in one transaction.
func (s *Shop) Create(ctx context.Context, tx *sql.Tx, c CreateOrder) (string, error) {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&n); err != nil {
		return "", err
	}
	id := fmt.Sprintf("o-%d", n+1)
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, customer) VALUES (?, ?)", id, c.Customer); err != nil {
		return "", err
	}
	_, err := s.Box.Publish(ctx, sqltx.Std(tx), OrderCreated{ID: id})
	return id, err
}

// Find answers the customer of an order.
func (s *Shop) Find(ctx context.Context, q FindOrder) (customer string, err error) {
	err = s.DB.QueryRowContext(ctx, "SELECT customer FROM orders WHERE id = ?", q.ID).Scan(&customer)
	return customer, err
}

// List answers the ids of all orders, while it reads them.
func (s *Shop) List(ctx context.Context, _ ListOrders) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		rows, err := s.DB.QueryContext(ctx, "SELECT id FROM orders ORDER BY id")
		if err != nil {
			yield("", err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); !yield(id, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield("", err)
		}
	}
}

// Cancel removes an order.
func (s *Shop) Cancel(ctx context.Context, tx *sql.Tx, c CancelOrder) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM orders WHERE id = ?", c.ID)
	return err
}

// Greet and Count handle a notification.
func (s *Shop) Greet(_ context.Context, n OrderCreated) error {
	_, err := fmt.Fprintln(s.Out, "thank you for", n.ID)
	return err
}

func (s *Shop) Count(_ context.Context, n OrderCreated) error {
	_, err := fmt.Fprintln(s.Out, "counted", n.ID)
	return err
}

// Routes are what the package handles.
func (s *Shop) Routes() []mediator.Route {
	return []mediator.Route{
		mediator.OnCommand(middleware.InTxResult(s.TX, s.Create)).Named("Shop.Create"),
		mediator.OnPlain(middleware.InTx(s.TX, s.Cancel)).Named("Shop.Cancel"),
		mediator.OnQuery(s.Find),
		mediator.OnStream(s.List),
		mediator.OnNotification(s.Greet),
		mediator.OnNotification(s.Count),
	}
}

// Messages are one value of each type that the package declares.
func Messages() []sixfold.Message {
	return []sixfold.Message{CreateOrder{}, CancelOrder{}, FindOrder{}, ListOrders{}, OrderCreated{}}
}
