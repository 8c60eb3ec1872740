package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Answers keeps the answers to requests, for those that come again. It satisfies request.AnswerStore, whose words say what each
// method does. It is safe for concurrent use.
type Answers struct {
	*scheduleSQL
	passing                   func(error) bool
	enter, known, save, prune myStatement
}

// Answers of the store. Always the same one.
func (s *Store) Answers() *Answers { return &s.answers }

func newAnswers(s *Store, d *scheduleSQL) Answers {
	return Answers{scheduleSQL: d, passing: s.inbox.Passing,
		enter: d.statement(d.ignore + "INTO {{answer}} (message, digest, content_type, body, at) VALUES (?1, ?2, '', NULL, @now)" + d.ignoreTail("message")),
		known: d.statement("SELECT digest, content_type, body FROM {{answer}} WHERE message = ?1"),
		save:  d.statement("UPDATE {{answer}} SET content_type = ?2, body = ?3 WHERE message = ?1"),
		prune: d.statement("DELETE FROM {{answer}} WHERE message IN (SELECT message FROM (SELECT message FROM {{answer}} WHERE at < @ago(?1) ORDER BY at LIMIT ?2) old)"),
	}
}

var errNoAnswer = errors.New("store: the answer of a request is gone, or was never finished; ask again")

// Enter enters a request in tx. If it was there, its answer comes back, and whether its digest is the same. It waits for another
// transaction that is entering it.
func (a *Answers) Enter(ctx context.Context, tx sqltx.Tx, message, digest [16]byte) (first, same bool, contentType string, body []byte, err error) {
	n, err := a.exec(ctx, tx, a.enter, message[:], digest[:])
	if err != nil || n == 1 {
		return n == 1, true, "", nil, failed("enter a request", err)
	}
	var of []byte
	err = a.each(ctx, tx, a.known, func(r sqltx.Rows) error { return r.Scan(&of, &contentType, &body) }, message[:])
	if err == nil && contentType == "" {
		err = errNoAnswer
	}
	return false, bytes.Equal(of, digest[:]), contentType, body, failed("look for an answer", err)
}

// Save keeps the answer to a request that was entered in tx.
func (a *Answers) Save(ctx context.Context, tx sqltx.Tx, message [16]byte, contentType string, body []byte) error {
	if body == nil {
		body = []byte{}
	}
	_, err := a.exec(ctx, tx, a.save, message[:], contentType, body)
	return failed("keep an answer", err)
}

// Prune removes up to limit answers that are older than keep, by the database's clock.
func (a *Answers) Prune(ctx context.Context, keep time.Duration, limit int) (int, error) {
	n, err := a.db.ExecSQL(ctx, a.text(a.prune), a.prune.values([]any{keep.Microseconds(), limit})...)
	return int(n), failed("remove old answers", err)
}

// Passing reports whether err is the infrastructure's own, as inbox.Store.Passing does.
func (a *Answers) Passing(err error) bool { return a.passing(err) }
