package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// lite is a store with its tables in a new SQLite file.
func lite(t testing.TB, settings string, opts *store.Options) (*store.Store, sqltx.Runner) {
	t.Helper()
	db := sqltx.StdDB(sqliteFile(t, filepath.Join(t.TempDir(), "test.db"), settings))
	st, err := store.SQLite(db, opts)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	return st, db
}

func TestSQLiteMigratesInTenConnectionsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	sqliteFile(t, path, sqliteSettings).PingContext(t.Context()) // switching to WAL wants the file alone
	var all sync.WaitGroup
	for range 10 {
		st, err := store.SQLite(sqltx.StdDB(sqliteFile(t, path, sqliteSettings)), nil)
		must(t, err)
		all.Go(func() {
			if err := st.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestSQLiteUpDownAndStatus(t *testing.T) {
	st, _ := lite(t, sqliteSettings, nil)
	m := st.Migrations()
	must(t, m.Down(t.Context(), 0))
	if _, err := st.Outbox().Keeper().Check(t.Context()); !errors.Is(err, store.ErrSchema) {
		t.Errorf("a check without tables: %v", err)
	}
	if _, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 1, everything("")); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "sixfold migrate up") {
		t.Errorf("reading without tables: %v", err)
	}
	must(t, m.Up(t.Context()))
	status, err := m.Status(t.Context())
	if err != nil || len(status) == 0 || !status[len(status)-1].Applied {
		t.Errorf("%+v, %v", status, err)
	}
}

func TestSQLiteNamesWhatStandsInTheWay(t *testing.T) {
	db := sqltx.StdDB(sqliteFile(t, filepath.Join(t.TempDir(), "test.db"), sqliteSettings))
	_, err := db.ExecSQL(t.Context(), "CREATE TABLE SIXFOLD_LEASE (mine)")
	must(t, err)
	st, err := store.SQLite(db, nil)
	must(t, err)
	if err := st.Migrate(t.Context()); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), `other columns: "mine"`) {
		t.Errorf("migrated over a table of somebody else's: %v", err)
	}
}

// A deferred transaction that reads first fails at once when somebody else wrote: the error must say what to change.
func TestSQLiteDeferredTransactionIsExplained(t *testing.T) {
	st, db := lite(t, "?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)", nil)
	err := db.InTx(t.Context(), func(tx sqltx.Tx) error {
		must(t, tx.Each(t.Context(), "SELECT count(*) FROM sixfold_outbox", nil, func(sqltx.Rows) error { return nil }))
		put(t, st, db, row("other"))
		_, _, err := st.Outbox().Writer().Append(t.Context(), tx, outbox.ToBroker, []outbox.Row{row("k")}, false)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "_txlock=immediate") {
		t.Errorf("a deferred transaction: %v", err)
	}
	if !st.Inbox().Passing(err) {
		t.Errorf("%v: the same work in a fresh transaction succeeds", err)
	}
}

func TestSQLiteSettingsThatLoseMessagesAreWarnedOf(t *testing.T) { // guarantees: O4
	for settings, want := range map[string]string{
		sqliteSettings: "",
		"?_txlock=immediate&_pragma=busy_timeout(1)&_pragma=synchronous(OFF)":                              "synchronous = OFF",
		"?_txlock=immediate&_pragma=busy_timeout(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)": "NORMAL",
		"?_txlock=immediate&_pragma=busy_timeout(1)&_pragma=journal_mode(MEMORY)":                          "journal_mode = memory",
		"?_txlock=immediate&_pragma=busy_timeout(0)":                                                       "busy_timeout",
	} {
		st, _ := lite(t, settings, nil)
		warnings, err := st.Outbox().Keeper().Check(t.Context())
		if err != nil || want == "" && len(warnings) != 0 || want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], want)) {
			t.Errorf("%s: %q, %v", settings, warnings, err)
		}
	}
}

// With a Go clock leases end in virtual time.
func TestSQLiteVirtualTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := sqliteFile(t, filepath.Join(dir, "test.db"), sqliteSettings)
		st, err := store.SQLite(sqltx.StdDB(db), &store.Options{Clock: time.Now})
		must(t, err)
		ctx := t.Context()
		must(t, st.Migrate(ctx))
		a, b := sixfold.NewID(), sixfold.NewID()
		l := st.Outbox().Leases()
		must(t, l.Join(ctx, "", a, time.Minute))
		must(t, l.Join(ctx, "", b, time.Hour))
		_, err = l.Take(ctx, "", a, 64, outbox.ToBroker, false)
		must(t, err)
		for _, c := range []struct {
			wait time.Duration
			want int
		}{{time.Minute, 0}, {time.Microsecond, 64}} {
			time.Sleep(c.wait) // virtual
			got, err := l.Take(ctx, "", b, 64, outbox.ToBroker, false)
			if err != nil || len(got) != c.want {
				t.Errorf("after %v more: %d leases, %v; want %d", c.wait, len(got), err, c.want)
			}
		}
		must(t, db.Close())
	})
}

func TestSQLiteBadPathsAreErrors(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "readonly.db")
	must(t, os.WriteFile(locked, nil, 0o600))
	for name, path := range map[string]string{"a directory": dir, "a missing folder": filepath.Join(dir, "none", "test.db"), "read-only": locked + "?mode=ro"} {
		st, err := store.SQLite(sqltx.StdDB(sqliteFile(t, path, "")), nil)
		must(t, err)
		if err := st.Migrate(context.Background()); err == nil {
			t.Errorf("%s: migrated", name)
		}
	}
}
