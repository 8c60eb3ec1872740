package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// myBlobs implements blobDialect.
type myBlobs struct {
	*my
	hold, young, inserted, old myStatement
	selected, remove           string
}

func newMyBlobs(m *my) *myBlobs {
	return &myBlobs{my: m,
		hold:  m.statement("SELECT 1 FROM {{blob}} WHERE name = ?1 AND part = 0 FOR UPDATE"),
		young: m.statement("UPDATE {{blob}} SET at = " + myNow + " WHERE name = ?1 AND part = 0"),
		// Who comes second to part 0 waits for the first, and finds that all of it is there.
		inserted: m.statement("INSERT INTO {{blob}} (name, part, data) VALUES (?1, ?2, ?3) ON DUPLICATE KEY UPDATE part = part"),
		selected: m.statement("SELECT data FROM {{blob}} WHERE name = ?1 AND part < ?2 ORDER BY part").sql,
		old:      m.statement("SELECT name FROM {{blob}} FORCE INDEX ({{bare blob_at}}) WHERE part = 0 AND at < " + myNow + " - ?1 ORDER BY at LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		remove:   m.statement("DELETE FROM {{blob}} WHERE name IN (").sql,
	}
}

func (b *myBlobs) touch(ctx context.Context, tx sqltx.Tx, name string) (bool, error) {
	there, err := b.hold.found(ctx, tx, name)
	if err == nil && there {
		_, err = b.young.exec(ctx, tx, name)
	}
	return there, err
}

func (b *myBlobs) insert(ctx context.Context, tx sqltx.Tx, name string, part int, data []byte) error {
	if data == nil {
		data = []byte{}
	}
	_, err := b.inserted.exec(ctx, tx, name, part, data)
	return err
}

func (b *myBlobs) read(ctx context.Context, name string, below int, each eachBlob) error {
	return readBlob(ctx, b.db, b.selected, name, below, each)
}

func (b *myBlobs) purge(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		var names []any
		err := b.old.each(ctx, tx, func(r sqltx.Rows) error {
			var name string
			err := r.Scan(&name)
			names = append(names, name)
			return err
		}, age.Microseconds(), limit)
		if n = len(names); err == nil && n > 0 {
			_, err = tx.Exec(ctx, b.remove+marks(n)+")", names...)
		}
		return err
	})
	return n, err
}
