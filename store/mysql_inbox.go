package store

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myInbox implements inbox.Store.
type myInbox struct {
	*my
	parking                                 *myParking
	record, state, adopt, behind            myStatement
	records, lines                          string
	suspect, attempts, forget, oldest, drop myStatement
}

const myRecordRow = "(?, ?, ?, 1, " + myNow + ")"

func newMyInbox(m *my) *myInbox {
	s := m.statement
	b := &myInbox{my: m, parking: newMyParking(m),
		record:  s("INSERT INTO {{inbox}} (consumer, message, digest, state, at) VALUES (?1, ?2, ?3, 1, " + myNow + ")"),
		records: s("INSERT INTO {{inbox}} (consumer, message, digest, state, at) VALUES ").sql,
		// What others committed since this transaction began to read is wanted, and the row must stay as it is.
		state:    s("SELECT state, digest FROM {{inbox}} WHERE consumer = ?1 AND message = ?2 LOCK IN SHARE MODE"),
		adopt:    s("UPDATE {{inbox}} SET state = 1, digest = ?3, at = " + myNow + " WHERE consumer = ?1 AND message = ?2 AND state = 0"),
		behind:   s("UPDATE {{inbox}} SET state = 2 WHERE consumer = ?1 AND message = ?2"),
		lines:    s("SELECT key FROM {{line}} WHERE consumer = ?1 AND key IN (").sql,
		suspect:  s("INSERT INTO {{inbox}} (consumer, message, digest, state, attempts, at) VALUES (?1, ?2, ?3, 0, 1, " + myNow + ") ON DUPLICATE KEY UPDATE attempts = CASE WHEN state = 0 THEN least(attempts + 1, 32767) ELSE attempts END, at = CASE WHEN state = 0 THEN " + myNow + " ELSE at END"),
		attempts: s("SELECT attempts FROM {{inbox}} WHERE consumer = ?1 AND message = ?2 AND state = 0 FOR UPDATE"),
		forget:   s("DELETE FROM {{inbox}} WHERE consumer = ?1 AND message = ?2 AND state = 0"),
		oldest: s("SELECT consumer, message FROM {{inbox}} b WHERE at < " + myNow + " - ?1 AND state <> 2 AND NOT (state = 3 AND EXISTS (SELECT 1 FROM {{parked}} p WHERE p.consumer = b.consumer AND p.message = b.message)) " +
			"ORDER BY at LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		drop: s("DELETE FROM {{inbox}} WHERE consumer = ?1 AND message = ?2"),
	}
	return b
}

// Record implements inbox.Store. Nearly always nothing of a batch is there, and one statement enters it; where the server
// finds one that is, it takes back the whole statement, and they are entered one by one.
func (b *myInbox) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	verdicts := make([]inbox.Verdict, len(recs))
	order := byMessage(recs)
	for len(order) > 0 {
		part := order[:min(len(order), myRowsAtMost)]
		order = order[len(part):]
		if err := b.recordPart(ctx, tx, consumer, recs, part, verdicts); err != nil {
			return nil, failed("record in the inbox", err)
		}
	}
	return verdicts, nil
}

func (b *myInbox) recordPart(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record, part []int, verdicts []inbox.Verdict) error {
	if len(part) > 1 {
		args := make([]any, 0, 3*len(part))
		for _, i := range part {
			args = append(args, consumer, recs[i].Message[:], recs[i].Digest[:])
		}
		_, err := tx.Exec(ctx, b.records+myRecordRow+strings.Repeat(", "+myRecordRow, len(part)-1), args...)
		if err == nil {
			return b.hold(ctx, tx, consumer, recs, part, verdicts)
		}
		if mysqlCode(err) != myDuplicate {
			return err
		}
	}
	var ours []int
	for _, i := range part {
		first, err := b.recordOne(ctx, tx, consumer, &recs[i], &verdicts[i])
		if err != nil {
			return err
		}
		if first {
			ours = append(ours, i)
		}
	}
	return b.hold(ctx, tx, consumer, recs, ours, verdicts)
}

// recordOne reports whether the record is ours now. What was removed between two looks is asked again.
func (b *myInbox) recordOne(ctx context.Context, tx sqltx.Tx, consumer string, r *inbox.Record, verdict *inbox.Verdict) (first bool, err error) {
	for range 10 {
		_, err := b.record.exec(ctx, tx, consumer, r.Message[:], r.Digest[:])
		if err == nil {
			return true, nil
		}
		if mysqlCode(err) != myDuplicate {
			return false, err
		}
		state, digest := -1, []byte(nil)
		err = b.state.each(ctx, tx, func(rows sqltx.Rows) error { return rows.Scan(&state, &digest) }, consumer, r.Message[:])
		switch {
		case err != nil:
			return false, err
		case state == 0: // counted as an attempt and not handled
			n, err := b.adopt.exec(ctx, tx, consumer, r.Message[:], r.Digest[:])
			if err != nil || n > 0 {
				return true, err
			}
		case state > 0 && !bytes.Equal(digest, r.Digest[:]):
			*verdict = inbox.Reused
			return false, nil
		case state > 0:
			*verdict = verdictCodes[state]
			return false, nil
		}
	}
	return false, errors.New("messages appear and disappear while they are recorded; prune less often, and keep longer than redelivery takes")
}

// hold marks those of our records whose key has a line. Lines are looked for after all waiting, by a statement of its own:
// while the first message of a key was being parked by somebody else, entering waited for it.
func (b *myInbox) hold(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record, ours []int, verdicts []inbox.Verdict) error {
	args, asked := []any{consumer}, map[string]bool{}
	for _, i := range ours {
		if k := recs[i].Key; k != "" && !asked[k] {
			asked[k] = true
			args = append(args, k)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	held := map[string]bool{}
	err := tx.Each(ctx, b.lines+strings.TrimSuffix(strings.Repeat("?, ", len(asked)), ", ")+")", args, func(r sqltx.Rows) error {
		var k string
		err := r.Scan(&k)
		held[k] = true
		return err
	})
	for _, i := range ours {
		if r := &recs[i]; err == nil && r.Key != "" && held[r.Key] {
			verdicts[i] = inbox.Behind
			_, err = b.behind.exec(ctx, tx, consumer, r.Message[:])
		}
	}
	return err
}

// Suspect implements inbox.Store. It waits for open transactions that record one of recs.
func (b *myInbox) Suspect(ctx context.Context, consumer string, recs []inbox.Record) ([]int, error) {
	attempts := make([]int, len(recs))
	if len(recs) == 0 {
		return attempts, nil
	}
	err := b.db.InTx(ctx, func(tx sqltx.Tx) error {
		for _, i := range byMessage(recs) {
			r := &recs[i]
			if _, err := b.suspect.exec(ctx, tx, consumer, r.Message[:], r.Digest[:]); err != nil {
				return err
			}
			attempts[i] = 0
			if err := b.attempts.each(ctx, tx, func(rows sqltx.Rows) error { return rows.Scan(&attempts[i]) }, consumer, r.Message[:]); err != nil {
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
func (b *myInbox) Forget(ctx context.Context, consumer string, recs []inbox.Record) error {
	if len(recs) == 0 {
		return nil
	}
	return failed("forget attempts in the inbox", b.db.InTx(ctx, func(tx sqltx.Tx) error {
		for _, i := range byMessage(recs) {
			if _, err := b.forget.exec(ctx, tx, consumer, recs[i].Message[:]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Prune implements inbox.Store. Rows that somebody holds are left for the next time.
func (b *myInbox) Prune(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	type record struct{ consumer, message []byte }
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		var old []record
		err := b.oldest.each(ctx, tx, func(r sqltx.Rows) error {
			var one record
			err := r.Scan(&one.consumer, &one.message)
			old = append(old, one)
			return err
		}, keep.Microseconds(), min(limit, math.MaxInt32))
		for _, one := range old {
			if err == nil {
				_, err = b.drop.exec(ctx, tx, one.consumer, one.message)
			}
		}
		n = len(old)
		return err
	})
	if err != nil {
		return 0, failed("prune the inbox", err)
	}
	return n, nil
}

// Parking implements inbox.Store.
func (b *myInbox) Parking() inbox.Parking { return b.parking }

// Passing implements inbox.Store.
func (b *myInbox) Passing(err error) bool { return myPassing(err) }
