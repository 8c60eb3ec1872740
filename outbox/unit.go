package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A Unit buffers the messages of one transaction, which Do, or Write, writes together at its end. They belong to the whole
// transaction, savepoints or not. It belongs to the goroutine of Do's function.
type Unit struct {
	ctx   context.Context
	box   *Outbox
	all   written
	err   error
	ended bool // Do's function has returned
}

// Publish adds m and answers its id. What is wrong with m makes Do fail, whatever its function returns. Once that has
// returned, there is no transaction any more to which m could belong: the id is then empty, and nothing is published.
func (u *Unit) Publish(m sixfold.Message, opts ...Option) (id string) {
	if u.ended {
		return ""
	}
	w, err := u.box.kept(u.ctx, m, opts)
	if err != nil {
		u.err = errors.Join(u.err, err)
		return ""
	}
	u.all.add(w)
	return w.id
}

// Unit makes a Unit for a transaction that the caller opens and ends: what it publishes is kept until Write.
func (o *Outbox) Unit(ctx context.Context) *Unit { return &Unit{ctx: ctx, box: o} }

// Write ends a Unit made by Outbox.Unit and writes its messages in tx, as Publish would have. A message that may not be sent
// refuses all of them, before anything is written.
func (u *Unit) Write(ctx context.Context, tx sqltx.Tx) error {
	u.ended = true
	switch {
	case u.err != nil:
		return u.err
	case tx.IsZero():
		return fmt.Errorf("outbox: publish: %w", sqltx.ErrNoTx)
	}
	return u.box.write(ctx, tx, u.all)
}

// Do opens a transaction of the caller's own kind, runs fn, writes what fn published, commits, and wakes the relay.
// With a DB that has CommitWith the messages and COMMIT are one round trip.
//
// An error of fn, or a message that may not be sent, rolls back. When the connection is lost during COMMIT, Do asks the
// database what became of the transaction and reports just that; only if nobody can say, the error wraps
// sqltx.ErrCommitUnknown. ErrDuplicateMessage, of messages with ID or Unique that were there before, rolls back.
func Do[X any](ctx context.Context, o *Outbox, db sqltx.DB[X], fn func(ctx context.Context, tx X, u *Unit) error) error {
	if err := db.Err(); err != nil {
		return err
	}
	u := &Unit{ctx: ctx, box: o}
	var err error
	if db.CommitWith != nil {
		err = db.CommitWith(ctx, func(x X) ([]sqltx.Statement, error) {
			ferr := fn(ctx, x, u)
			u.ended = true
			return u.statements(ctx, db.Tx(x), ferr)
		})
	} else {
		err = doPlain(ctx, o, db, u, fn)
	}
	if err == nil {
		u.committed()
	}
	return err
}

func doPlain[X any](ctx context.Context, o *Outbox, db sqltx.DB[X], u *Unit, fn func(context.Context, X, *Unit) error) error {
	finished, xact := false, ""
	err := db.Run(ctx, func(x X) (err error) {
		err = fn(ctx, x, u)
		u.ended = true
		if err := errors.Join(err, u.err); err != nil {
			return err
		}
		xact, err = u.write(ctx, db.Tx(x))
		finished = err == nil
		return err
	})
	if err == nil || !finished || o.writer.Definite(err) {
		return err
	}
	return o.settleCommit(ctx, xact, err)
}

// settleCommit finds out what became of a COMMIT whose answer was lost.
func (o *Outbox) settleCommit(ctx context.Context, xact string, err error) error {
	if xact == "" {
		return fmt.Errorf("outbox: commit: %w: %w", sqltx.ErrCommitUnknown, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	outcome, oerr := o.writer.Outcome(ctx, xact)
	switch {
	case oerr == nil && outcome == Committed:
		return nil
	case oerr == nil && outcome == RolledBack:
		return fmt.Errorf("outbox: commit: the transaction was rolled back and may be done again: %w", err)
	}
	return fmt.Errorf("outbox: commit: %w: %w", sqltx.ErrCommitUnknown, errors.Join(err, oerr))
}

// write appends what was published, and answers the transaction's identification.
func (u *Unit) write(ctx context.Context, tx sqltx.Tx) (xact string, err error) {
	var refused []string
	for _, t := range [...]Table{ToBroker, ToLocal} {
		rows := u.rows(t)
		if len(rows) == 0 {
			continue
		}
		dup, x, err := u.box.writer.Append(ctx, tx, t, rows, xact == "")
		if err != nil {
			return "", fmt.Errorf("outbox: publish: %w", err)
		}
		if x != "" {
			xact = x
		}
		for _, i := range dup {
			refused = append(refused, rows[i].ID)
		}
	}
	if rows := u.all.delayed; len(rows) > 0 {
		dup, x, err := u.box.writer.Delay(ctx, tx, rows, xact == "")
		if err != nil {
			return "", fmt.Errorf("outbox: publish: %w", err)
		}
		if x != "" {
			xact = x
		}
		for _, i := range dup {
			refused = append(refused, rows[i].ID)
		}
	}
	return xact, duplicates(refused)
}

// statements are the last ones of a transaction that commits in the same round trip. Rows with claims must be asked
// for, and are written at once.
func (u *Unit) statements(ctx context.Context, tx sqltx.Tx, err error) ([]sqltx.Statement, error) {
	if err := errors.Join(err, u.err); err != nil {
		return nil, err
	}
	if len(u.all.delayed) > 0 { // rows for a later time are few
		_, err := u.write(ctx, tx)
		return nil, err
	}
	var out []sqltx.Statement
	for _, t := range [...]Table{ToBroker, ToLocal} {
		rows := u.rows(t)
		if len(rows) == 0 {
			continue
		}
		if claimed(rows) {
			_, err := u.write(ctx, tx)
			return nil, err
		}
		s, err := u.box.writer.Prepare(t, rows)
		if err != nil { // too much for one statement: it costs round trips of its own
			_, err = u.write(ctx, tx)
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (u *Unit) rows(t Table) []Row {
	if t == ToLocal {
		return u.all.local
	}
	return u.all.broker
}

func claimed(rows []Row) bool {
	for i := range rows {
		if rows[i].Claim != "" {
			return true
		}
	}
	return false
}

func (u *Unit) committed() {
	for _, t := range [...]Table{ToBroker, ToLocal} {
		if len(u.rows(t)) > 0 {
			u.box.store.Bell(t).Ring(Now)
		}
	}
	if len(u.all.delayed) > 0 {
		u.box.store.Bell(Later).Ring(Now)
	}
}
