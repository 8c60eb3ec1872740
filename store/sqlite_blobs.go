package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// liteBlobs implements blobDialect. The one writer's transaction is all the locking that there is.
type liteBlobs struct {
	*lite
	touched, inserted, selected, purged string
}

func newLiteBlobs(l *lite) *liteBlobs {
	return &liteBlobs{lite: l,
		touched:  l.names.fill("UPDATE {{blob}} SET at = ?2 WHERE name = ?1 AND part = 0"),
		inserted: l.names.fill("INSERT INTO {{blob}} (name, part, at, data) VALUES (?1, ?2, ?3, ?4)"),
		selected: l.names.fill("SELECT data FROM {{blob}} WHERE name = ?1 AND part < ?2 ORDER BY part"),
		purged:   l.names.fill("DELETE FROM {{blob}} WHERE name IN (SELECT name FROM {{blob}} WHERE part = 0 AND at < ?1 ORDER BY at LIMIT ?2) RETURNING part"),
	}
}

func (b *liteBlobs) touch(ctx context.Context, tx sqltx.Tx, name string) (bool, error) {
	n, err := tx.Exec(ctx, b.touched, name, b.now())
	return n > 0, err
}

func (b *liteBlobs) insert(ctx context.Context, tx sqltx.Tx, name string, part int, data []byte) error {
	_, err := tx.Exec(ctx, b.inserted, name, part, b.now(), data)
	return err
}

func (b *liteBlobs) read(ctx context.Context, name string, below int, each eachBlob) error {
	return readBlob(ctx, b.db, b.selected, name, below, each)
}

func (b *liteBlobs) purge(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		n = 0
		return tx.Each(ctx, b.purged, []any{b.now() - age.Microseconds(), limit}, func(r sqltx.Rows) error {
			var part int
			err := r.Scan(&part)
			if part == 0 {
				n++
			}
			return err
		})
	})
	return n, err
}
