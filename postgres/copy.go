package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// copyChunk is how many bytes of rows are collected before they are sent.
const copyChunk = 1 << 20

var errCopyStore = errors.New("postgres: publish: the outbox is not of store.Postgres, whose tables COPY writes to; make it with outbox.New(st.Outbox(), …)")

// PublishAll is the PublishAll of box for very many messages: it writes them by COPY, and takes them one after the other,
// so that they need not be in memory at once. Checks, routes, ids and the order of a key are those of box.PublishAll.
// Messages with outbox.ID or outbox.Unique are written by INSERT, since their answer must be read.
//
// It works in a savepoint of tx. When it fails, for a message that may not be sent or for an error of the database,
// nothing of the call remains and tx is usable, unless the connection was lost. Duplicates are refused alone, as by
// box.PublishAll: the error matches outbox.ErrDuplicateMessage, and the others are written. It costs four round trips and one
// per megabyte: below some hundred messages box.PublishAll is as fast.
//
// COPY takes the lock that the relay's rule for gaps relies on (RowExclusiveLock on the table, held until tx ends)
// before it takes numbers of the sequence, as INSERT does.
func PublishAll(ctx context.Context, box *outbox.Outbox, tx pgx.Tx, items iter.Seq[outbox.Item]) (ids []string, err error) {
	if tx == nil {
		return nil, fmt.Errorf("postgres: publish: %w", sqltx.ErrNoTx)
	}
	st, ok := box.Store().(*store.Outbox)
	if !ok {
		return nil, errCopyStore
	}
	b := bulk{store: st}
	for i, t := range bothTables() {
		schema, table := st.Place(t)
		if schema == "" {
			return nil, errCopyStore
		}
		b.tables[i] = newCopier(t, schema, table)
	}
	if b.tx, err = tx.Begin(ctx); err != nil {
		return nil, fmt.Errorf("postgres: publish: %w", err)
	}
	undo := true
	defer func() { // also when items panics
		if undo {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
			defer cancel()
			if rerr := b.tx.Rollback(ctx); rerr != nil && !errors.Is(rerr, pgx.ErrTxClosed) {
				err = errors.Join(err, fmt.Errorf("postgres: publish: roll back: %w", rerr))
			}
		}
	}()
	if ids, err = b.write(ctx, box, items); err != nil {
		return nil, err
	}
	if err := b.tx.Commit(ctx); err != nil { // releases the savepoint
		return nil, fmt.Errorf("postgres: publish: %w", err)
	}
	undo = false
	for i, t := range bothTables() {
		if b.tables[i].any {
			st.Bell(t).Ring(outbox.Soon)
		}
	}
	if len(b.refused) > 0 {
		return ids, &outbox.DuplicateError{IDs: b.refused}
	}
	return ids, nil
}

// bothTables are those that are copied into.
func bothTables() [2]outbox.Table { return [2]outbox.Table{outbox.ToBroker, outbox.ToLocal} }

// bulk is one call of PublishAll.
type bulk struct {
	store   *store.Outbox
	tx      pgx.Tx
	tables  [2]*copier // of bothTables
	refused []string
}

func (b *bulk) write(ctx context.Context, box *outbox.Outbox, items iter.Seq[outbox.Item]) (ids []string, err error) {
	for it := range items {
		id, broker, local, err := box.Rows(ctx, it)
		if err != nil {
			return nil, fmt.Errorf("message number %d: %w", len(ids)+1, err)
		}
		ids = append(ids, id)
		for i, rows := range [...][]outbox.Row{broker, local} {
			for j := range rows {
				if err := b.add(ctx, b.tables[i], &rows[j]); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, c := range b.tables {
		if err := b.flush(ctx, c); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// add takes a row in, behind all that came before.
func (b *bulk) add(ctx context.Context, c *copier, r *outbox.Row) error {
	claimed := r.Claim != ""
	if claimed && !c.empty() || !claimed && len(c.claims) > 0 || c.size() > copyChunk {
		if err := b.flush(ctx, c); err != nil {
			return err
		}
	}
	c.any = true
	if claimed {
		c.claims = append(c.claims, *r)
		c.claimed += len(r.Attrs) + len(r.Body)
		return nil
	}
	return c.add(r)
}

// flush writes what a table's copier holds.
func (b *bulk) flush(ctx context.Context, c *copier) error {
	if len(c.claims) > 0 {
		dup, _, err := b.store.Writer().Append(ctx, sqltx.Pgx(b.tx), c.table, c.claims, false)
		if err != nil {
			return fmt.Errorf("postgres: publish: %w", err)
		}
		for _, i := range dup {
			b.refused = append(b.refused, c.claims[i].ID)
		}
		clear(c.claims)
		c.claims, c.claimed = c.claims[:0], 0
	}
	if c.empty() {
		return nil
	}
	tag, err := b.tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.end()), c.sql)
	if err != nil {
		return copyFailed(c.table, err)
	}
	if n := tag.RowsAffected(); n != c.rows {
		return fmt.Errorf("postgres: publish: copy to %s: %d of %d rows were written; look for a trigger that drops rows", c.table, n, c.rows)
	}
	c.begin()
	return nil
}

// copyFailed says what to do where the server's answer has a known remedy.
func copyFailed(t outbox.Table, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "42P01", "3F000", "42703": // undefined table, schema, column
			return fmt.Errorf("postgres: publish: copy to %s: %w: run `sixfold migrate up` or call Migrate: %w", t, store.ErrSchema, err)
		case "42501":
			return fmt.Errorf("postgres: publish: copy to %s: the database role lacks a privilege; run the script of `sixfold grants`: %w", t, err)
		case "25006":
			return fmt.Errorf("postgres: publish: copy to %s: the database is read-only; connect to the primary: %w", t, err)
		}
	}
	return fmt.Errorf("postgres: publish: copy to %s: %w", t, err)
}
