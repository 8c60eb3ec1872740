package store

import (
	"bytes"
	"context"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteInbox implements inbox.Store.
type liteInbox struct {
	*lite
	parking                                                      *liteParking
	record, adopt, state, parked, behind, suspect, forget, prune string
}

func newLiteInbox(l *lite) *liteInbox {
	fill := l.names.fill
	return &liteInbox{lite: l, parking: newLiteParking(l),
		record: fill(`INSERT INTO {{inbox}} (consumer, message, digest, state, at) SELECT ?1, ?2, ?3, 1, ?5
WHERE NOT EXISTS (SELECT 1 FROM {{line}} WHERE consumer = ?1 AND key = ?4) ON CONFLICT (consumer, message) DO NOTHING`),
		parked: fill("SELECT 1 FROM {{line}} WHERE consumer = ?1 AND key = ?2 LIMIT 1"),
		adopt:  fill("UPDATE {{inbox}} SET state = 1, digest = ?3, at = ?4 WHERE consumer = ?1 AND message = ?2 AND state = 0"),
		behind: fill("INSERT INTO {{inbox}} (consumer, message, digest, state, at) VALUES (?1, ?2, ?3, 2, ?4) " +
			"ON CONFLICT (consumer, message) DO UPDATE SET state = 2, digest = excluded.digest, at = excluded.at"),
		state: fill("SELECT state, digest FROM {{inbox}} WHERE consumer = ?1 AND message = ?2"),
		suspect: fill(`INSERT INTO {{inbox}} (consumer, message, digest, state, attempts, at) VALUES (?1, ?2, ?3, 0, 1, ?4)
ON CONFLICT (consumer, message) DO UPDATE SET attempts = min(attempts + 1, 32767), at = excluded.at WHERE state = 0 RETURNING attempts`),
		forget: fill("DELETE FROM {{inbox}} WHERE consumer = ?1 AND message = ?2 AND state = 0"),
		prune: fill("DELETE FROM {{inbox}} WHERE rowid IN (SELECT rowid FROM {{inbox}} WHERE at < ?1 AND state <> 2 " +
			"AND NOT (state = 3 AND EXISTS (SELECT 1 FROM {{parked}} p WHERE p.consumer = {{bare inbox}}.consumer AND p.message = {{bare inbox}}.message)) ORDER BY at LIMIT ?2)"),
	}
}

// Record implements inbox.Store.
func (b *liteInbox) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	verdicts := make([]inbox.Verdict, len(recs))
	now := b.now()
	for i := range recs {
		r := &recs[i]
		n, err := tx.Exec(ctx, b.record, consumer, r.Message[:], r.Digest[:], orNil(r.Key), now)
		if err == nil && n == 0 {
			verdicts[i], err = b.verdict(ctx, tx, consumer, r, now)
		}
		if err != nil {
			return nil, failed("record in the inbox", err)
		}
	}
	return verdicts, nil
}

// verdict on a record that could not be entered. The transaction has the write lock, so nothing changes meanwhile.
func (b *liteInbox) verdict(ctx context.Context, tx sqltx.Tx, consumer string, r *inbox.Record, now int64) (inbox.Verdict, error) {
	parked, err := exists(ctx, tx, b.parked, consumer, orNil(r.Key))
	if err != nil {
		return 0, err
	}
	state, digest := 0, []byte(nil)
	err = tx.Each(ctx, b.state, []any{consumer, r.Message[:]}, func(rows sqltx.Rows) error { return rows.Scan(&state, &digest) })
	switch {
	case err != nil:
		return 0, err
	case state > 0 && !bytes.Equal(digest, r.Digest[:]):
		return inbox.Reused, nil
	case state > 0:
		return verdictCodes[state], nil
	case parked:
		_, err = tx.Exec(ctx, b.behind, consumer, r.Message[:], r.Digest[:], now)
		return inbox.Behind, err
	}
	_, err = tx.Exec(ctx, b.adopt, consumer, r.Message[:], r.Digest[:], now)
	return inbox.First, err
}

// Suspect implements inbox.Store.
func (b *liteInbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	attempts := make([]int, len(recs))
	if len(recs) == 0 {
		return attempts, nil
	}
	err := b.db.InTx(ctx, func(tx sqltx.Tx) error {
		for i := range recs {
			err := tx.Each(ctx, b.suspect, []any{consumer, recs[i].Message[:], recs[i].Digest[:], b.now()}, func(r sqltx.Rows) error { return r.Scan(&attempts[i]) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed("count attempts in the inbox", err)
	}
	return attempts, nil
}

// Forget implements inbox.Store.
func (b *liteInbox) Forget(ctx context.Context, consumer string, recs []inbox.Record) error {
	if len(recs) == 0 {
		return nil
	}
	return failed("forget attempts in the inbox", b.db.InTx(ctx, func(tx sqltx.Tx) error {
		for i := range recs {
			if _, err := tx.Exec(ctx, b.forget, consumer, recs[i].Message[:]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Prune implements inbox.Store.
func (b *liteInbox) Prune(ctx context.Context, keep time.Duration, limit int) (int, error) {
	n, err := b.db.ExecSQL(ctx, b.prune, b.now()-keep.Microseconds(), limit)
	if err != nil {
		return 0, failed("prune the inbox", err)
	}
	return int(n), nil
}

// Parking implements inbox.Store.
func (b *liteInbox) Parking() inbox.Parking { return b.parking }

// Passing implements inbox.Store: another transaction has the write lock, or wrote since this one began to read.
func (b *liteInbox) Passing(err error) bool {
	switch sqliteCode(err) & 0xff {
	case 5, 6: // BUSY, LOCKED
		return true
	}
	return false
}
