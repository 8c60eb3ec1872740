package claimchecktest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// A report of a key, the n-th of it.
type report struct {
	Of   string `json:"of"`
	N    int    `json:"n"`
	Text string `json:"text"`
}

func (report) MessageName() string  { return "reports.made" }
func (r report) MessageKey() string { return r.Of }

// text of a report: every third is over the broker's limit.
func text(n, limit int) string {
	if n%3 == 0 {
		return strings.Repeat(fmt.Sprint(n%10), limit+1000)
	}
	return "short"
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// flow sends reports from an outbox through a broker to an inbox, large bodies through the same database.
func flow[X any](t *testing.T, st *store.Store, db sqltx.DB[X], broker bus.Transport, limit int, note func(context.Context, X, report) error, noted func() []string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	wrapped, err := claimcheck.Wrap(broker, st.Blobs(), &claimcheck.Options{MaxHeld: 4 * limit})
	must(t, err)
	box, err := outbox.New(st.Outbox(), &outbox.Options{MaxBody: 4 * limit}, outbox.To("reports", report{}))
	must(t, err)
	const keys, each = 3, 9
	for n := range each {
		for k := range keys {
			must(t, outbox.Do(ctx, box, db, func(_ context.Context, _ X, u *outbox.Unit) error {
				u.Publish(report{fmt.Sprint("k", k), n, text(n, limit)})
				return nil
			}))
		}
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	must(t, err)
	handled := make(chan struct{}, keys*each)
	consumer, err := bus.NewConsumer(wrapped, bus.Subscription{Topics: []string{"reports"}, Group: "readers", Ordered: true},
		&bus.Options{Hooks: bus.Hooks{
			Handled: func(_ *bus.Delivery, _ int, _ time.Duration, err error) {
				if err == nil {
					handled <- struct{}{}
				}
			},
			Dead: func(_ *bus.Delivery, reason string, err error) { t.Errorf("a dead letter: %s: %v", reason, err) },
		}}, inbox.On(in, note))
	must(t, err)
	relay, err := outbox.NewRelay(st.Outbox(), wrapped, nil)
	must(t, err)
	running, end := context.WithCancel(ctx)
	ran := make(chan error)
	go func() { ran <- sixfold.Run(running, relay, consumer) }()
	for i := range keys * each {
		select {
		case <-handled:
		case <-ctx.Done():
			t.Fatalf("%d of %d were handled", i, keys*each)
		}
	}
	end()
	must(t, <-ran)
	next := map[string]int{}
	lines := noted()
	if len(lines) != keys*each {
		t.Errorf("%d effects, want %d", len(lines), keys*each)
	}
	for _, line := range lines {
		key, _, _ := strings.Cut(line, " ")
		if want := fmt.Sprintf("%s %d %s", key, next[key], digest(text(next[key], limit))); line != want {
			t.Errorf("%q, want %q", line, want)
		}
		next[key]++
	}
}

func line(r report) string { return fmt.Sprintf("%s %d %s", r.Of, r.N, digest(r.Text)) }

// guarantees: O5, R1, R4, K2, I1
func TestPostgresAndNATS(t *testing.T) {
	st, db, super := postgres(t)
	_, err := super.Exec(t.Context(), "CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text NOT NULL)")
	must(t, err)
	broker, err := nats.New(servers.NATS(t, nil).URL(), &nats.Options{Topics: []string{"reports"}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	note := func(ctx context.Context, tx pgx.Tx, r report) error {
		_, err := tx.Exec(ctx, "INSERT INTO seen (line) VALUES ($1)", line(r))
		return err
	}
	flow(t, st, db, broker, broker.Capabilities().MaxBody, note, func() []string { return lines(t, db) })
}

// guarantees: O5, R1, R4, K2, I1
func TestSQLiteAndRabbitMQ(t *testing.T) {
	st, db := sqlite(t, nil)
	// RabbitMQ takes 16 MiB, which is more than an outbox does: a lower limit shows the same.
	sub := bus.Subscription{Topics: []string{"reports"}, Group: "readers", Ordered: true}
	broker, err := rabbitmq.New(servers.RabbitMQ(t).URL(), &rabbitmq.Options{MaxBody: 200_000, Topics: []string{"reports"}, Groups: []bus.Subscription{sub}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	_, err = db.ExecSQL(t.Context(), "CREATE TABLE seen (n INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL)")
	must(t, err)
	note := func(ctx context.Context, tx *sql.Tx, r report) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO seen (line) VALUES (?)", line(r))
		return err
	}
	flow(t, st, db, broker, 200_000, note, func() []string { return lines(t, db) })
}

// lines are the effects in the order of their commits, as far as one key goes.
func lines(t *testing.T, db sqltx.Runner) (all []string) {
	t.Helper()
	must(t, db.EachRow(t.Context(), "SELECT line FROM seen ORDER BY n", nil, func(r sqltx.Rows) error {
		var s string
		err := r.Scan(&s)
		all = append(all, s)
		return err
	}))
	return all
}
