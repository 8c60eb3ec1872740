package signing

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// paid is a message whose effect happens in a transaction.
type paid struct {
	ID string `json:"id"`
}

func (paid) MessageName() string { return "orders.paid" }

// A message that was accepted keeps its issuer while it is parked, and is not asked about again, so that a retry does not make it too old. One that was
// refused is asked about when people redrive it. Its effect is once, however often the signed bytes are sent.
//
// guarantees: I1, I3, I8
func TestIssuersOfWhatIsParked(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	st, db := sqlite(t, "shop.db")
	_, err := db.ExecSQL(ctx, "CREATE TABLE seen (id TEXT, issuer TEXT)")
	must(t, err)
	in, err := inbox.New(db, st.Inbox(), nil)
	must(t, err)
	broker := memory.New(&memory.Options{Topics: orders.Topics})
	t.Cleanup(func() { _ = broker.Close(context.Background()) })
	var asked atomic.Int64
	current := atomic.Pointer[signature.Verifier]{}
	current.Store(accepts(t, "shop"))
	var mu sync.Mutex
	failed := map[string]bool{}
	handled, dead := make(chan string, 100), make(chan string, 100)
	consumer, err := bus.NewConsumer(broker, orders, &bus.Options{Logger: quiet(), ParkingPoll: 20 * time.Millisecond,
		Verify: func(env *sixfold.Envelope) (string, error) { asked.Add(1); return current.Load().Verify(env) },
		Hooks: bus.Hooks{
			Dead: func(_ *bus.Delivery, reason string, _ error) { dead <- reason },
			Handled: func(d *bus.Delivery, _ int, _ time.Duration, err error) {
				if err == nil {
					handled <- d.ID
				}
			}}},
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m paid) error {
			mu.Lock()
			first := !failed[m.ID]
			failed[m.ID] = true
			mu.Unlock()
			if first {
				return sixfold.RetryAfter(10*time.Millisecond, errors.New("not yet"))
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO seen VALUES (?, ?)", m.ID, sixfold.InfoFrom(ctx).Envelope.Issuer())
			return err
		}))
	must(t, err)
	running, end := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(running, consumer) }()
	next := func(c <-chan string) string {
		t.Helper()
		select {
		case s := <-c:
			return s
		case <-ctx.Done():
			t.Fatal("it took too long")
			return ""
		}
	}
	sender, err := bus.NewPublisher(broker, nil)
	must(t, err)
	defer sender.Close(context.Background())
	send := func(owner, id string) *sixfold.Envelope {
		t.Helper()
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, paid{id})
		must(t, err)
		must(t, signer(t, owner).Sign(env))
		must(t, sender.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{env}))
		return env
	}
	env := send("shop", "a")
	if id := next(handled); id != env.ID || asked.Load() != 1 {
		t.Errorf("%s was handled, asked about %d times", id, asked.Load())
	}
	again := *env
	must(t, sender.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{&again}))
	next(handled) // as a repeat

	send("bank", "b") // whose key is not known yet
	if reason := next(dead); reason != "unauthorised" {
		t.Errorf("dead for %q", reason)
	}
	letters, err := deadletter.New(st.DeadLetters())
	must(t, err)
	redrive := func() {
		t.Helper()
		report, err := letters.Redrive(ctx, deadletter.Filter{}, deadletter.Options{Who: "ann"})
		if must(t, err); report.Done != 1 {
			t.Errorf("%+v", report)
		}
	}
	redrive()
	if reason := next(dead); reason != "unauthorised" {
		t.Errorf("what is still refused is dead for %q", reason)
	}
	current.Store(accepts(t, "shop", "bank"))
	redrive()
	next(handled)
	end()
	must(t, <-ran)
	got := map[string]int{}
	must(t, db.EachRow(t.Context(), "SELECT id || ' of ' || issuer FROM seen", nil, func(r sqltx.Rows) error {
		var line string
		err := r.Scan(&line)
		got[line]++
		return err
	}))
	if len(got) != 2 || got["a of shop-service"] != 1 || got["b of bank-service"] != 1 {
		t.Errorf("the effects are %v", got)
	}
}
