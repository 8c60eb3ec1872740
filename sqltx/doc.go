// Package sqltx sees an open transaction of any SQL library through two methods, and opens one through a DB.
//
//	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
//		…
//		_, err := box.Publish(ctx, sqltx.Pgx(tx), OrderPlaced{OrderID: id})
//		return err
//	})
//
// Nothing here imports a driver: pgx's types are described by their methods. A pool or a connection passed where a
// transaction belongs does not compile.
package sqltx
