package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// row is a row of the outbox as it is kept.
type row struct {
	outbox.Row
	created time.Time
}

// claim is an id or a unique key that a caller chose.
type claim struct {
	until time.Time // zero: for ever
}

// writer implements outbox.Writer.
type writer struct{ st *Store }

// prepared is the text of the one statement that Prepare makes.
const prepared = "append"

const xactPrefix = "memory-"

// Append implements outbox.Writer.
func (w writer) Append(ctx context.Context, t sqltx.Tx, to outbox.Table, rows []outbox.Row, wantXact bool) (refused []int, xact string, err error) {
	what := "append to " + to.String()
	tx, err := w.st.own(t, what)
	if err != nil {
		return nil, "", err
	}
	err = tx.do(ctx, what, func() error {
		refused, err = tx.append(ctx, to, rows)
		if wantXact && err == nil {
			xact = tx.ask()
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return refused, xact, nil
}

// ask answers by what the transaction's outcome may be asked for.
func (tx *Tx) ask() string {
	tx.asked = true
	return xactPrefix + strconv.FormatUint(tx.id, 10)
}

// append draws the numbers when all claims are entered, without letting go of the store in between: so the rows of a
// call are in order and without others between them.
func (tx *Tx) append(ctx context.Context, to outbox.Table, rows []outbox.Row) (refused []int, err error) {
	s := tx.st
	now := s.clock()
	if refused, err = tx.claim(ctx, rows, now); err != nil {
		return nil, err
	}
	for i := range rows {
		if _, no := slices.BinarySearch(refused, i); no {
			continue
		}
		tx.wrote[to] = true
		s.rows[to].insert(tx, row{clone(&rows[i]), now})
	}
	return refused, nil
}

// clone is a row of the store's own.
func clone(r *outbox.Row) outbox.Row {
	out := *r
	out.Attrs, out.Body = bytes.Clone(r.Attrs), bytes.Clone(r.Body)
	return out
}

// claim enters the claims of rows, in an order that all transactions share so that they cannot wait for each other, and
// answers the rows whose claims are taken, in ascending order.
func (tx *Tx) claim(ctx context.Context, rows []outbox.Row, now time.Time) (refused []int, err error) {
	var order []int
	for i := range rows {
		if rows[i].Claim != "" {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rows[a].Claim, rows[b].Claim) })
	published := tx.st.published
	for _, i := range order {
		r := &rows[i]
		if err := published.free(ctx, tx, r.Claim); err != nil {
			return nil, err
		}
		if have := published.seen(tx, r.Claim); have != nil && (have.until.IsZero() || !have.until.Before(now)) {
			refused = append(refused, i)
			continue
		}
		c := &claim{}
		if r.ClaimFor > 0 {
			c.until = now.Add(r.ClaimFor)
		}
		published.put(tx, r.Claim, c)
	}
	slices.Sort(refused)
	return refused, nil
}

// Prepare implements outbox.Writer.
func (w writer) Prepare(to outbox.Table, rows []outbox.Row) (sqltx.Statement, error) {
	own := make([]outbox.Row, len(rows))
	for i := range rows {
		if rows[i].Claim != "" {
			return sqltx.Statement{}, errors.New("memory: prepare: a row has a claim, whose refusal nobody would read; append it")
		}
		own[i] = clone(&rows[i])
	}
	return sqltx.Statement{SQL: prepared, Args: []any{to, own}}, nil
}

func (tx *Tx) performAppend(ctx context.Context, args []any) (int64, error) {
	if len(args) == 2 {
		to, isTable := args[0].(outbox.Table)
		rows, isRows := args[1].([]outbox.Row)
		if isTable && isRows && (to == outbox.ToBroker || to == outbox.ToLocal) {
			return int64(len(rows)), tx.do(ctx, "append to "+to.String(), func() error {
				_, err := tx.append(ctx, to, rows)
				return err
			})
		}
	}
	return 0, errors.New("memory: perform: the arguments are not those of the statement; run what Prepare answered as it is")
}

// Outcome implements outbox.Writer.
func (w writer) Outcome(ctx context.Context, xact string) (outbox.Outcome, error) {
	number, known := strings.CutPrefix(xact, xactPrefix)
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || !known {
		return outbox.Unknown, fmt.Errorf("memory: ask for the outcome of a commit: %.64q is no transaction of this store; give what Append answered", xact)
	}
	for {
		outcome, busy := w.outcome(id)
		if busy == nil {
			return outcome, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return outbox.Unknown, fmt.Errorf("memory: ask for the outcome of a commit: the transaction is in progress: %w", ctx.Err())
		}
	}
}

// outcome answers what became of a transaction, or what closes when it has come nearer to its end.
func (w writer) outcome(id uint64) (outbox.Outcome, <-chan struct{}) {
	s := w.st
	s.mu.Lock()
	defer s.mu.Unlock()
	for tx := range s.open {
		if tx.id == id {
			return outbox.Unknown, tx.freed
		}
	}
	if _, aborted := s.aborted[id]; aborted {
		return outbox.RolledBack, nil
	}
	if id > s.begun {
		return outbox.Unknown, nil
	}
	return outbox.Committed, nil
}

// Definite implements outbox.Writer. A commit fails here for a deadlock, or for a context that has ended, of which it
// cannot be told whose it is.
func (w writer) Definite(err error) bool { return errors.Is(err, ErrDeadlock) }
