// Package outbox writes messages in the caller's own transaction and relays them after the commit.
//
//	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
//	…
//	_, err = box.Publish(ctx, sqltx.Std(tx), OrderPlaced{OrderID: id}) // tx is the caller's *sql.Tx
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//	err = sixfold.Run(ctx, relay)
//
// Publish adds rows to the outbox table; they exist if and only if the transaction commits. A Relay, in as many
// processes as you like, reads committed rows, sends them pipelined in the order of their keys, and removes them
// when the broker has confirmed them. Rows for local destinations stay in the database: a Local is the source from
// which a bus.Consumer of the same database handles them with no broker in between.
package outbox
