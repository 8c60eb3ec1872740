package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/sqltx"
)

const (
	askLimit = 10 * time.Second       // of asking what became of a COMMIT
	askGrace = time.Second            // of the same, once the caller's context has ended
	askFirst = 10 * time.Millisecond  // before it is asked again; doubles up to askLast
	askLast  = 250 * time.Millisecond // between two questions
	orphaned = 500 * time.Millisecond // in progress for this long, a session that waits for its client is ended
)

var (
	errRolledBack = errors.New("the connection was lost and the transaction was rolled back; it may be done again")
	errRestarted  = errors.New("postgres: ask for the transaction: the server was restarted or replaced, and may have given the number of a lost transaction to another one")
	errForgotten  = errors.New("postgres: ask for the transaction: the server no longer knows it")
	errInProgress = errors.New("postgres: ask for the transaction: it is still in progress")
	errReplica    = errors.New("postgres: ask for the transaction: the server is a replica, which may not have heard of it")
)

// settle asks what became of a transaction whose COMMIT failed with err and without an answer: nil when it was
// committed, an error that says so when it was rolled back, else ErrCommitUnknown.
func settle(ctx context.Context, pool *pgxpool.Pool, id identity, err error) error {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(askGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-asking.Done():
		}
	})
	defer stop()

	switch aerr := ask(asking, pool.Config(), id); {
	case aerr == nil:
		return nil
	case errors.Is(aerr, errRolledBack):
		return fmt.Errorf("postgres: commit: %w: %w", aerr, err)
	default:
		return fmt.Errorf("postgres: commit: %w: %w", sqltx.ErrCommitUnknown, errors.Join(err, aerr))
	}
}

// ask answers nil once it knows that the transaction was committed, and errRolledBack once it knows that it was not.
// It connects and asks anew until somebody knows or ctx ends.
func ask(ctx context.Context, config *pgxpool.Config, id identity) (err error) {
	began, pause := time.Now(), askFirst
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for {
		if err = nil; conn == nil || conn.IsClosed() {
			conn, err = connect(ctx, config)
		}
		if err == nil {
			err = id.look(ctx, conn, time.Since(began) >= orphaned)
		}
		if err == nil || final(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause = min(2*pause, askLast)
	}
}

// final reports whether asking again will not change err. The server's own word is final, unless it says that it
// starts or stops (57P), is full (53), or that the connection failed (08).
func final(err error) bool {
	if errors.Is(err, errRolledBack) || errors.Is(err, errRestarted) || errors.Is(err, errForgotten) {
		return true
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, class := range []string{"57P", "53", "08"} {
		if strings.HasPrefix(pg.Code, class) {
			return false
		}
	}
	return true
}

// connect opens a connection with the pool's settings and beside its limit: the pool may hold only connections that
// died together with ours, or have no free place.
func connect(ctx context.Context, config *pgxpool.Config) (*pgx.Conn, error) {
	cc := config.ConnConfig.Copy()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, cc); err != nil {
			return nil, fmt.Errorf("postgres: ask for the transaction: %w", err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, fmt.Errorf("postgres: ask for the transaction: %w", err)
	}
	return conn, nil
}
