package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

const (
	// gateSlots is the number of slots of the gate that each table has; gateStep how many microseconds one is used for.
	// A transaction that is open for less than their product keeps no later one's gap open.
	gateSlots = 32
	gateStep  = 50_000
	// myRowsAtMost is how many rows one statement inserts.
	myRowsAtMost = 1000
	// markFor is how long the outcome of a transaction can be asked for.
	markFor = time.Hour
)

// myGate takes a place at the gate, in share mode until the transaction ends, and is 0. It stands in the VALUES of the first
// row, and is worked out before that row draws its number. Which slot it is matters little, so the clock says it.
func myGate(t outbox.Table) string {
	slot := myNow + " DIV " + strconv.Itoa(gateStep) + " MOD " + strconv.Itoa(gateSlots)
	if t == outbox.ToLocal {
		slot = strconv.Itoa(gateSlots) + " + (" + slot + ")"
	}
	return "(SELECT nothing FROM {{gate}} WHERE slot = " + slot + " LOCK IN SHARE MODE)"
}

// myWriter implements outbox.Writer.
type myWriter struct {
	*my
	head          [2]string // of an INSERT, up to the first row's parameters
	enter, claims string
	mark          myStatement
	marked        myStatement
	limits        myLimit
	later         *delayedTable
}

const myRow = "?, ?, ?, ?, ?, ?, ?)"

func newMyWriter(m *my) *myWriter {
	w := &myWriter{my: m,
		enter: "INSERT INTO {{published}} (claim, id, until, stamp) VALUES ",
		mark:  m.statement("INSERT INTO {{published}} (claim, id, until, stamp) VALUES (?1, '', " + myNow + " + ?2, 0)"),
		// Of a transaction that is still open, the row is locked.
		marked: m.statement("SELECT 1 FROM {{published}} WHERE claim = ?1 FOR UPDATE NOWAIT"),
		limits: newMyLimit(m),
	}
	w.enter = myQuoted(m.names.fill(w.enter))
	w.claims = myQuoted(m.names.fill("SELECT claim FROM {{published}} WHERE stamp = ? AND claim IN ("))
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		w.head[t] = m.statement("INSERT INTO {{" + t.String() + "}} (attempts, " + appendColumns + ") VALUES (" + myGate(t) + ", ").sql
	}
	return w
}

// Append implements outbox.Writer. Every 1,000 rows are a round trip, and so is what max_allowed_packet takes.
func (w *myWriter) Append(ctx context.Context, tx sqltx.Tx, t outbox.Table, rows []outbox.Row, wantXact bool) (refused []int, xact string, err error) {
	if len(rows) == 0 {
		return nil, "", nil
	}
	limit, err := w.limits.of(ctx, totalSize(rows), tx.Each)
	if err != nil {
		return nil, "", failed("append to "+t.String(), err)
	}
	for i := range rows {
		if n := sizeOf(&rows[i]); n > limit {
			return nil, "", fmt.Errorf("store: append: row %d of %d has %d bytes, the limit is %d by the server's max_allowed_packet; raise it, or put the data elsewhere and send a reference", i+1, len(rows), n, limit)
		}
	}
	if wantXact {
		xact = sixfold.NewID()
		if _, err := w.mark.exec(ctx, tx, markClaim(xact), markFor.Microseconds()); err != nil {
			return nil, "", failed("mark the transaction", err)
		}
	}
	if anyClaims(rows) {
		if refused, rows, err = w.claimed(ctx, tx, rows); err != nil {
			return nil, "", failed("append to "+t.String(), err)
		}
	}
	for len(rows) > 0 {
		n := fitting(rows, min(limit, roundTrip))
		if _, err := tx.Exec(ctx, w.insert(t, n), myArgs(rows[:n])...); err != nil {
			return nil, "", failed("append to "+t.String(), err)
		}
		rows = rows[n:]
	}
	return refused, xact, nil
}

// fitting is how many of rows go in one statement of at most limit bytes, at least one.
func fitting(rows []outbox.Row, limit int) int {
	size := 0
	for i := range rows {
		if size += sizeOf(&rows[i]); i > 0 && size > limit || i == myRowsAtMost {
			return i
		}
	}
	return len(rows)
}

func (w *myWriter) insert(t outbox.Table, rows int) string {
	return w.head[t] + myRow + strings.Repeat(", (0, "+myRow, rows-1)
}

func myArgs(rows []outbox.Row) []any {
	args := make([]any, 0, appendArgs*len(rows))
	for i := range rows {
		args = valuesOf(args, &rows[i])
	}
	return args
}

// claimed enters the claims of rows and answers those that are taken, and the rows that are left. A claim is entered or taken
// over under an exclusive lock; an INSERT that fails would leave a shared one, on which two that wait deadlock. Which
// were taken over is told by the stamp: the count of changed rows means different things in different sessions.
func (w *myWriter) claimed(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) (refused []int, left []outbox.Row, err error) {
	again := repeats(rows)
	var order []int
	for i := range rows {
		if rows[i].Claim != "" && !again[i] {
			order = append(order, i)
		}
	}
	// In their own order, so that two transactions with the same ones do not deadlock.
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(claimKey(rows[i].Claim), claimKey(rows[j].Claim)) })
	ours := make(map[string]bool, len(order))
	stamp := rand.Int64N(math.MaxInt64) + 1
	for part := range slices.Chunk(order, myRowsAtMost) {
		var enter, claims []any
		var tuples []string
		for _, i := range part {
			r := &rows[i]
			until := strconv.FormatInt(math.MaxInt64, 10)
			enter = append(enter, claimKey(r.Claim), r.ID)
			if r.ClaimFor > 0 {
				until = myNow + " + ?"
				enter = append(enter, r.ClaimFor.Microseconds())
			}
			enter, claims = append(enter, stamp), append(claims, claimKey(r.Claim))
			tuples = append(tuples, "(?, ?, "+until+", ?)")
		}
		over := "until < " + myNow
		_, err := tx.Exec(ctx, w.enter+strings.Join(tuples, ", ")+" ON DUPLICATE KEY UPDATE stamp = CASE WHEN "+over+" THEN VALUES(stamp) ELSE stamp END, id = CASE WHEN "+
			over+" THEN VALUES(id) ELSE id END, until = CASE WHEN "+over+" THEN VALUES(until) ELSE until END", enter...)
		if err == nil {
			err = tx.Each(ctx, w.claims+strings.TrimSuffix(strings.Repeat("?, ", len(part)), ", ")+") FOR UPDATE", append([]any{stamp}, claims...), func(r sqltx.Rows) error {
				var c string
				err := r.Scan(&c)
				ours[c] = true
				return err
			})
		}
		if err != nil {
			return nil, nil, err
		}
	}
	for i := range rows {
		if r := &rows[i]; r.Claim == "" || !again[i] && ours[claimKey(r.Claim)] {
			left = append(left, *r)
		} else {
			refused = append(refused, i)
		}
	}
	return refused, left, nil
}

// Prepare implements outbox.Writer.
func (w *myWriter) Prepare(t outbox.Table, rows []outbox.Row) (sqltx.Statement, error) {
	if err := preparable(rows); err != nil {
		return sqltx.Statement{}, err
	}
	if len(rows) > myRowsAtMost {
		return sqltx.Statement{}, fmt.Errorf("store: prepare: there are %d rows, one statement takes %d; prepare fewer, or append them", len(rows), myRowsAtMost)
	}
	return sqltx.Statement{SQL: w.insert(t, len(rows)), Args: myArgs(rows)}, nil
}

// markClaim is the claim by which a transaction is known. No claim of a caller's begins so.
func markClaim(xact string) string { return "xact\x1f" + xact }

// Outcome implements outbox.Writer. The transaction wrote a row of its own, so the answer is certain: while that row is
// locked the transaction is in progress, and afterwards the row is there or it is not. It asks again until ctx ends.
func (w *myWriter) Outcome(ctx context.Context, xact string) (outbox.Outcome, error) {
	if xact == "" {
		return outbox.Unknown, errors.New("store: ask for the outcome of a commit: the transaction has no mark; write with wantXact")
	}
	var last error
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		there := false
		err := w.marked.rows(ctx, w.db, func(sqltx.Rows) error { there = true; return nil }, markClaim(xact))
		switch {
		case err == nil && there:
			return outbox.Committed, nil
		case err == nil:
			return outbox.RolledBack, nil
		case myBusy(err):
			last = errors.New("it is still in progress")
		case ctx.Err() == nil && !myPassing(err):
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: %w", xact, err)
		default:
			last = err
		}
		select {
		case <-ctx.Done():
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: %w: %w", xact, ctx.Err(), last)
		case <-time.After(wait):
		}
	}
}

// Definite implements outbox.Writer.
func (w *myWriter) Definite(err error) bool { return myDefinite(err) }
