package store

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold/sqltx"
)

const liteVersionTable = `CREATE TABLE IF NOT EXISTS {{schema_version}} (
  version    INTEGER NOT NULL PRIMARY KEY,
  name       TEXT    NOT NULL,
  checksum   TEXT    NOT NULL,
  serves     INTEGER NOT NULL,
  applied_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))
)`

func (sqlite) files() string { return "sqlite" }

func (sqlite) begin(ctx context.Context, s *Store) error {
	var version string
	err := s.db.EachRow(ctx, "SELECT sqlite_version()", nil, func(r sqltx.Rows) error { return r.Scan(&version) })
	if err != nil {
		return failed("ask SQLite for its version", err)
	}
	return liteServer(version)
}

// liteServer refuses versions without RETURNING.
func liteServer(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 3 || major == 3 && minor < 35 {
		return fmt.Errorf("store: SQLite %s is too old; use 3.35 or later", quoteCut(version))
	}
	return nil
}

// lock makes the version table and takes the one write lock, which makes other processes wait.
func (sqlite) lock(ctx context.Context, tx sqltx.Tx, n names) error {
	if _, err := tx.Exec(ctx, n.fill(liteVersionTable)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, n.fill("DELETE FROM {{schema_version}} WHERE 0"))
	return err
}

func (sqlite) kindOf(ctx context.Context, each eachRow, n names, object string) (kind string, err error) {
	err = each(ctx, "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE", []any{n.prefix + object}, func(r sqltx.Rows) error { return r.Scan(&kind) })
	return kind, err
}

func (sqlite) columnsOf(ctx context.Context, each eachRow, n names, table string) (columns []string, err error) {
	err = each(ctx, "SELECT name FROM pragma_table_info(?)", []any{n.prefix + table}, func(r sqltx.Rows) error {
		var c string
		if err := r.Scan(&c); err != nil {
			return err
		}
		columns = append(columns, c)
		return nil
	})
	return columns, err
}
