package postgres

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sixfold-go/sixfold/sqltx"
)

// lastStatement is one that is about to be sent together with COMMIT. What it is made of is used again.
type lastStatement struct {
	name    string
	values  [][]byte
	formats []int16
	bytes   []byte
	build   pgx.ExtendedQueryBuilder
}

var committed = pgconn.NewCommandTag("COMMIT")

// maxKept bounds the bytes of parameters that a connection keeps room for.
const maxKept = 64 << 10

// send sends ss and COMMIT in one round trip, and answers what COMMIT did.
//
// The statements are put into the connection's buffer without an end; COMMIT, which pgconn then executes as it does any
// statement, brings the end and sends everything. pgconn takes the first error of all that comes back, and the server
// runs nothing behind it; a transaction in which every statement went well does not answer COMMIT with ROLLBACK. pgx.Batch does the same for two kilobytes of garbage, pgconn.Pipeline for a dozen small pieces.
func (s *connState) send(ctx context.Context, conn *pgx.Conn, ss []sqltx.Statement) (tag pgconn.CommandTag, err error) {
	for len(s.last) < len(ss) {
		s.last = append(s.last, lastStatement{})
	}
	// A round trip the first time only. Under its own text pgx finds it again, also after DeallocateAll.
	for i := range ss {
		sd, err := conn.Prepare(ctx, ss[i].SQL, ss[i].SQL)
		if err == nil {
			err = s.last[i].encode(conn.TypeMap(), sd, ss[i].Args)
		}
		if err != nil {
			return tag, unsent{err}
		}
	}
	commit, err := conn.Prepare(ctx, commitText, commitText)
	if err != nil {
		return tag, unsent{err}
	}
	if err := ctx.Err(); err != nil {
		return tag, unsent{err}
	}
	c := conn.PgConn()
	for i := range ss {
		l := &s.last[i]
		c.Frontend().SendBind(&pgproto3.Bind{PreparedStatement: l.name, ParameterFormatCodes: l.formats, Parameters: l.values})
		c.Frontend().SendExecute(&pgproto3.Execute{})
	}
	tag, err = c.ExecPrepared(ctx, commit.Name, nil, nil, nil).Close()
	var pg *pgconn.PgError
	switch {
	case err == nil && len(ss) > 0 && c.TxStatus() == 'I':
		return committed, nil // the tag that comes back is that of the first statement
	case err == nil:
		return tag, nil
	case !errors.As(err, &pg), pg.Code == "0A000", pg.Code == "26000":
		// Where nothing was sent, since ctx had ended, statements stand in the connection's buffer that nobody must send
		// with something else. Or what is prepared no longer fits, and another connection can begin again.
		_ = conn.Close(ctx)
	}
	return tag, err
}

// encode makes the parameters of sd. The kinds that an outbox writes are encoded here, in room that is kept, all others
// by pgx.
func (l *lastStatement) encode(m *pgtype.Map, sd *pgconn.StatementDescription, args []any) error {
	l.name, l.values, l.formats, l.bytes = sd.Name, l.values[:0], l.formats[:0], l.bytes[:0]
	if cap(l.bytes) > maxKept {
		l.bytes = nil
	}
	if !l.plain(sd.ParamOIDs, args) {
		err := l.build.Build(m, sd, args)
		l.values, l.formats = l.build.ParamValues, l.build.ParamFormats
		return err
	}
	return nil
}

// plain encodes args if they are of the kinds that need no look at their type, and reports whether they were.
func (l *lastStatement) plain(oids []uint32, args []any) bool {
	if len(oids) != len(args) {
		return false
	}
	for i, arg := range args {
		var value []byte
		format := int16(pgtype.BinaryFormatCode)
		from := len(l.bytes)
		switch v := arg.(type) {
		case nil:
			l.values, l.formats = append(l.values, nil), append(l.formats, pgtype.TextFormatCode)
			continue
		case string:
			if oids[i] != pgtype.TextOID {
				return false
			}
			l.bytes, format = append(l.bytes, v...), pgtype.TextFormatCode
		case int16:
			if oids[i] != pgtype.Int2OID {
				return false
			}
			l.bytes = binary.BigEndian.AppendUint16(l.bytes, uint16(v))
		case []byte:
			if oids[i] != pgtype.ByteaOID {
				return false
			}
			if v == nil { // NULL, as everywhere
				l.values, l.formats = append(l.values, nil), append(l.formats, format)
				continue
			}
			l.bytes = append(l.bytes, v...)
		default:
			return false
		}
		if value = l.bytes[from:len(l.bytes):len(l.bytes)]; value == nil {
			value = []byte{}
		}
		l.values, l.formats = append(l.values, value), append(l.formats, format)
	}
	return true
}
