package store

import (
	"context"
	"strings"

	"github.com/sixfold-go/sixfold/sqltx"
)

// myNow is the database's clock in microseconds since 1970. It does not go through the session's zone, in which an hour
// comes twice at the end of summer time.
const myNow = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"

// myNumbers is a table j(n) of the numbers in a JSON array, which is parameter p. Lists travel as one text, so that a
// library's statement cache holds one statement and not one for each length.
func myNumbers(p string) string { return "JSON_TABLE(" + p + ", '$[*]' COLUMNS (n BIGINT PATH '$')) j" }

// myStatement is a statement with parameters as ?1, written for MySQL: it has them by position, once for each use.
type myStatement struct {
	sql   string
	order []int // of the parameters, from 0
}

// myQuotedColumns puts quotes around names of columns that MySQL keeps for itself, where none stand and no dot is before them.
func myQuotedColumns(sql string) string {
	var b strings.Builder
	b.Grow(len(sql) + 16)
	for at := 0; at < len(sql); {
		end := at
		for end < len(sql) && isWord(sql[end]) {
			end++
		}
		if end == at { // no word begins here
			b.WriteByte(sql[at])
			at++
			continue
		}
		word, free := sql[at:end], at == 0 || strings.IndexByte(".`$", sql[at-1]) < 0
		if free && (word == "key" || word == "partition" || word == "before") {
			b.WriteByte('`')
			b.WriteString(word)
			b.WriteByte('`')
		} else {
			b.WriteString(word)
		}
		at = end
	}
	return b.String()
}

// statement fills in names and puts parameters in MySQL's form.
func (m *my) statement(sql string) myStatement { return myStatementOf(m.names, sql) }

func myStatementOf(n names, sql string) (s myStatement) {
	sql = parameters(myQuotedColumns(sql), func(n int) string {
		s.order = append(s.order, n-1)
		return "?"
	})
	s.sql = myQuoted(n.fill(sql))
	return s
}

// myQuoted turns the quotes of names into MySQL's. No name holds either (checkName), and no statement another quote of
// that kind.
func myQuoted(sql string) string { return strings.ReplaceAll(sql, `"`, "`") }

func (s myStatement) args(values []any) []any {
	if len(s.order) == 0 {
		return nil
	}
	args := make([]any, len(s.order))
	for i, n := range s.order {
		args[i] = values[n]
	}
	return args
}

// exec runs the statement in a transaction, each answers its rows; do and rows are the same outside of one.
func (s myStatement) exec(ctx context.Context, tx sqltx.Tx, values ...any) (int64, error) {
	return tx.Exec(ctx, s.sql, s.args(values)...)
}

func (s myStatement) each(ctx context.Context, tx sqltx.Tx, scan func(sqltx.Rows) error, values ...any) error {
	return tx.Each(ctx, s.sql, s.args(values), scan)
}

func (s myStatement) do(ctx context.Context, db sqltx.Runner, values ...any) (int64, error) {
	return db.ExecSQL(ctx, s.sql, s.args(values)...)
}

func (s myStatement) rows(ctx context.Context, db sqltx.Runner, scan func(sqltx.Rows) error, values ...any) error {
	return db.EachRow(ctx, s.sql, s.args(values), scan)
}

// found reports whether the statement answers a row.
func (s myStatement) found(ctx context.Context, tx sqltx.Tx, values ...any) (there bool, err error) {
	err = s.each(ctx, tx, func(sqltx.Rows) error { there = true; return nil }, values...)
	return there, err
}
