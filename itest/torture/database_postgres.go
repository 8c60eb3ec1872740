package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

type postgresDatabase struct{}

func (postgresDatabase) start(ctx context.Context) (databaseServer, string, error) {
	s, err := servers.StartPostgres(ctx, &servers.PostgresOptions{Settings: map[string]string{"max_connections": "300"}})
	if err != nil {
		return nil, "", err
	}
	dsn, err := s.CreateDatabase(ctx, "torture")
	if err != nil {
		return nil, "", errors.Join(err, s.Close())
	}
	return s, dsn, nil
}

// ledger answers one script. effect and dead have no unique constraint on purpose: what happens twice must show.
func (postgresDatabase) ledger() []string {
	return []string{"CREATE TABLE ledger_key (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50)",
		"CREATE TABLE ledger_tx (tx uuid NOT NULL)",
		"CREATE TABLE ledger_poison (consumer text PRIMARY KEY, key text NOT NULL, n bigint NOT NULL)",
		"CREATE TABLE effect (id bigserial, consumer text NOT NULL, key text NOT NULL, n bigint NOT NULL, msg uuid NOT NULL, at timestamptz NOT NULL DEFAULT now())",
		"CREATE TABLE dead (id bigserial, parked bigint NOT NULL, consumer text NOT NULL, key text NOT NULL, n bigint NOT NULL, msg uuid NOT NULL, at timestamptz NOT NULL DEFAULT now())"}
}

func (d postgresDatabase) roles(ctx context.Context, db pool, st *store.Store, dsn string, o *Options) (map[string]string, error) {
	return asRoles(ctx, d, db, st, dsn, o)
}

func (postgresDatabase) endSessions(ctx context.Context, db pool) error {
	_, err := db.exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	return err
}

func (postgresDatabase) publisher(ctx context.Context, p *process) error {
	return runPublisher(ctx, p, postgresBusiness{p.db.(*postgresPool).Pool})
}

func (postgresDatabase) consumer(ctx context.Context, p *process) error {
	return runConsumer(ctx, p, postgresBusiness{p.db.(*postgresPool).Pool})
}

func (postgresDatabase) lastEffect() string { return "(SELECT last_value FROM effect_id_seq)" }

func (postgresDatabase) lastParked() string {
	return "coalesce(pg_sequence_last_value(pg_get_serial_sequence('sixfold.parked', 'n')), 0)"
}

func (postgresDatabase) never() string             { return "'infinity'" }
func (postgresDatabase) numberOf() string          { return "(convert_from(body, 'UTF8')::json->>'n')::bigint" }
func (postgresDatabase) asID(column string) string { return column + "::uuid" }

func (postgresDatabase) open(dsn string, connections int) (pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("torture: the database's URL cannot be read") // pgx's error could show the password
	}
	config.MaxConns = int32(connections)
	config.ConnConfig.DialFunc = dialCuttable
	p, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("torture: connect: %w", err)
	}
	return &postgresPool{p}, nil
}

type postgresPool struct{ *pgxpool.Pool }

func (p *postgresPool) runner() sqltx.Runner { return sqltx.PgxDB(p.Pool) }

func (p *postgresPool) store(o *store.Options) (*store.Store, error) {
	return store.Postgres(sqltx.PgxDB(p.Pool), o)
}

func (p *postgresPool) row(ctx context.Context, q string, args []any, dest ...any) error {
	return p.QueryRow(ctx, q, args...).Scan(dest...)
}

func (p *postgresPool) each(ctx context.Context, q string, dest []any, fn func()) error {
	rows, err := p.Query(ctx, q)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, dest, func() error { fn(); return nil })
	return err
}

func (p *postgresPool) exec(ctx context.Context, q string, args ...any) (int64, error) {
	tag, err := p.Exec(ctx, q, args...)
	return tag.RowsAffected(), err
}

func (p *postgresPool) ping(ctx context.Context) error { return p.Ping(ctx) }
func (p *postgresPool) close()                         { p.Close() }
