// Package postgres holds what only pgx can do on PostgreSQL: a DB whose last statements and COMMIT are one round trip,
// and which finds out what became of a COMMIT whose answer was lost.
//
//	db := postgres.DB(pool)
//	err := outbox.Do(ctx, box, db, func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
//		…
//		u.Publish(OrderPlaced{OrderID: id})
//		return nil
//	})
//
// A Listener wakes the relays of other processes by LISTEN and NOTIFY, outside of your transactions; PublishAll writes
// very many messages by COPY.
//
// It is a module of its own, so that who uses another library does not depend on pgx.
package postgres
