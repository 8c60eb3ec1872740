package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteSizes are the numbers of rows that one statement inserts, so that few texts are ever prepared.
var liteSizes = [...]int{64, 8, 1}

// litePrepareAtMost keeps a prepared statement below SQLite's 32,766 parameters.
const litePrepareAtMost = 4000

// liteWriter implements outbox.Writer.
type liteWriter struct {
	*lite
	insert [2]string
	sized  [2][len(liteSizes)]string
	claim  string
	later  *delayedTable
}

func newLiteWriter(l *lite) *liteWriter {
	w := &liteWriter{lite: l, claim: l.names.fill(`INSERT INTO {{published}} (claim, id, until) VALUES (?1, ?2, ?3)
ON CONFLICT (claim) DO UPDATE SET id = excluded.id, until = excluded.until WHERE until < ?4`)}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		w.insert[t] = l.names.fill("INSERT INTO {{" + t.String() + "}} (" + appendColumns + ", created_at) VALUES ")
		for i, n := range liteSizes {
			w.sized[t][i] = w.insert[t] + liteValues(n)
		}
	}
	return w
}

func liteValues(rows int) string {
	return strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?), ", rows-1) + "(?, ?, ?, ?, ?, ?, ?, ?)"
}

// Append implements outbox.Writer. SQLite has no identification of a transaction, and needs none: nothing is lost between
// a process and itself.
func (w *liteWriter) Append(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, _ bool) (refused []int, xact string, err error) {
	if _, err := chunks(rows); err != nil {
		return nil, "", err
	}
	if anyClaims(rows) {
		if refused, rows, err = w.claimed(ctx, tx, rows); err != nil {
			return nil, "", failed("append to "+t.String(), err)
		}
	}
	now := w.now()
	for i, n := range liteSizes {
		for len(rows) >= n {
			if _, err := tx.Exec(ctx, w.sized[t][i], liteArgs(rows[:n], now)...); err != nil {
				return nil, "", failed("append to "+t.String(), err)
			}
			rows = rows[n:]
		}
	}
	return refused, "", nil
}

func liteArgs(rows []outbox.Row, now int64) []any {
	args := make([]any, 0, (appendArgs+1)*len(rows))
	for i := range rows {
		args = append(valuesOf(args, &rows[i]), now)
	}
	return args
}

// claimed enters the claims of rows and answers those that are taken, and the rows that are left.
func (w *liteWriter) claimed(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) (refused []int, left []outbox.Row, err error) {
	again, now := repeats(rows), w.now()
	for i := range rows {
		r := &rows[i]
		if r.Claim != "" {
			n := int64(0)
			if !again[i] {
				until := int64(math.MaxInt64)
				if r.ClaimFor > 0 {
					until = now + r.ClaimFor.Microseconds()
				}
				if n, err = tx.Exec(ctx, w.claim, claimKey(r.Claim), r.ID, until, now); err != nil {
					return nil, nil, err
				}
			}
			if n == 0 {
				refused = append(refused, i)
				continue
			}
		}
		left = append(left, *r)
	}
	return refused, left, nil
}

// Prepare implements outbox.Writer.
func (w *liteWriter) Prepare(t outbox.Table, rows []outbox.Row) (sqltx.Statement, error) {
	if err := preparable(rows); err != nil {
		return sqltx.Statement{}, err
	}
	if len(rows) > litePrepareAtMost {
		return sqltx.Statement{}, fmt.Errorf("store: prepare: there are %d rows, one statement takes %d; prepare fewer, or append them", len(rows), litePrepareAtMost)
	}
	return sqltx.Statement{SQL: w.insert[t] + liteValues(len(rows)), Args: liteArgs(rows, w.now())}, nil
}

// Outcome implements outbox.Writer.
func (w *liteWriter) Outcome(context.Context, string) (outbox.Outcome, error) {
	return outbox.Unknown, errors.New("store: ask for the outcome of a commit: SQLite cannot say; look whether the rows are there")
}

// Definite implements outbox.Writer. Whatever SQLite answers to COMMIT means that nothing was committed, but for errors of
// the disk, after which only the file knows.
func (w *liteWriter) Definite(err error) bool {
	switch sqliteCode(err) & 0xff {
	case 0, 7, 10, 11, 14, 26: // not SQLite's; NOMEM, IOERR, CORRUPT, CANTOPEN, NOTADB
		return false
	}
	return true
}
