package middleware

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/inctx"
	"github.com/sixfold-go/sixfold/sqltx"
)

// ErrNoTransaction says that there is no transaction to work in here.
var ErrNoTransaction = errors.New("there is no transaction")

// TransactionOptions of a Transaction. The zero value, and nil, mean the defaults.
type TransactionOptions struct {
	// Committed is called after each commit. Outbox.Committed of the outbox that handlers publish in wakes its relay at
	// once. Nil: nothing is called.
	Committed func()
}

// A Transaction opens transactions of the user's own kind X around handlers: what a handler writes and what it publishes in
// an outbox commit together, or neither does. It is made once for each database.
//
// InTx and InTxResult make handlers that take their transaction as an argument, so that none can be without it. Calls
// inside of a call join its transaction; when such an inner one fails, its caller must fail too, or what it wrote stays.
type Transaction[X any] struct {
	db        sqltx.DB[X]
	committed func()
}

// NewTransaction makes the Transaction of a database.
func NewTransaction[X any](db sqltx.DB[X], opts *TransactionOptions) (*Transaction[X], error) {
	if err := db.Err(); err != nil {
		return nil, fmt.Errorf("middleware: transaction: %w", err)
	}
	t := &Transaction[X]{db: db}
	if opts != nil {
		t.committed = opts.Committed
	}
	return t, nil
}

// InTx makes a handler of h, which runs in the transaction of ctx, or in one of its own where there is none. It is meant
// for mediator.OnPlain, mediator.OnNotification and sixfold.On. X and M are inferred.
func InTx[X, M any](t *Transaction[X], h func(ctx context.Context, tx X, m M) error) func(ctx context.Context, m M) error {
	if t == nil || h == nil {
		return nil // which is refused where the route is made
	}
	return func(ctx context.Context, m M) error {
		return t.within(ctx, func(ctx context.Context, x X) error { return h(ctx, x, m) })
	}
}

// InTxResult is InTx for a handler with a result, for mediator.OnCommand and mediator.OnQuery. When the transaction does not
// commit, the result is zero.
func InTxResult[X, M, R any](t *Transaction[X], h func(ctx context.Context, tx X, m M) (R, error)) func(ctx context.Context, m M) (R, error) {
	if t == nil || h == nil {
		return nil
	}
	return func(ctx context.Context, m M) (r R, err error) {
		err = t.within(ctx, func(ctx context.Context, x X) (err error) {
			r, err = h(ctx, x, m)
			return err
		})
		if err != nil {
			var none R
			return none, err
		}
		return r, nil
	}
}

// Middleware opens a transaction around what is further in, or joins that of ctx. Retry and Timeout belong outside of it.
// A handler gets the transaction with InTx or From.
func (t *Transaction[X]) Middleware() sixfold.Middleware {
	return sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler { // a DB may run its function again
		return func(ctx context.Context, env *sixfold.Envelope) error {
			return t.within(ctx, func(ctx context.Context, _ X) error { return next(ctx, env) })
		}
	})
}

// From answers the transaction that ctx is in. Errors wrap ErrNoTransaction: outside of one, after its end, and in the
// handlers of a notification that run at the same time, since a transaction belongs to one goroutine.
func (t *Transaction[X]) From(ctx context.Context) (tx X, err error) {
	o, err := t.find(ctx)
	switch {
	case err != nil:
		return tx, err
	case o == nil:
		return tx, fmt.Errorf("middleware: %w of type %s in this context; use the middleware of the same Transaction, or make the handler with InTx", ErrNoTransaction, reflect.TypeFor[X]())
	}
	return o.tx, nil
}

// With makes a transaction that is open already known below ctx, for example that of a handler of package inbox. It stays
// the caller's, who commits it.
func (t *Transaction[X]) With(ctx context.Context, tx X) context.Context {
	return context.WithValue(ctx, t, &open[X]{tx: tx, branch: ctx.Value(inctx.Branch{})})
}

// open is a transaction under way. It is known by its Transaction, so those of two databases do not meet.
type open[X any] struct {
	tx     X
	branch any // where it was opened
	over   atomic.Bool
}

// find answers nil where there is none.
func (t *Transaction[X]) find(ctx context.Context) (*open[X], error) {
	o, _ := ctx.Value(t).(*open[X])
	switch {
	case o == nil:
		return nil, nil
	case o.over.Load():
		return nil, fmt.Errorf("middleware: %w: that of this context has ended; do not use the handler's context after it returned", ErrNoTransaction)
	case o.branch != ctx.Value(inctx.Branch{}):
		return nil, fmt.Errorf("middleware: %w for handlers that run at the same time: it belongs to one goroutine; publish the notification with mediator.InOrder, or after the commit", ErrNoTransaction)
	}
	return o, nil
}

func (t *Transaction[X]) within(ctx context.Context, f func(ctx context.Context, tx X) error) error {
	o, err := t.find(ctx)
	switch {
	case err != nil:
		return err
	case o != nil:
		return f(ctx, o.tx)
	}
	in := func(x X) error {
		o := &open[X]{tx: x, branch: ctx.Value(inctx.Branch{})}
		defer o.over.Store(true)
		return f(context.WithValue(ctx, t, o), x)
	}
	if t.db.CommitWith != nil { // it finds out what became of a commit whose answer was lost
		err = t.db.CommitWith(ctx, func(x X) ([]sqltx.Statement, error) { return nil, in(x) })
	} else {
		err = t.db.Run(ctx, in)
	}
	if err == nil && t.committed != nil {
		t.committed()
	}
	return err
}
