package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// [PlanGuard]: the tables of parking are empty most of the time, and plans are made then. With 100,000 messages in 1,000 lines
// each statement touches the pages of what it works on.
func TestParkingPlanGuard(t *testing.T) {
	config, err := pgxpool.ParseConfig(servers.Postgres(t).Database(t))
	must(t, err)
	config.MaxConns = 1 // plans are kept per session
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	exec := func(q string) {
		t.Helper()
		_, err := p.Exec(t.Context(), q)
		must(t, err)
	}
	for _, table := range []string{"parked", "line", "inbox", "attempt"} {
		exec("ALTER TABLE sixfold." + table + " SET (autovacuum_enabled = off)")
	}
	exec("VACUUM ANALYZE sixfold.parked, sixfold.line, sixfold.inbox, sixfold.attempt")
	exec("PREPARE plain(bigint) AS SELECT n FROM sixfold.parked WHERE line = $1")
	lot, token := st.Inbox().Parking(), sixfold.NewID()
	for i := range 10 { // from the sixth call on plans are generic
		rec := inbox.Record{Message: [16]byte{byte(i)}, Key: "none"}
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
			if _, err := lot.Park(t.Context(), sqltx.Pgx(tx), "other", []inbox.Item{{Record: rec, Enter: true}, {Record: rec, Enter: true}}); err != nil {
				return err
			}
			if _, err := st.Inbox().Record(t.Context(), sqltx.Pgx(tx), "other", []inbox.Record{{Message: [16]byte{byte(i), 1}, Key: "none"}, {Message: [16]byte{byte(i), 2}, Key: "none"}}); err != nil {
				return err
			}
			if _, err := st.Inbox().Record(t.Context(), sqltx.Pgx(tx), "other", []inbox.Record{rec, {Message: [16]byte{byte(i), 3}}}); err != nil {
				return err
			}
			_, err := lot.Take(t.Context(), sqltx.Pgx(tx), []inbox.Ticket{{N: 1, Token: token}})
			return err
		}))
		_, err := lot.Claim(t.Context(), "nobody", inbox.Ask{Token: token, Lines: 10, Rows: 50, Count: true})
		must(t, err)
		_ = lot.Fail(t.Context(), inbox.Failed{Hold: inbox.Hold{Line: 1, Token: token}, N: 1})
		_, err = lot.Tend(t.Context(), []inbox.Hold{{Line: 1, Token: token}}, time.Hour, []inbox.Return{{Hold: inbox.Hold{Line: 1, Token: token}}})
		must(t, err)
		exec("EXECUTE plain(1)")
	}
	exec(`INSERT INTO sixfold.line (consumer, key, due, size) SELECT 'c', 'key ' || g, now(), 100 FROM generate_series(1, 1000) g`)
	exec(`INSERT INTO sixfold.parked (line, state, consumer, message, digest, id, source, type, topic, key, attrs, attempts)
		SELECT l.id, 1, 'c', decode(md5(l.id || ' ' || g), 'hex'), '', 'id', '', 't', 't', l.key, '', 1 FROM generate_series(1, 100) g, sixfold.line l WHERE l.consumer = 'c'`)
	exec(`INSERT INTO sixfold.inbox (consumer, message, digest, state) SELECT consumer, message, '', 2 FROM sixfold.parked WHERE consumer = 'c'`)
	var line, n int64
	must(t, p.QueryRow(t.Context(), "SELECT line, n FROM sixfold.parked WHERE consumer = 'c' AND key = 'key 500' ORDER BY n LIMIT 1").Scan(&line, &n))
	if got := buffers(t, p, fmt.Sprintf("EXECUTE plain(%d)", line)); got < 500 {
		t.Errorf("the unguarded statement touches %d pages: this test shows nothing any more", got)
	}
	count := func(name, q string, most int) {
		t.Helper()
		got := buffers(t, p, q)
		t.Logf("%s: %d pages", name, got)
		if got > most {
			t.Errorf("%s touches %d pages, %d are enough", name, got, most)
		}
	}
	claim := "SELECT * FROM sixfold.parked_claim('%s', '" + token + "', %d, 50, 3600000000, false)"
	count("claim for nobody", fmt.Sprintf(claim, "nobody", 10), 20)
	count("claim 10 lines", fmt.Sprintf(claim, "c", 10), 10*300) // 100 messages each are counted, 50 read
	count("claim all lines", fmt.Sprintf(claim, "c", 1000), 1000*300)
	count("claim when nothing is due", fmt.Sprintf(claim, "c", 10), 60)
	count("take", fmt.Sprintf("SELECT * FROM sixfold.parked_take('{%d}', '{%s}')", n, token), 500)
	must(t, p.QueryRow(t.Context(), "SELECT line, n FROM sixfold.parked WHERE consumer = 'c' AND key = 'key 501' ORDER BY n LIMIT 1").Scan(&line, &n))
	count("keep", fmt.Sprintf("SELECT * FROM sixfold.parked_keep('{%d}', '{%s}', 1, false)", line, token), 500)
	count("begin", fmt.Sprintf("SELECT * FROM sixfold.parked_keep('{%d}', '{%s}', 1, true)", line, token), 500)
	count("fail", fmt.Sprintf("SELECT sixfold.parked_fail(%d, '%s', %d, 2, 0, true, true, '', '', '')", line, token, n), 1000)
	count("give back", fmt.Sprintf("SELECT sixfold.parked_give_back('{%d}', '{%s}', '{0}', '{false}')", line+1, token), 1000)
	count("record two copies", `SELECT * FROM sixfold.inbox_record('c', (SELECT string_agg(message || message, '') FROM (SELECT message FROM sixfold.inbox WHERE consumer = 'c' LIMIT 2) m), '{NULL,NULL}')`, 100)
	count("record behind", `SELECT * FROM sixfold.inbox_record('c', decode(repeat('ab', 32) || repeat('cd', 32), 'hex'), '{"key 7","key 8"}')`, 100)
}

// What a relay buries is there with all that the row had.
func TestBuriedRowsAreWhole(t *testing.T) { // guarantees: R1
	st, p := migrated(t, nil)
	r := row("k")
	put(t, st, sqltx.PgxDB(p), r)
	node := sixfold.NewID()
	must(t, st.Outbox().Leases().Join(t.Context(), "", node, time.Hour))
	n, err := st.Outbox().Queue(outbox.ToBroker).Bury(t.Context(), node, []outbox.DeadRow{{Seq: 1, ID: "id", Type: "t", Source: "shop", Reason: "unroutable", Error: "no queue", Node: "host/1", Attempts: 5}})
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	env := sixfold.Envelope{ID: "id", Type: "t", Source: "shop", Body: r.Body}
	rec := inbox.RecordOf(&env)
	var same bool
	must(t, p.QueryRow(t.Context(), `SELECT state = 2 AND relay AND line IS NULL AND consumer = '' AND message = $1 AND digest = $2 AND id = 'id' AND source = 'shop' AND type = 't' AND topic = $3
		AND key = 'k' AND attrs = $4 AND body = $5 AND attempts = 5 AND reason = 'unroutable' AND error = 'no queue' AND node = 'host/1' FROM sixfold.parked`,
		rec.Message[:], rec.Digest[:], r.Topic, r.Attrs, r.Body).Scan(&same))
	if !same {
		t.Error("a buried row lost something")
	}
}
