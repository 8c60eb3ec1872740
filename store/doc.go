// Package store holds all SQL of Sixfold: outbox and inbox, what is parked, schedules, sagas, answers, the database as a broker, the
// leases of their readers, and the migrations that make the tables, on PostgreSQL 13, MariaDB 10.6 and MySQL 8.0.14 and later, and on SQLite.
//
//	db := sqltx.PgxDB(pool)
//	st, err := store.Postgres(db, nil)
//	…
//	err = st.Migrate(ctx) // or: sixfold migrate up
//	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
//
// Nothing here opens a connection or starts a goroutine: the database is the caller's, seen through package sqltx, and
// what writes messages does so in the caller's transaction. Migrate is never called behind the user's back; without the
// tables, every call says what to run.
package store
