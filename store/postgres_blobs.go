package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// pgBlobs implements blobDialect.
type pgBlobs struct {
	db                                     sqltx.Runner
	touched, inserted, selected, purgedOld string
}

func newPgBlobs(s *Store) *pgBlobs {
	return &pgBlobs{
		db:      s.db,
		touched: s.names.fill("UPDATE {{blob}} SET at = now() WHERE name = $1::text AND part = 0"),
		// Who comes second to part 0 waits for the first, and finds that all of it is there.
		inserted: s.names.fill("INSERT INTO {{blob}} (name, part, data) VALUES ($1::text, $2::integer, $3::bytea) ON CONFLICT (name, part) DO NOTHING"),
		selected: s.names.fill("SELECT data FROM {{blob}} WHERE name = $1::text AND part < $2::integer ORDER BY part"),
		purgedOld: s.names.fill(`WITH old AS MATERIALIZED (SELECT b.name FROM {{blob}} b WHERE b.part = 0
  AND b.at < now() - $1::bigint::double precision * interval '1 microsecond' ORDER BY b.at LIMIT $2::integer FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM {{blob}} b USING old WHERE b.name = old.name RETURNING b.part)
SELECT count(*) FROM gone WHERE part = 0`),
	}
}

func (p *pgBlobs) touch(ctx context.Context, tx sqltx.Tx, name string) (bool, error) {
	n, err := tx.Exec(ctx, p.touched, name)
	return n > 0, err
}

func (p *pgBlobs) insert(ctx context.Context, tx sqltx.Tx, name string, part int, data []byte) error {
	_, err := tx.Exec(ctx, p.inserted, name, part, data)
	return err
}

func (p *pgBlobs) read(ctx context.Context, name string, below int, each eachBlob) error {
	return readBlob(ctx, p.db, p.selected, name, below, each)
}

func (p *pgBlobs) purge(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	err = p.db.EachRow(ctx, p.purgedOld, []any{age.Microseconds(), limit}, func(r sqltx.Rows) error { return r.Scan(&n) })
	return n, err
}

// readBlob runs the dialects' statement for reading.
func readBlob(ctx context.Context, db sqltx.Runner, query, name string, below int, each eachBlob) error {
	var data []byte
	return db.EachRow(ctx, query, []any{name, below}, func(r sqltx.Rows) error {
		if err := r.Scan(&data); err != nil {
			return err
		}
		each(data)
		return nil
	})
}
