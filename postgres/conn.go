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
	build pgx.ExtendedQueryBuilder
}

// maxTexts bounds what is prepared for good on one connection.
const maxTexts = 16

// stateKey is where a connection keeps its connState.
const stateKey = "github.com/sixfold-go/sixfold/postgres"

// unsent marks an error that came before COMMIT was sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// begin sends BEGIN and asks for the transaction's number, in one round trip, and the first time on a connection for
// the server's run.
func (t *transaction) begin(ctx context.Context) error {
	c := t.conn.PgConn()
	own, known := c.CustomData()[stateKey].(*connState)
	q := "begin;select pg_current_xact_id()"
	if !known {
		config := t.conn.Config()
		own = &connState{texts: map[string]struct{}{}, lower: config.Tracer == nil && config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement}
		q += "," + runOfServer
	}
	results := c.Exec(ctx, q)
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
	c.CustomData()[stateKey] = own
	t.own, t.id.run = own, own.run
	t.tx = handle{conn: t.conn, state: &handleState{}}
	return nil
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

// send sends ss and COMMIT in one round trip, and answers what COMMIT did.
func (s *connState) send(ctx context.Context, conn *pgx.Conn, ss []sqltx.Statement) (tag pgconn.CommandTag, err error) {
	var b pgconn.Batch
	for i := range ss {
		// A round trip the first time only. Under its own text pgx finds it again, also after DeallocateAll.
		sd, err := conn.Prepare(ctx, ss[i].SQL, ss[i].SQL)
		if err != nil {
			return tag, unsent{err}
		}
		if err := s.build.Build(conn.TypeMap(), sd, ss[i].Args); err != nil {
			return tag, unsent{err}
		}
		b.ExecStatement(sd, s.build.ParamValues, s.build.ParamFormats, nil)
	}
	b.ExecParams("commit", nil, nil, nil, nil)
	results := conn.PgConn().ExecBatch(ctx, &b)
	for results.NextResult() {
		var rerr error
		if tag, rerr = results.ResultReader().Close(); err == nil {
			err = rerr
		}
	}
	// The first error counts: what Close says of a connection that was lost before is that it is closed, as if nothing
	// had been sent.
	if cerr := results.Close(); err == nil {
		err = cerr
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "0A000" || pg.Code == "26000") {
		_ = conn.Close(ctx) // what is prepared no longer fits: begin again with another connection
	}
	return tag, err
}
