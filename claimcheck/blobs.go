package claimcheck

import (
	"context"
	"time"
)

// A BlobStore keeps bodies. Dir keeps them in a directory, package store in a database; one for an object store is a few lines.
// It is safe for concurrent use.
type BlobStore interface {
	// Put stores data under name and returns when it is as safe as messages are meant to be: fsync, commit. The same name comes
	// with the same data again, which must not fail, and makes the blob as young as a new one. It does not keep data.
	// Names are a day, a slash and 64 hexadecimal digits, as in "2026-11-22/9f86d0…". An error means an outage, unless it wraps
	// bus.ErrTooLarge or bus.ErrRefused.
	Put(ctx context.Context, name string, data []byte) error
	// Get answers the blob, or its first max bytes if it is longer. Where there is none the error wraps fs.ErrNotExist; any
	// other error means an outage, and Get is called again later.
	Get(ctx context.Context, name string, max int) ([]byte, error)
}

// A Purger is a store that can remove old blobs. A Keeper calls it.
type Purger interface {
	// Purge removes blobs that were put longer than age ago, and none that is younger. It may leave some for the next call. It
	// answers how many it removed, also together with an error.
	Purge(ctx context.Context, age time.Duration) (removed int, err error)
}
