package store

import (
	"errors"
	"fmt"
	"strings"
)

// ErrSchema says that the tables are not what this program needs: missing, too old, too new, or somebody else's.
var ErrSchema = errors.New("the tables do not fit")

const runMigrations = "run `sixfold migrate up` or call Migrate"

// sqlState is the SQLSTATE of err, or "". pgx, lib/pq and others answer it through this method.
func sqlState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// sqliteCode is SQLite's extended result code, or 0. modernc.org/sqlite answers it through this method.
func sqliteCode(err error) int {
	var c interface{ Code() int }
	if errors.As(err, &c) {
		return c.Code()
	}
	return 0
}

// failed says what failed and, where the database's answer has a known remedy, what to do.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	switch state := sqlState(err); state {
	case "42P01", "42883", "3F000", "42703": // undefined table, function, schema, column
		return fmt.Errorf("store: %s: %w: %s: %w", what, ErrSchema, runMigrations, err)
	case "42501":
		return fmt.Errorf("store: %s: the database role lacks a privilege; grant it USAGE on the schema, SELECT, INSERT, UPDATE, DELETE on its tables and EXECUTE on its functions: %w", what, err)
	case "25006":
		return fmt.Errorf("store: %s: the database is read-only, as a replica is, and this needs the primary; connect to the primary: %w", what, err)
	}
	switch code := sqliteCode(err); {
	case code == 517: // SQLITE_BUSY_SNAPSHOT
		return fmt.Errorf("store: %s: the transaction began with a read and another one has written since; begin transactions with BEGIN IMMEDIATE (modernc.org/sqlite: _txlock=immediate in the DSN): %w", what, err)
	case code == 1 && strings.Contains(err.Error(), "no such table"):
		return fmt.Errorf("store: %s: %w: %s: %w", what, ErrSchema, runMigrations, err)
	}
	switch mysqlCode(err) {
	case 1146, 1049, 1054: // no such table, database, column
		return fmt.Errorf("store: %s: %w: %s: %w", what, ErrSchema, runMigrations, err)
	case 1142, 1143, 1044, 1227, 1370:
		return fmt.Errorf("store: %s: the database user lacks a privilege; grant it what the script of `sixfold grants` grants: %w", what, err)
	case 1290, 1836:
		return fmt.Errorf("store: %s: the database is read-only, as a replica is, and this needs the primary; connect to the primary: %w", what, err)
	case myTooBig:
		return fmt.Errorf("store: %s: it is larger than the server's max_allowed_packet; raise that, or put the data elsewhere and send a reference: %w", what, err)
	}
	return fmt.Errorf("store: %s: %w", what, err)
}
