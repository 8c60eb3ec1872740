package cli

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Each file of testdata/dead is what a user does to parked messages. a.db holds, for the consumer billing, in this order: of key
// k1 the dead letter d-1 that blocks w-1 and w-2; ten dead letters l-0 to l-9 of no key, whose error and body have escapes; w-3,
// which waits for an hour; and of the relay one that no broker took.
func TestDeadScripts(t *testing.T) {
	bin := command(t)
	files, err := filepath.Glob(filepath.Join("testdata", "dead", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files { // one after the other, since the command runs in this process
		t.Run(filepath.Base(file), func(t *testing.T) {
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: func(e *testscript.Env) error {
				e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
				e.Setenv("SIXFOLD_DSN", "sqlite:a.db")
				return deadLetters(t, filepath.Join(e.WorkDir, "a.db"))
			}, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits}})
		})
	}
}

// deadID is that of the message that no broker took.
const deadID = "0190a000-0000-7000-8000-00000000000d"

func deadLetters(t *testing.T, path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return err
	}
	defer db.Close()
	run := sqltx.StdDB(db)
	st, err := store.SQLite(run, nil)
	if err != nil {
		return err
	}
	if err := st.Migrate(t.Context()); err != nil {
		return err
	}
	item := func(id, key, body, failure string, dead bool, delay time.Duration) inbox.Item {
		env := &sixfold.Envelope{ID: id, Source: "shop", Type: "orders.placed", Key: key, ContentType: "text/plain", Headers: map[string]string{"tenant": "7"}, Body: []byte(body)}
		it := inbox.Item{Record: inbox.RecordOf(env), Enter: true, ID: id, Source: "shop", Type: "orders.placed", Topic: "orders", Attrs: outbox.EncodeAttrs(env, outbox.Flags{}), Body: env.Body,
			Attempts: 10, Dead: dead, Delay: delay, Error: failure, Node: "host/1"}
		if dead {
			it.Reason = "attempts"
		}
		return it
	}
	items := []inbox.Item{item("d-1", "k1", "one", "tax table is empty", true, 0), item("w-1", "k1", "two", "", false, 0), item("w-2", "k1", "three", "", false, 0)}
	for i := range 10 {
		items = append(items, item(fmt.Sprint("l-", i), "", "\x1b[31mred", "broken \x1b[31mred", true, 0))
	}
	items = append(items, item("w-3", "k3", "later", "not yet", false, time.Hour))
	return run.InTx(t.Context(), func(tx sqltx.Tx) error {
		if _, err := st.Inbox().Parking().Park(t.Context(), tx, "billing", items); err != nil {
			return err
		}
		env := &sixfold.Envelope{ID: deadID, Type: "orders.huge", ContentType: "text/plain"}
		rec := inbox.RecordOf(env)
		now := time.Now().UnixMicro()
		_, err := tx.Exec(t.Context(), `INSERT INTO sixfold_parked (state, relay, consumer, message, digest, id, source, type, topic, attrs, attempts, reason, error, first_at, last_at)
VALUES (2, 1, 'main', ?, ?, ?, '', 'orders.huge', 'orders', ?, 1, 'too-large', 'over the limit', ?, ?)`, rec.Message[:], rec.Digest[:], env.ID, outbox.EncodeAttrs(env, outbox.Flags{}), now, now)
		return err
	})
}
