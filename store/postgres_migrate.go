package store

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold/sqltx"
)

const pgVersionTable = `CREATE TABLE IF NOT EXISTS {{schema_version}} (
  version    integer     NOT NULL,
  name       text        NOT NULL,
  checksum   text        NOT NULL,
  serves     integer     NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT {{bare schema_version_pkey}} PRIMARY KEY (version)
)`

func (postgres) files() string { return "postgres" }

func (postgres) begin(ctx context.Context, s *Store) error {
	var version int
	var replica bool
	err := s.db.EachRow(ctx, "SELECT current_setting('server_version_num')::integer, pg_catalog.pg_is_in_recovery()", nil,
		func(r sqltx.Rows) error { return r.Scan(&version, &replica) })
	if err != nil {
		return failed("migrate: ask the server for its version", err)
	}
	return pgServer(version, replica)
}

// pgServer refuses a server that cannot hold the tables.
func pgServer(version int, replica bool) error {
	if version < 130000 {
		minor := fmt.Sprint(version % 10000)
		if version < 100000 { // as 9.6.24 is 90624
			minor = fmt.Sprintf("%d.%d", version/100%100, version%100)
		}
		return fmt.Errorf("store: PostgreSQL %d.%s is too old; use 13 or later", version/10000, minor)
	}
	if replica {
		return fmt.Errorf("store: the server is a read replica and this needs the primary, since a replica takes no messages and may lack what was committed; connect to the primary")
	}
	return nil
}

// lock waits for other processes that migrate the same tables, then makes the schema and the version table.
func (postgres) lock(ctx context.Context, tx sqltx.Tx, n names) error {
	if _, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1::text, 6))", "sixfold migrate "+n.of("")); err != nil {
		return err
	}
	// IF NOT EXISTS wants the privilege to create although the schema is there.
	there := false
	err := tx.Each(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1::text)", []any{n.schema}, func(r sqltx.Rows) error { return r.Scan(&there) })
	if err != nil {
		return err
	}
	if !there {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+quoteIdentifier(n.schema)); err != nil {
			return fmt.Errorf("schema %s is missing and this role may not create it; have it made with CREATE SCHEMA … AUTHORIZATION <role>: %w", quoteIdentifier(n.schema), err)
		}
	}
	_, err = tx.Exec(ctx, n.fill(pgVersionTable))
	return err
}

func (postgres) kindOf(ctx context.Context, each eachRow, n names, object string) (kind string, err error) {
	err = each(ctx, `SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'p' THEN 'partitioned table'
  WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' ELSE 'relation of another kind' END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text`,
		[]any{n.schema, n.prefix + object}, func(r sqltx.Rows) error { return r.Scan(&kind) })
	return kind, err
}

func (postgres) columnsOf(ctx context.Context, each eachRow, n names, table string) (columns []string, err error) {
	err = each(ctx, `SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
		[]any{n.schema, n.prefix + table}, func(r sqltx.Rows) error {
			var c string
			if err := r.Scan(&c); err != nil {
				return err
			}
			columns = append(columns, c)
			return nil
		})
	return columns, err
}
