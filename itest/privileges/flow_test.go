package privileges

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// toBroker and toLocal go the two roads.
type toBroker struct{ Text string }

func (toBroker) MessageName() string { return "test.broker" }
func (toBroker) MessageKey() string  { return "k" }

type toLocal struct{ Text string }

func (toLocal) MessageName() string { return "test.local" }
func (toLocal) MessageKey() string  { return "k" }

// Messages flow from a transaction to the handlers while each process has the grants of its role and no more: what a relay and
// consumers do beside the statements of the other tests would be denied here.
func TestMessagesFlowWithTheGrantsOfTheRoles(t *testing.T) {
	w := newWorld(t)
	quiet := slog.New(slog.DiscardHandler)
	app := w.connect(w.roles.Application, "")
	db, st := sqltx.PgxDB(app), w.store(app)
	w.exec("CREATE TABLE effect (text text); GRANT SELECT, INSERT ON effect TO " + pgx.Identifier{w.roles.Application}.Sanitize())

	box, err := outbox.New(st.Outbox(), nil, outbox.To("things", toBroker{}), outbox.ToConsumer("local", toLocal{}))
	w.must(err)
	in, err := inbox.New(db, st.Inbox(), &inbox.Options{Logger: quiet})
	w.must(err)
	broker := memory.New(&memory.Options{Topics: []string{"things", "things.dead"}})
	t.Cleanup(func() { _ = broker.Close(context.Background()) })
	local, err := outbox.NewLocal(st.Outbox(), db, &outbox.LocalOptions{Lease: time.Second, Poll: 20 * time.Millisecond, Logger: quiet})
	w.must(err)
	effect := func(ctx context.Context, tx pgx.Tx, text string) error {
		_, err := tx.Exec(ctx, "INSERT INTO effect VALUES ($1)", text)
		return err
	}
	far, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"things"}, Group: "far", Ordered: true}, &bus.Options{Logger: quiet},
		inbox.On(in, func(ctx context.Context, tx pgx.Tx, m toBroker) error { return effect(ctx, tx, m.Text) }))
	w.must(err)
	near, err := bus.NewConsumer(local, bus.Subscription{Group: "local", Ordered: true}, &bus.Options{Logger: quiet},
		inbox.On(in, func(ctx context.Context, tx pgx.Tx, m toLocal) error { return effect(ctx, tx, m.Text) }))
	w.must(err)
	relay, err := outbox.NewRelay(w.store(w.connect(w.roles.Relay, "")).Outbox(), broker, &outbox.RelayOptions{Lease: time.Second, Poll: 20 * time.Millisecond, Logger: quiet})
	w.must(err)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sixfold.Run(ctx, relay, far, near) }()
	const n = 50
	for i := range n {
		w.must(outbox.Do(t.Context(), box, db, func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
			u.Publish(toBroker{fmt.Sprint("far ", i)})
			u.Publish(toLocal{fmt.Sprint("near ", i)})
			return nil
		}))
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for effects, end := 0, time.Now().Add(2*time.Minute); effects < 2*n; <-tick.C {
		w.must(w.owner.QueryRow(t.Context(), "SELECT count(*) FROM effect").Scan(&effects))
		select {
		case err := <-done:
			t.Fatalf("something has ended: %v", err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d effects", effects, 2*n)
		}
	}
	stop()
	w.must(<-done)
}
