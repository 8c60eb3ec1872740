// Package inbox makes the effect of a handler happen once per message, although brokers deliver more than once: the
// record "handled" and the effect commit in one transaction.
//
//	box, err := inbox.New(db, st.Inbox(), nil)
//	…
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil,
//		inbox.On(box, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
//			_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID)
//			return err
//		}))
//
// The handler may run more than once; its effect in the database of the box commits once within Options.Retention. What fails is parked in
// that database with its key, and tried again in order, or kept as a dead letter.
package inbox
