package request

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
)

// AnswerStore is where a database keeps answers; store.Store.Answers makes one.
type AnswerStore interface {
	// Enter enters a request in tx and reports whether it is the first of its name (message). Else it answers what was saved for that,
	// and whether its digest is the same. It waits for another transaction that is entering it.
	Enter(ctx context.Context, tx sqltx.Tx, message, digest [16]byte) (first, same bool, contentType string, body []byte, err error)
	// Save keeps the answer to a request that was entered in tx.
	Save(ctx context.Context, tx sqltx.Tx, message [16]byte, contentType string, body []byte) error
	// Prune removes up to limit answers that are older than keep by the database's clock, and answers how many.
	Prune(ctx context.Context, keep time.Duration, limit int) (int, error)
	// Passing reports whether err is the infrastructure's own, so that the same work in a fresh transaction may succeed.
	Passing(err error) bool
}

// AnswersOptions are optional; nil and the zero value mean the defaults.
type AnswersOptions struct {
	// Retention is how long answers are kept, by the database's clock: a request that comes again later runs again. At least a minute.
	// 0: 24 h.
	Retention time.Duration
	// Logger, or nil for slog.Default.
	Logger *slog.Logger
}

// Answers remembers what was answered to requests, so that one that comes again (ID, Retry) is not run again: see Once. It is
// safe for concurrent use.
type Answers[X any] struct {
	db    sqltx.DB[X]
	store AnswerStore
	o     AnswersOptions
}

// NewAnswers makes the Answers of a database. The error names everything that is wrong and wraps sixfold.ErrInvalid.
func NewAnswers[X any](db sqltx.DB[X], st AnswerStore, opts *AnswersOptions) (*Answers[X], error) {
	a := &Answers[X]{db: db, store: st}
	if opts != nil {
		a.o = *opts
	}
	errs := []error{db.Err()}
	if isNil(st) {
		errs = append(errs, invalid("new answers: the store is nil; pass store.Postgres(…).Answers() or that of another database"))
	}
	if a.o.Retention == 0 {
		a.o.Retention = 24 * time.Hour
	}
	if a.o.Retention < time.Minute {
		errs = append(errs, invalid("option Retention: it is %v; give at least 1m, and more than callers go on asking, or 0 for 24h", a.o.Retention))
	}
	if a.o.Logger == nil {
		a.o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return a, nil
}

// kept is an answer as it travels.
type kept struct {
	contentType string
	body        []byte
}

var errOtherBody = errors.New("a request with its id was answered before, and had another body; give each request an id of its own")

// Once makes a Route of a function that shares one transaction with its answer: for requests of one id (the option ID), of one
// source and message, the effect commits at most once within Retention, and all get the answer that committed with it. Those that come while
// the first one runs wait for it. An id that comes with another body is answered Malformed.
//
// An error rolls back and is not kept: the next request of that id runs again. Where the database's own failure passes, the function runs again
// in a fresh transaction until the deadline.
func Once[X any, C sixfold.Command[R], R any](a *Answers[X], h func(ctx context.Context, tx X, c C) (R, error)) Route {
	r := routeOf[C]()
	switch {
	case a == nil:
		r.err = errors.Join(r.err, invalid("route %.64q: the answers are nil; make them with request.NewAnswers, and look at its error", r.name))
		return r
	case h == nil:
		r.err = errors.Join(r.err, invalid("route %.64q: the handler is nil; pass a function that takes a context, the transaction and the message", r.name))
		return r
	}
	r.maintain = a.maintain
	name := r.name
	r.handle = func(ctx context.Context, env *sixfold.Envelope) (any, error) {
		c, err := sixfold.Decode[C](ctx, env)
		if err != nil {
			return nil, err
		}
		return a.answer(ctx, name, env, func(x X) (any, error) { return h(ctx, x, c) })
	}
	return r
}

// answer runs a request or finds its answer.
func (a *Answers[X]) answer(ctx context.Context, name string, env *sixfold.Envelope, run func(x X) (any, error)) (any, error) {
	s, ok := ctx.Value(servingKey{}).(*serving)
	if !ok {
		return nil, errNoServing
	}
	issuer := env.Source
	if owner := env.Issuer(); owner != "" {
		issuer = "\x00" + owner // as package inbox has it: whose key signed it, which no source can claim
	}
	message := short([]byte(name + "\x00" + issuer + "\x00" + env.ID))
	digest := short(env.Body)
	for try := 0; ; try++ {
		var out kept
		err := a.db.Run(ctx, func(x X) error {
			tx := a.db.Tx(x)
			first, same, contentType, body, err := a.store.Enter(ctx, tx, message, digest)
			switch {
			case err != nil:
				return err
			case !first && !same:
				return Fail(Malformed, fmt.Errorf("request: %.64q with id %.64q: %w", name, env.ID, errOtherBody))
			case !first:
				out = kept{contentType, body}
				return nil
			}
			result, err := run(x)
			if err != nil {
				return err
			}
			if out, err = s.responder.encode(env, result); err != nil {
				return err
			}
			return a.store.Save(ctx, tx, message, out.contentType, out.body)
		})
		if err == nil {
			return out, nil
		}
		if !a.store.Passing(err) || !wait(ctx, min(5*time.Millisecond<<min(try, 8), time.Second)) {
			return nil, err
		}
	}
}

// short is the first half of SHA-256.
func short(data []byte) (half [16]byte) {
	sum := sha256.Sum256(data)
	copy(half[:], sum[:])
	return half
}

// wait waits for d; false: ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// maintain removes old answers, once a minute in small steps, until ctx ends.
func (a *Answers[X]) maintain(ctx context.Context) {
	const step = 1000
	for wait(ctx, time.Minute) {
		for n := step; n == step; {
			var err error
			if n, err = a.store.Prune(ctx, a.o.Retention, step); err != nil && ctx.Err() == nil {
				a.o.Logger.Warn("request: old answers could not be removed; it is tried again in a minute", "err", err)
				break
			}
		}
	}
}
