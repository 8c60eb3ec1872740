// Package memory is a database of messages inside the process: outbox, inbox and leases with real transactions, for
// tests, for examples, and for programs whose messages may end with them.
//
//	st := memory.New(nil)
//	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
//	…
//	err = outbox.Do(ctx, box, st.DB(), func(ctx context.Context, tx *memory.Tx, u *outbox.Unit) error {
//		u.Publish(OrderPlaced{OrderID: "o-1"})
//		return nil
//	})
//
// It isolates as PostgreSQL does at READ COMMITTED, and not as SQLite does, since that proves more about the code around
// it: any number of transactions write at once; nothing of one is seen by others before its commit, which shows all of
// it at once; who needs what another one holds waits for its end; two that wait for each other are a deadlock, of which
// one fails; and a row may be committed after rows with a higher number, which a relay must not skip.
//
// Nothing runs in the background, and whoever waits does so on a channel. So it works in a testing/synctest bubble, with
// that bubble's time.
package memory
