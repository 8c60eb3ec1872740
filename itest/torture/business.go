package main

import (
	"context"

	"github.com/sixfold-go/sixfold/sqltx"
)

// business is what an application does in transactions of its own library, X.
type business[X any] interface {
	// fast commits in one round trip where the library can; plain does as any application.
	fast() sqltx.DB[X]
	plain() sqltx.DB[X]
	// begin runs fn in a transaction without Sixfold.
	begin(ctx context.Context, fn func(X) error) error
	// below runs fn below a savepoint and takes it back.
	below(ctx context.Context, tx X, fn func(X) error) error
	// count raises the counters of keys, whose new numbers it answers, and notes the transaction.
	count(ctx context.Context, tx X, keys []string, id string) ([]int64, error)
	// poison notes the message that is poison to a consumer, if there is none yet.
	poison(ctx context.Context, tx X, consumer, key string, n int64) (bool, error)
	// effects adds rows to the table effect, in their order.
	effects(ctx context.Context, tx X, consumer string, keys []string, numbers []int64, ids []string) error
	// cut has the transaction's connection cut when COMMIT is sent: with the batch, or as a statement. Nil: it cannot.
	cut(ctx context.Context, tx X, batch, swallow bool) *cuttable
	// rolledBack reports whether the answer to COMMIT is the server's word that nothing was committed.
	rolledBack(err error) bool
	// passing is an error like those that go away when a transaction is run again.
	passing() error
}
