package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/sqltx"
)

// rollbackLimit bounds a rollback, which goes on after ctx has ended. A connection that does not manage is closed.
const rollbackLimit = 10 * time.Second

var (
	errEnded = fmt.Errorf("postgres: commit: fn ended the transaction itself: %w; return from fn to commit, or return an error to roll back", pgx.ErrTxClosed)
	errBusy  = errors.New("postgres: commit: rows of a query are still open; close them before fn returns")
	errLost  = fmt.Errorf("postgres: commit: the connection was lost before COMMIT was sent, so the transaction is rolled back: %w; it may be done again", net.ErrClosed)
	errDead  = fmt.Errorf("postgres: commit: a statement of fn failed, and fn returned no error: %w; return the statement's error", pgx.ErrTxCommitRollback)
)

// A transaction is one call of CommitWith.
type transaction struct {
	pooled *pgxpool.Conn
	conn   *pgx.Conn
	own    *connState
	tx     handle // what fn is given
	id     identity
}

func commitWith(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) ([]sqltx.Statement, error)) error {
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	t := &transaction{pooled: pooled, conn: pooled.Conn()}
	defer t.end(ctx) // also when fn panics
	if err := t.begin(ctx); err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	last, err := fn(&t.tx)
	if err != nil {
		return err
	}
	if err := t.usable(); err != nil {
		return err
	}
	asked := 0 // statements whose rows are read before COMMIT is sent
	for i := range last {
		if last[i].Scan != nil {
			asked = i + 1
		}
	}
	if asked > 0 {
		if err := t.run(ctx, last[:asked]); err != nil {
			return err
		}
	}
	err = t.commit(ctx, last[asked:])
	if err == nil || t.undecided() || isAnswer(err) {
		return err
	}
	t.end(ctx) // the pool gets its place back before we wait
	return settle(ctx, pool, t.id, err)
}

// usable says why fn left nothing that could be committed.
func (t *transaction) usable() error {
	c := t.conn.PgConn()
	switch {
	case c.IsBusy():
		return errBusy
	case c.IsClosed():
		return errLost
	case t.tx.state.ended || c.TxStatus() == 'I':
		return errEnded
	case c.TxStatus() != 'T':
		return errDead
	}
	return nil
}

// run sends statements in one round trip and reads their rows.
func (t *transaction) run(ctx context.Context, ss []sqltx.Statement) error {
	var b pgx.Batch
	for i := range ss {
		b.Queue(ss[i].SQL, ss[i].Args...)
	}
	br := t.conn.SendBatch(ctx, &b)
	defer br.Close()
	for i := range ss {
		if err := read(br, ss[i].Scan); err != nil {
			return err
		}
	}
	return br.Close()
}

func read(br pgx.BatchResults, scan func(sqltx.Rows) error) error {
	if scan == nil {
		_, err := br.Exec()
		return err
	}
	rows, err := br.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// commit sends the rest of the statements with COMMIT, in one round trip. The server runs nothing behind a statement
// that fails, so COMMIT neither.
func (t *transaction) commit(ctx context.Context, ss []sqltx.Statement) error {
	tag, err := t.sendLast(ctx, ss)
	if err == nil && tag.String() != "COMMIT" {
		err = errDead
	}
	return err
}

func (t *transaction) sendLast(ctx context.Context, ss []sqltx.Statement) (tag pgconn.CommandTag, err error) {
	if t.own.takes(ss) {
		return t.own.send(ctx, t.conn, ss)
	}
	var b pgx.Batch
	for i := range ss {
		b.Queue(ss[i].SQL, ss[i].Args...)
	}
	b.Queue("commit")
	br := t.conn.SendBatch(ctx, &b)
	defer br.Close() // once COMMIT was answered, nothing that happens to the connection matters
	for range b.Len() {
		if tag, err = br.Exec(); err != nil {
			return tag, err
		}
	}
	return tag, nil
}

// undecided reports whether the connection is whole and the transaction still open, so that it is ours to roll back.
func (t *transaction) undecided() bool {
	c := t.conn.PgConn()
	return !c.IsClosed() && c.TxStatus() != 'I'
}

// isAnswer reports whether err of COMMIT is the server's own word that nothing was committed, or means that COMMIT
// was not sent. An error that ends the session is neither: it may come after the commit. pgconn.SafeToRetry is not
// asked: it also holds for "conn closed", which can be the last of several errors of one batch.
func isAnswer(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		severity := pg.SeverityUnlocalized
		if severity == "" {
			severity = pg.Severity
		}
		return severity == "ERROR"
	}
	return errors.Is(err, errDead) || errors.As(err, new(unsent)) || errors.As(err, new(pgx.ErrPreprocessingBatch))
}

// end rolls back what is still open, closes the pgx.Tx so that nobody can use it any more, and gives the connection
// back. The pool drops one that is closed, busy, or in a transaction.
func (t *transaction) end(ctx context.Context) {
	if t.pooled == nil {
		return
	}
	defer t.pooled.Release()
	t.pooled = nil
	if t.undecided() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
		defer cancel()
		if _, err := t.conn.Exec(ctx, "rollback"); err != nil { // the reason for it is the error that counts
			_ = t.conn.Close(ctx)
		}
	}
	t.tx.close()
}
