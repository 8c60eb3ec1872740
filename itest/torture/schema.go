package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ledgerTables are the ledger's part inside the database. effect and dead have no unique constraint on purpose: what
// happens twice must show.
const ledgerTables = `
CREATE TABLE ledger_key (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE ledger_tx (tx uuid NOT NULL);
CREATE TABLE ledger_poison (consumer text PRIMARY KEY, key text NOT NULL, n bigint NOT NULL);
CREATE TABLE effect (id bigserial, consumer text NOT NULL, key text NOT NULL, n bigint NOT NULL, msg uuid NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE dead (id bigserial, parked bigint NOT NULL, consumer text NOT NULL, key text NOT NULL, n bigint NOT NULL, msg uuid NOT NULL, at timestamptz NOT NULL DEFAULT now());
`

// hotKey is the key that many messages share.
const hotKey = "hot"

func keyName(i int) string { return fmt.Sprintf("k%04d", i) }

// createLedger makes the tables, with a counter for each of keys keys.
func createLedger(ctx context.Context, pool *pgxpool.Pool, keys int) error {
	names := []string{hotKey}
	for i := 1; i < keys; i++ {
		names = append(names, keyName(i))
	}
	_, err := pool.Exec(ctx, ledgerTables)
	if err == nil {
		_, err = pool.Exec(ctx, "INSERT INTO ledger_key (key) SELECT unnest($1::text[])", names)
	}
	if err != nil {
		return fmt.Errorf("torture: create the ledger: %w", err)
	}
	return nil
}

// readLedger reads the part of the facts that the database holds.
func readLedger(ctx context.Context, pool *pgxpool.Pool) (*Facts, error) {
	f := &Facts{Keys: map[string]int64{}, Committed: map[msgID]bool{}}
	intern := map[string]string{}
	one := func(s string) string {
		if known, ok := intern[s]; ok {
			return known
		}
		intern[s] = s
		return s
	}
	var key, consumer string
	var n int64
	var id msgID
	err := errors.Join(
		each(ctx, pool, "SELECT key, n FROM ledger_key", []any{&key, &n}, func() { f.Keys[one(key)] = n }),
		each(ctx, pool, "SELECT tx FROM ledger_tx", []any{(*[16]byte)(&id)}, func() {
			f.CommittedTwice = f.CommittedTwice || f.Committed[id]
			f.Committed[id] = true
		}),
		each(ctx, pool, "SELECT consumer, key, n FROM ledger_poison", []any{&consumer, &key, &n}, func() {
			f.Poison = append(f.Poison, Effect{Consumer: one(consumer), Key: one(key), N: n})
		}),
		each(ctx, pool, "SELECT consumer, key, n, msg FROM effect ORDER BY id", []any{&consumer, &key, &n, (*[16]byte)(&id)}, func() {
			f.Effects = append(f.Effects, Effect{one(consumer), one(key), n, id})
		}),
		each(ctx, pool, "SELECT consumer, key, n, msg FROM dead ORDER BY id", []any{&consumer, &key, &n, (*[16]byte)(&id)}, func() {
			f.Dead = append(f.Dead, Effect{one(consumer), one(key), n, id})
		}))
	err = errors.Join(err, pool.QueryRow(ctx, `SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('sixfold.parked', 'n')), 0),
  (SELECT count(*) FROM dead d WHERE 1 <> (SELECT count(*) FROM sixfold.audit a WHERE a.run = $1 AND a.action = 'redrive' AND a.n = d.parked))
  + (SELECT count(*) FROM sixfold.audit a WHERE a.run = $1 AND a.n > 0 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.parked = a.n))`, redriveRun).Scan(&f.Parked, &f.NotAudited))
	if err != nil {
		return nil, fmt.Errorf("torture: read the ledger: %w", err)
	}
	return f, nil
}

func each(ctx context.Context, pool *pgxpool.Pool, q string, dest []any, fn func()) error {
	rows, err := pool.Query(ctx, q)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, dest, func() error { fn(); return nil })
	return err
}
