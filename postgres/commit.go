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
	conn   *pgxpool.Conn
	begun  pgx.Tx  // pgx's own
	handle *handle // what fn is given
	id     identity
}

func commitWith(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) ([]sqltx.Statement, error)) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	t := transaction{conn: conn}
	defer t.end(ctx) // also when fn panics
	if err := t.begin(ctx); err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	last, err := fn(t.handle)
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

// begin sends BEGIN and asks for the transaction's id, in one round trip.
func (t *transaction) begin(ctx context.Context) error {
	c := t.conn.Conn().PgConn()
	run, known := c.CustomData()[runKey].(string)
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{})
	b.Queue("select pg_current_xact_id()")
	if !known {
		b.Queue("select " + runOfServer)
	}
	br := t.conn.SendBatch(ctx, &b)
	t.begun = br.Tx()
	_, err := br.Exec()
	if err == nil {
		err = br.QueryRow().Scan(&t.id.xid)
	}
	if err == nil && !known {
		if err = br.QueryRow().Scan(&run); err == nil {
			c.CustomData()[runKey] = run
		}
	}
	if cerr := br.Close(); err == nil { // it repeats an error
		err = cerr
	}
	t.id.run = run
	t.handle = &handle{Tx: t.begun, state: new(handleState)}
	return err
}

// usable says why fn left nothing that could be committed.
func (t *transaction) usable() error {
	c := t.conn.Conn().PgConn()
	switch {
	case c.IsBusy():
		return errBusy
	case c.IsClosed():
		return errLost
	case c.TxStatus() == 'E':
		return errDead
	case c.TxStatus() != 'T':
		return errEnded
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
	var b pgx.Batch
	for i := range ss {
		b.Queue(ss[i].SQL, ss[i].Args...)
	}
	b.Queue("commit")
	br := t.conn.SendBatch(ctx, &b)
	defer br.Close()
	var tag pgconn.CommandTag
	for range b.Len() {
		var err error
		if tag, err = br.Exec(); err != nil {
			return err
		}
	}
	if tag.String() != "COMMIT" {
		return errDead
	}
	return nil // COMMIT was answered, whatever happens to the connection now
}

// undecided reports whether the connection is whole and the transaction still open, so that it is ours to roll back.
func (t *transaction) undecided() bool {
	c := t.conn.Conn().PgConn()
	return !c.IsClosed() && c.TxStatus() != 'I'
}

// isAnswer reports whether err of COMMIT is the server's own word that nothing was committed, or means that nothing
// was sent. An error that ends the session is neither: it may come after the commit.
func isAnswer(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		severity := pg.SeverityUnlocalized
		if severity == "" {
			severity = pg.Severity
		}
		return severity == "ERROR"
	}
	return errors.Is(err, errDead) || errors.As(err, new(pgx.ErrPreprocessingBatch)) || pgconn.SafeToRetry(err)
}

// end rolls back what is still open, closes the pgx.Tx so that nobody can use it any more, and gives the connection
// back. The pool drops one that is closed, busy, or in a transaction.
func (t *transaction) end(ctx context.Context) {
	if t.conn == nil {
		return
	}
	conn := t.conn
	t.conn = nil
	defer conn.Release()
	if t.handle == nil {
		return
	}
	large := t.handle.state.close()
	c := conn.Conn().PgConn()
	switch {
	case c.TxStatus() != 'I' && !c.IsClosed():
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
		defer cancel()
		_ = t.begun.Rollback(ctx) // the reason for it is the error that counts
	case large:
		// Large objects go past the handle. With a context that has ended, pgx marks its transaction as closed and sends
		// nothing; not always, since a tracer would see it.
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = t.begun.Commit(ended)
	}
}
