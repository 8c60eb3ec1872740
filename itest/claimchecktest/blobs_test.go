// Package claimchecktest tests package claimcheck with databases as its store, and on real brokers.
package claimchecktest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	sixpg "github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) { servers.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// postgres is a migrated store with the grants of application and relay, and a pool of the superuser for what only tests do.
func postgres(t *testing.T) (*store.Store, sqltx.DB[pgx.Tx], *pgxpool.Pool) {
	t.Helper()
	as := roles.On(t, servers.Postgres(t).Database(t), nil)
	pool := func(dsn string) *pgxpool.Pool {
		p, err := pgxpool.New(t.Context(), dsn)
		must(t, err)
		t.Cleanup(p.Close)
		return p
	}
	db := sixpg.DB(pool(as.All))
	st, err := store.Postgres(db, nil)
	must(t, err)
	return st, db, pool(as.Superuser)
}

// mariadb is a migrated store on MariaDB.
func mariadb(t *testing.T) (*store.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("mysql", servers.MariaDB(t).Database(t)+"?interpolateParams=true&tx_isolation=%27READ-COMMITTED%27")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	st, err := store.MySQL(sqltx.StdDB(db), nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	return st, db
}

// sqlite is a migrated store in a file. clock may be nil.
func sqlite(t *testing.T, clock func() time.Time) (*store.Store, sqltx.DB[*sql.Tx]) {
	t.Helper()
	file, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(t, err)
	t.Cleanup(func() { file.Close() })
	db := sqltx.StdDB(file)
	st, err := store.SQLite(db, &store.Options{Clock: clock})
	must(t, err)
	must(t, st.Migrate(t.Context()))
	return st, db
}

var (
	_ claimcheck.BlobStore = (*store.Blobs)(nil)
	_ claimcheck.Purger    = (*store.Blobs)(nil)
)

// blobStore is a store, and a way to make all that is in it older.
type blobStore struct {
	*store.Blobs
	age func(t *testing.T, by time.Duration)
}

func each(t *testing.T, test func(t *testing.T, b blobStore)) {
	t.Run("PostgreSQL", func(t *testing.T) {
		st, _, super := postgres(t)
		test(t, blobStore{st.Blobs(), func(t *testing.T, by time.Duration) {
			t.Helper()
			_, err := super.Exec(t.Context(), "UPDATE sixfold.blob SET at = at - $1::interval", by)
			must(t, err)
		}})
	})
	t.Run("MariaDB", func(t *testing.T) {
		st, super := mariadb(t)
		test(t, blobStore{st.Blobs(), func(t *testing.T, by time.Duration) {
			t.Helper()
			_, err := super.ExecContext(t.Context(), "UPDATE sixfold_blob SET at = at - ?", by.Microseconds())
			must(t, err)
		}})
	})
	t.Run("SQLite", func(t *testing.T) {
		var now sync.Mutex
		ahead := time.Duration(0)
		st, _ := sqlite(t, func() time.Time { now.Lock(); defer now.Unlock(); return time.Now().Add(ahead) })
		test(t, blobStore{st.Blobs(), func(_ *testing.T, by time.Duration) { now.Lock(); defer now.Unlock(); ahead += by }})
	})
}

func TestBlobsAreKept(t *testing.T) {
	each(t, func(t *testing.T, b blobStore) {
		for name, size := range map[string]int{"empty": 0, "one": 1, "chunk": 1 << 20, "chunk and one": 1<<20 + 1, "four": 3<<20 + 12345} {
			data := bytes.Repeat([]byte("sixfold\x00\xff"), size/9+1)[:size]
			must(t, b.Put(t.Context(), name, data))
			must(t, b.Put(t.Context(), name, data)) // again
			for _, max := range []int{size, size + 1, size + 5<<20, max(size-1, 0), min(size, 10)} {
				if got, err := b.Get(t.Context(), name, max); err != nil || !bytes.Equal(got, data[:min(size, max)]) {
					t.Errorf("%s, at most %d: %d bytes, %v", name, max, len(got), err)
				}
			}
		}
		if _, err := b.Get(t.Context(), "missing", 10); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a blob that is not there: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Put(ended, "late", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := b.Get(ended, "one", 1); !errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Several relays send the same body at once.
func TestBlobsOfSeveralAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b blobStore) {
		data := bytes.Repeat([]byte("x"), 2<<20+1)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := b.Put(t.Context(), "same", data); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, err := b.Get(t.Context(), "same", 4<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// What is put again is as young as what is new, and blobs go whole.
func TestOldBlobsArePurged(t *testing.T) {
	each(t, func(t *testing.T, b blobStore) {
		data := bytes.Repeat([]byte("x"), 1<<20+1)
		for i := range 45 {
			must(t, b.Put(t.Context(), "old "+string(rune('A'+i)), data[:1+i%2*1<<20]))
		}
		must(t, b.Put(t.Context(), "again", data))
		b.age(t, 48*time.Hour)
		must(t, b.Put(t.Context(), "again", data))
		must(t, b.Put(t.Context(), "young", data))
		b.age(t, time.Hour)
		n, err := b.Purge(t.Context(), 24*time.Hour)
		if err != nil || n != 45 {
			t.Errorf("%d removed, %v; want 45", n, err)
		}
		for _, name := range []string{"again", "young"} {
			if got, err := b.Get(t.Context(), name, 4<<20); err != nil || len(got) != len(data) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if _, err := b.Get(t.Context(), "old B", 4<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an old one: %v", err)
		}
		if n, err := b.Purge(t.Context(), 24*time.Hour); err != nil || n != 0 {
			t.Errorf("again: %d removed, %v", n, err)
		}
	})
}

// An upload counts on a blob that a purge is about to remove: either the purge leaves it, or the upload stores it anew.
func TestPurgeAndUploadRace(t *testing.T) {
	each(t, func(t *testing.T, b blobStore) {
		data := bytes.Repeat([]byte("x"), 100_000)
		for range 20 {
			must(t, b.Put(t.Context(), "same", data))
			b.age(t, 48*time.Hour)
			var both sync.WaitGroup
			both.Go(func() {
				if _, err := b.Purge(t.Context(), 24*time.Hour); err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				if err := b.Put(t.Context(), "same", data); err != nil {
					t.Error(err)
				}
			})
			both.Wait()
			if got, err := b.Get(t.Context(), "same", 200_000); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	})
}
