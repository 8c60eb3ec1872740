package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold/sqltx"
)

// connState is what is kept with a connection between transactions. Nobody uses it at the same time as its connection.
//
// pgx.Batch makes some thirty allocations for two statements. The few texts that come again with every transaction,
// such as the insert of an outbox, are therefore sent by pgx's lower layer, as statements that stay prepared. Where
// that is not wanted (another mode than pgx's default, for a pooler; a tracer that would see nothing of it), and for
// further texts, pgx.Batch does it.
type connState struct {
	run   string // see identity
	lower bool
	texts map[string]struct{}
	last  []lastStatement
}

// maxTexts bounds what is prepared for good on one connection.
const maxTexts = 16

// stateKey is where a connection keeps its connState.
const stateKey = "github.com/sixfold-go/sixfold/postgres"

// unsent marks an error that came before COMMIT was sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// What a transaction begins and ends with, where it is prepared.
const (
	beginText  = "begin"
	numberText = "select pg_current_xact_id()"
	commitText = "commit"
)

// begin sends BEGIN and asks for the transaction's number, in one round trip, and the first time on a connection for
// the server's run. From the second time on both are prepared, which saves the server a fifth of a transaction's cost.
func (t *transaction) begin(ctx context.Context) error {
	own, known := t.conn.PgConn().CustomData()[stateKey].(*connState)
	if known && own.lower {
		err := t.beginPrepared(ctx)
		var pg *pgconn.PgError
		if err == nil || !errors.As(err, &pg) || pg.Code != "26000" {
			t.own, t.id.run = own, own.run
			return err
		}
		// Somebody has thrown away what was prepared (DISCARD ALL), and pgx does not know.
		if err := t.forgetPrepared(ctx); err != nil {
			return err
		}
	}
	if !known {
		config := t.conn.Config()
		own = &connState{texts: map[string]struct{}{}, lower: config.Tracer == nil && config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement}
	}
	return t.beginPlain(ctx, own, known)
}

// beginPlain works in every mode and through every pooler.
func (t *transaction) beginPlain(ctx context.Context, own *connState, known bool) error {
	q := beginText + ";" + numberText
	if !known {
		q += "," + runOfServer
	}
	results := t.conn.PgConn().Exec(ctx, q)
	var perr error
	for results.NextResult() {
		rows := results.ResultReader()
		for rows.NextRow() {
			values := rows.Values()
			t.id.xid, perr = strconv.ParseUint(string(values[0]), 10, 64)
			if !known {
				own.run = string(values[1])
			}
		}
		_, _ = rows.Close() // results.Close repeats its error
	}
	if err := errors.Join(results.Close(), perr); err != nil {
		return err
	}
	t.conn.PgConn().CustomData()[stateKey] = own
	t.own, t.id.run = own, own.run
	t.tx = handle{conn: t.conn, state: &handleState{}}
	return nil
}

func (t *transaction) beginPrepared(ctx context.Context) error {
	begin, err := t.conn.Prepare(ctx, beginText, beginText)
	if err != nil {
		return err
	}
	number, err := t.conn.Prepare(ctx, numberText, numberText)
	if err != nil {
		return err
	}
	p := t.conn.PgConn().StartPipeline(ctx)
	p.SendQueryPrepared(begin.Name, nil, nil, nil)
	p.SendQueryPrepared(number.Name, nil, nil, nil)
	err = p.Sync()
	for whole := err == nil; whole; {
		results, rerr := p.GetResults()
		switch r := results.(type) {
		case nil:
			whole = errors.As(rerr, new(*pgconn.PgError))
		case *pgconn.ResultReader:
			var perr error
			for r.NextRow() {
				t.id.xid, perr = strconv.ParseUint(string(r.Values()[0]), 10, 64)
			}
			_, rerr = r.Close()
			rerr = errors.Join(rerr, perr)
		}
		if err == nil {
			err = rerr
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		t.tx = handle{conn: t.conn, state: &handleState{}}
	}
	return err
}

// forgetPrepared brings a connection whose prepared statements are gone back into order.
func (t *transaction) forgetPrepared(ctx context.Context) error {
	if t.conn.PgConn().TxStatus() != 'I' {
		if _, err := t.conn.PgConn().Exec(ctx, "rollback").ReadAll(); err != nil {
			return err
		}
	}
	return t.conn.DeallocateAll(ctx)
}

// takes reports whether send may be used for ss, and notes their texts.
func (s *connState) takes(ss []sqltx.Statement) bool {
	if !s.lower {
		return false
	}
	for i := range ss {
		if _, ok := s.texts[ss[i].SQL]; !ok {
			if len(s.texts) == maxTexts {
				return false
			}
			s.texts[ss[i].SQL] = struct{}{}
		}
		if len(ss[i].Args) > 0 {
			if _, ok := ss[i].Args[0].(pgx.QueryRewriter); ok {
				return false
			}
		}
	}
	return true
}
