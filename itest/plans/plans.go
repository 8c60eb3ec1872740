// Package plans looks at the plans of statements before they run, and fails a test when one walks over a whole table.
package plans

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

// A Watch looks at the statements of one database that read, change or remove rows. What enters rows finds them by their keys, unless it
// reads them elsewhere. A Watch belongs to one goroutine.
type Watch struct {
	// Quiet: walks are counted only.
	Quiet bool
	// Seen are the statements that were looked at, Walks those of them that walk over a table.
	Seen, Walks int

	t      *testing.T
	driver string
	tables []string
	may    func(statement string) bool
}

// New makes the Watch over tables, whose names have no prefix. The driver is "pgx", "mysql" or "sqlite". May says which statements are
// allowed to walk; nil: none.
func New(t *testing.T, driver string, may func(statement string) bool, tables ...string) *Watch {
	return &Watch{t: t, driver: driver, tables: tables, may: may}
}

// DB is db with everything in transactions, each statement of which is looked at.
func (w *Watch) DB(db *sql.DB) sqltx.DB[*sql.Tx] {
	d := sqltx.StdDB(db)
	d.Exec, d.Query = nil, nil
	d.Tx = func(tx *sql.Tx) sqltx.Tx { return sqltx.Like(&watched{tx, w}) }
	return d
}

type watched struct {
	*sql.Tx
	w *Watch
}

func (t *watched) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	t.w.Look(ctx, t.Tx, q, args...)
	return t.Tx.ExecContext(ctx, q, args...)
}

func (t *watched) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	t.w.Look(ctx, t.Tx, q, args...)
	return t.Tx.QueryContext(ctx, q, args...)
}

// Look looks at one statement.
func (w *Watch) Look(ctx context.Context, tx *sql.Tx, q string, args ...any) {
	w.t.Helper()
	q = strings.TrimSpace(q)
	upper := strings.ToUpper(q)
	verb, _, _ := strings.Cut(upper, " ")
	if !slices.Contains([]string{"SELECT", "UPDATE", "DELETE"}, verb) && (verb != "INSERT" || !strings.Contains(upper, "SELECT ")) {
		return
	}
	explain := map[string]string{"pgx": "EXPLAIN ", "mysql": "EXPLAIN ", "sqlite": "EXPLAIN QUERY PLAN "}[w.driver]
	rows, err := tx.QueryContext(ctx, explain+q, args...)
	if err != nil {
		w.t.Errorf("explain %s: %v", q, err)
		return
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		w.t.Fatal(err)
	}
	w.Seen++
	for rows.Next() {
		values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := rows.Scan(places...); err != nil {
			w.t.Fatal(err)
		}
		line := ""
		for i, v := range values {
			line += columns[i] + "=" + v.String + " "
		}
		if !w.walks(line) || w.may != nil && w.may(q) {
			continue
		}
		if w.Walks++; !w.Quiet {
			w.t.Errorf("%s\nwalks over a table: %s", q, line)
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
}

// walks reports whether a line of a plan reads a whole table of those that are watched. SQLite's SCAN with an index goes along an index, which
// a LIMIT ends; MariaDB's type=index does too, but only with a LIMIT and nothing that sorts.
func (w *Watch) walks(line string) bool {
	ours := slices.ContainsFunc(w.tables, func(table string) bool {
		return strings.Contains(line, "sixfold_"+table+" ") || strings.Contains(line, " on "+table+" ")
	})
	if strings.Contains(line, "select_type=INSERT ") {
		return false // it enters rows there
	}
	return ours && (strings.Contains(line, "Seq Scan") || strings.Contains(line, "type=ALL") || strings.Contains(line, "detail=SCAN") && !strings.Contains(line, "INDEX"))
}
