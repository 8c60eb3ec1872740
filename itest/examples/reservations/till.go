package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// Take takes something from the shelf, and answers how many are left.
type Take struct {
	sixfold.Returns[int] `json:"-"`

	Item string `json:"item"`
}

func (Take) MessageName() string { return "warehouse.take" }

// Take runs once for each id, in the transaction that keeps its answer.
func (Warehouse) Take(ctx context.Context, tx *sql.Tx, m Take) (left int, err error) {
	if _, err = tx.ExecContext(ctx, "DELETE FROM shelf WHERE place = (SELECT max(place) FROM shelf WHERE item = ?)", m.Item); err != nil {
		return 0, err
	}
	return left, tx.QueryRowContext(ctx, "SELECT count(*) FROM shelf WHERE item = ?", m.Item).Scan(&left)
}

// twice makes one call twice, over the database.
func (b *both) twice(ctx context.Context, out io.Writer) error {
	lane, err := sqlqueue.NewRequestLane(b.st.Requests(), nil)
	if err != nil {
		return err
	}
	answers, err := request.NewAnswers(b.db, b.st.Answers(), nil)
	if err != nil {
		return err
	}
	responder, err := request.Serve(lane, nil, request.Once(answers, Warehouse{}.Take))
	if err != nil {
		return err
	}
	stop := start(ctx, responder)
	defer stop()
	<-responder.Listening()
	client, err := request.NewClient(lane, &request.ClientOptions{Source: "till"})
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	id := sixfold.NewID() // of the receipt
	for range 2 {
		left, err := request.Send(ctx, client, Take{Item: "lamp"}, request.ID(id), request.Retry(5*time.Second))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "lamps left:", left)
	}
	return nil
}
