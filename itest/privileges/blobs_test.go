package privileges

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// blobs is what consumers do with large bodies, and who removes the old ones.
func blobs(ctx context.Context, w *world, p sqltx.Runner, st *store.Store) error {
	if err := upload(ctx, w, p, st); err != nil {
		return err
	}
	if _, err := st.Blobs().Get(ctx, "a", 10); err != nil {
		return err
	}
	n, err := st.Blobs().Purge(ctx, time.Microsecond)
	if err != nil {
		return err
	}
	return check(n == 1, "%d blobs were purged", n)
}

// upload is what relays do with them.
func upload(ctx context.Context, _ *world, _ sqltx.Runner, st *store.Store) error {
	for range 2 {
		if err := st.Blobs().Put(ctx, "a", []byte("body")); err != nil {
			return err
		}
	}
	return nil
}
