package store

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/sixfold-go/sixfold/sqltx"
)

const myVersionTable = `CREATE TABLE IF NOT EXISTS {{schema_version}} (
  version    int            NOT NULL,
  name       varbinary(255) NOT NULL,
  checksum   varbinary(64)  NOT NULL,
  serves     int            NOT NULL,
  applied_at bigint         NOT NULL DEFAULT (` + myNow + `),
  PRIMARY KEY (version)
) ENGINE = InnoDB`

func (mysql) files() string { return "mysql" }

func (mysql) begin(ctx context.Context, s *Store) error {
	version, readOnly := "", false
	err := s.db.EachRow(ctx, "SELECT VERSION(), @@global.read_only", nil, func(r sqltx.Rows) error { return r.Scan(&version, &readOnly) })
	if err != nil {
		return failed("migrate: ask the server for its version", err)
	}
	return myServer(version, readOnly)
}

var myVersion = regexp.MustCompile(`^(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)(.*)`)

// myServer refuses a server that cannot hold the tables: JSON_TABLE, SKIP LOCKED and defaults that are expressions are
// needed.
func myServer(version string, readOnly bool) error {
	p := myVersion.FindStringSubmatch(version)
	if p == nil {
		return fmt.Errorf("store: the server calls its version %s, which is neither MySQL's nor MariaDB's; use one of these", quoteCut(version))
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(p[i+1]) // digits
	}
	at := n[0]*1_000_000 + n[1]*1000 + n[2]
	switch {
	case isMariaDB(version) && at < 10_006_000:
		return fmt.Errorf("store: MariaDB %s is too old; use 10.6 or later", quoteCut(version))
	case !isMariaDB(version) && at < 8_000_014:
		return fmt.Errorf("store: MySQL %s is too old; use 8.0.14 or later", quoteCut(version))
	case readOnly:
		return fmt.Errorf("store: the server is read-only, as a replica is, and this needs the primary, since a replica takes no messages and may lack what was committed; connect to the primary")
	}
	return nil
}

func isMariaDB(version string) bool {
	return regexp.MustCompile(`(?i)mariadb`).MatchString(version)
}

// myLockName is the name of the lock of those who migrate the same tables; names of locks are the whole server's.
const myLockName = "concat('sixfold ', left(sha2(concat(coalesce(nullif(?, ''), DATABASE(), ''), '.', ?), 256), 40))"

// lock waits for other processes that migrate the same tables, then makes the database and the version table. The lock is
// the session's: statements that change the schema commit by themselves.
func (mysql) lock(ctx context.Context, tx sqltx.Tx, n names) error {
	for got := int64(0); got == 0; {
		err := tx.Each(ctx, "SELECT coalesce(GET_LOCK("+myLockName+", 5), 0)", []any{n.schema, n.prefix}, func(r sqltx.Rows) error { return r.Scan(&got) })
		if err != nil {
			return err
		}
	}
	if n.schema != "" {
		there, err := exists(ctx, tx, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", n.schema)
		if err != nil {
			return err
		}
		if !there {
			name := myQuoted(quoteIdentifier(n.schema))
			if _, err := tx.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+name); err != nil {
				return fmt.Errorf("database %s is missing and this user may not create it; have it made with CREATE DATABASE %s: %w", name, name, err)
			}
		}
	}
	_, err := tx.Exec(ctx, myQuoted(n.fill(myVersionTable)))
	return err
}

// unlock gives the lock back, which would stay with the pooled connection. On a connection that is lost it is gone already.
func (mysql) unlock(ctx context.Context, tx sqltx.Tx, n names) {
	_ = tx.Each(ctx, "SELECT RELEASE_LOCK("+myLockName+")", []any{n.schema, n.prefix}, func(sqltx.Rows) error { return nil })
}

// half answers the migration that was begun and not ended, 0: there is none. MySQL cannot do several changes of the schema in
// one transaction, so what is begun is noted first, under the negative of its number.
func (mysql) half(ctx context.Context, tx sqltx.Tx, n names) (version int, err error) {
	err = tx.Each(ctx, myQuoted(n.fill("SELECT -version FROM {{schema_version}} v WHERE version < 0 AND NOT EXISTS (SELECT 1 FROM {{schema_version}} d WHERE d.version = -v.version) ORDER BY version LIMIT 1")), nil, func(r sqltx.Rows) error { return r.Scan(&version) })
	return version, err
}

// note says that a migration is begun, in either direction. The first statement that changes the schema commits it.
func (mysql) note(ctx context.Context, tx sqltx.Tx, n names, version int) error {
	_, err := tx.Exec(ctx, myQuoted(n.fill("DELETE FROM {{schema_version}} WHERE version = ?")), version)
	if err == nil {
		_, err = tx.Exec(ctx, myQuoted(n.fill("INSERT INTO {{schema_version}} (version, name, checksum, serves) VALUES (?, 'begun', '', 0)")), -version)
	}
	return err
}

// ended says that nothing is half any more.
func (mysql) ended(ctx context.Context, tx sqltx.Tx, n names) error {
	_, err := tx.Exec(ctx, myQuoted(n.fill("DELETE FROM {{schema_version}} WHERE version < 0")))
	return err
}

func (mysql) kindOf(ctx context.Context, each eachRow, n names, object string) (kind string, err error) {
	err = each(ctx, "SELECT CASE TABLE_TYPE WHEN 'BASE TABLE' THEN 'table' WHEN 'VIEW' THEN 'view' ELSE lower(TABLE_TYPE) END FROM information_schema.TABLES "+
		"WHERE TABLE_SCHEMA = coalesce(nullif(?, ''), DATABASE()) AND TABLE_NAME = ?", []any{n.schema, n.prefix + object}, func(r sqltx.Rows) error { return r.Scan(&kind) })
	return kind, err
}

func (mysql) columnsOf(ctx context.Context, each eachRow, n names, table string) (columns []string, err error) {
	err = each(ctx, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = coalesce(nullif(?, ''), DATABASE()) AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
		[]any{n.schema, n.prefix + table}, func(r sqltx.Rows) error {
			var c string
			err := r.Scan(&c)
			columns = append(columns, c)
			return err
		})
	return columns, err
}
