package store

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Blobs are bodies that are too large for a broker, kept in a table of the database. They implement claimcheck.BlobStore and
// claimcheck.Purger. Each Put is a transaction of its own. A database is a dear place for large data: it suits those who have few of
// them, and nothing else to keep them in.
type Blobs struct {
	db sqltx.Runner
	d  blobDialect
}

// blobDialect is what databases do differently. Times are the database's clock.
type blobDialect interface {
	// touch makes a blob young and reports whether it is there. Nobody removes it before tx ends.
	touch(ctx context.Context, tx sqltx.Tx, name string) (bool, error)
	insert(ctx context.Context, tx sqltx.Tx, name string, part int, data []byte) error
	// read calls each for the parts below the number, in order.
	read(ctx context.Context, name string, below int, each eachBlob) error
	// purge removes up to limit blobs that were touched longer than age ago, whole ones.
	purge(ctx context.Context, age time.Duration, limit int) (int, error)
}

type eachBlob = func(data []byte)

const (
	blobChunk  = 1 << 20
	purgeBlobs = 20 // in one statement: their parts are large
)

// Blobs of the store. Always the same one.
func (s *Store) Blobs() *Blobs { return &s.blobs }

// Put stores data under name. What is there already is only made young again, without sending it.
func (b *Blobs) Put(ctx context.Context, name string, data []byte) error {
	return failed("store a blob", b.db.InTx(ctx, func(tx sqltx.Tx) error {
		if there, err := b.d.touch(ctx, tx, name); err != nil || there {
			return err
		}
		for part := 0; part == 0 || part*blobChunk < len(data); part++ {
			chunk := data[part*blobChunk:]
			if err := b.d.insert(ctx, tx, name, part, chunk[:min(len(chunk), blobChunk)]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Get answers the blob, or its first max bytes if it is longer. Where there is none the error wraps fs.ErrNotExist.
func (b *Blobs) Get(ctx context.Context, name string, max int) ([]byte, error) {
	var data []byte
	there := false
	err := b.d.read(ctx, name, max/blobChunk+1, func(part []byte) {
		there = true
		data = append(data, part...)
	})
	if err != nil {
		return nil, failed("read a blob", err)
	}
	if !there {
		return nil, fmt.Errorf("store: read blob %s: %w", quoteCut(name), fs.ErrNotExist)
	}
	return data[:min(len(data), max):min(len(data), max)], nil
}

// Purge removes blobs that were put longer than age ago, a few at a time, and answers how many.
func (b *Blobs) Purge(ctx context.Context, age time.Duration) (removed int, err error) {
	for {
		n, err := b.d.purge(ctx, age, purgeBlobs)
		if removed += n; err != nil {
			return removed, failed("purge blobs", err)
		}
		if n < purgeBlobs {
			return removed, nil
		}
	}
}
