package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// verdictCodes are what inbox_record answers, and up to 3 what the column state holds.
var verdictCodes = [...]inbox.Verdict{1: inbox.Handled, 2: inbox.Parked, 3: inbox.Dead, 4: inbox.Reused, 5: inbox.Behind}

// pgInbox implements inbox.Store.
type pgInbox struct {
	db                                        sqltx.Runner
	parking                                   *pgParking
	recordOne, record, suspect, forget, prune string
}

func newPgInbox(s *Store) *pgInbox {
	return &pgInbox{
		db:      s.db,
		parking: newPgParking(s),
		recordOne: s.names.fill(`INSERT INTO {{inbox}} (consumer, message, digest, state) SELECT $1::text, $2::bytea, $3::bytea, 1
WHERE NOT EXISTS (SELECT 1 FROM {{line}} p WHERE p.consumer = $1::text AND p.key = $4::text) ON CONFLICT (consumer, message) DO NOTHING`),
		record: s.names.fill("SELECT * FROM {{inbox_record}}($1::text, $2::bytea, $3::text::text[])"),
		suspect: s.names.fill(`INSERT INTO {{inbox}} AS b (consumer, message, digest, state, attempts)
SELECT $1::text, substr($2::bytea, g * 32 + 1, 16), substr($2::bytea, g * 32 + 17, 16), 0, 1 FROM generate_series(0, octet_length($2::bytea) / 32 - 1) g
ON CONFLICT (consumer, message) DO UPDATE SET attempts = least(b.attempts + 1, 32767), at = now() WHERE b.state = 0 RETURNING message, attempts`),
		forget: s.names.fill(`DELETE FROM {{inbox}} b USING generate_series(0, octet_length($2::bytea) / 32 - 1) g
WHERE b.consumer = $1::text AND b.message = substr($2::bytea, g * 32 + 1, 16) AND b.state = 0`),
		prune: s.names.fill(`DELETE FROM {{inbox}} WHERE ctid = ANY(ARRAY(SELECT b.ctid FROM {{inbox}} b
WHERE b.at < now() - $1::bigint::double precision * interval '1 microsecond' AND b.state <> 2
  AND NOT (b.state = 3 AND EXISTS (SELECT 1 FROM {{parked}} p WHERE p.consumer = b.consumer AND p.message = b.message)) ORDER BY b.at LIMIT $2::integer FOR UPDATE SKIP LOCKED))`),
	}
}

// Record implements inbox.Store.
func (b *pgInbox) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	verdicts := make([]inbox.Verdict, len(recs))
	if len(recs) == 0 {
		return verdicts, nil
	}
	if len(recs) == 1 {
		r := &recs[0]
		n, err := tx.Exec(ctx, b.recordOne, consumer, r.Message[:], r.Digest[:], orNil(r.Key))
		if err != nil {
			return nil, failed("record in the inbox", err)
		}
		if n == 1 {
			return verdicts, nil
		}
	}
	order := byMessage(recs)
	// What was removed between a look and the next comes back as gone, and is asked again.
	for range 10 {
		gone, err := b.recordOnce(ctx, tx, consumer, recs, order, verdicts)
		if err != nil {
			return nil, failed("record in the inbox", err)
		}
		if len(gone) == 0 {
			return verdicts, nil
		}
		order = gone
	}
	return nil, errors.New("store: record in the inbox: messages appear and disappear while they are recorded; prune less often, and keep longer than redelivery takes")
}

// recordOnce asks for the records whose indexes are in order and answers those to ask again, in the same order.
func (b *pgInbox) recordOnce(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record, order []int, verdicts []inbox.Verdict) (gone []int, err error) {
	var i, code int
	dest := []any{&i, &code}
	err = tx.Each(ctx, b.record, []any{consumer, idsOf(recs, order), keysOf(recs, order)}, func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if code >= len(verdictCodes) {
			gone = append(gone, order[i])
			return nil
		}
		verdicts[order[i]] = verdictCodes[code]
		return nil
	})
	return gone, err
}

// byMessage is the order in which everybody enters records.
func byMessage(recs []inbox.Record) []int {
	order := make([]int, len(recs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(recs[i].Message[:], recs[j].Message[:]) })
	return order
}

func idsOf(recs []inbox.Record, order []int) []byte {
	ids := make([]byte, 0, 32*len(order))
	for _, i := range order {
		ids = append(append(ids, recs[i].Message[:]...), recs[i].Digest[:]...)
	}
	return ids
}

// keysOf is nil when no record has a key.
func keysOf(recs []inbox.Record, order []int) any {
	w, some := newArray(24*len(order)), false
	for _, i := range order {
		some = some || recs[i].Key != ""
		w.textOrNull(recs[i].Key)
	}
	if !some {
		return nil
	}
	return w.String()
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Suspect implements inbox.Store. It waits for open transactions that record one of recs.
func (b *pgInbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	attempts := make([]int, len(recs))
	if len(recs) == 0 {
		return attempts, nil
	}
	at := make(map[[16]byte]int, len(recs))
	for i := range recs {
		at[recs[i].Message] = i
	}
	var message []byte
	var n int
	dest := []any{&message, &n}
	err := b.db.EachRow(ctx, b.suspect, []any{consumer, idsOf(recs, byMessage(recs))}, func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if len(message) != 16 {
			return fmt.Errorf("a message of %d bytes came back", len(message))
		}
		attempts[at[[16]byte(message)]] = n
		return nil
	})
	if err != nil {
		return nil, failed("count attempts in the inbox", err)
	}
	return attempts, nil
}

// Forget implements inbox.Store.
func (b *pgInbox) Forget(ctx context.Context, consumer string, recs []inbox.Record) error {
	if len(recs) == 0 {
		return nil
	}
	_, err := b.db.ExecSQL(ctx, b.forget, consumer, idsOf(recs, byMessage(recs)))
	return failed("forget attempts in the inbox", err)
}

// Prune implements inbox.Store.
func (b *pgInbox) Prune(ctx context.Context, keep time.Duration, limit int) (int, error) {
	n, err := b.db.ExecSQL(ctx, b.prune, keep.Microseconds(), limit)
	if err != nil {
		return 0, failed("prune the inbox", err)
	}
	return int(n), nil
}

// Parking implements inbox.Store.
func (b *pgInbox) Parking() inbox.Parking { return b.parking }

// Passing implements inbox.Store.
func (b *pgInbox) Passing(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch state := sqlState(err); {
	case state == "":
		return lostConnection(err)
	case strings.HasPrefix(state, "08"), strings.HasPrefix(state, "57P0"), strings.HasPrefix(state, "53"):
		return true
	case state == "40001", state == "40P01", state == "55P03", state == "40003", state == "25006":
		return true // serialization failure, deadlock, lock timeout, unknown completion, primary became a replica
	}
	return false
}
