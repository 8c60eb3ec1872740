package store

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/outbox"
)

type pgKeeper struct{ s *Store }

func newPgKeeper(s *Store) *pgKeeper { return &pgKeeper{s} }

func (k *pgKeeper) Stats(ctx context.Context, t outbox.Table) (outbox.Stats, error) {
	return outbox.Stats{}, errors.New("store: stats: not there yet")
}
func (k *pgKeeper) Purge(ctx context.Context, limit int) (int, error)        { return 0, nil }
func (k *pgKeeper) Check(ctx context.Context) (warnings []string, err error) { return nil, nil }
