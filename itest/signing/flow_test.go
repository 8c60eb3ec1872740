package signing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/sqltx"
)

const placed = "orders.placed"

// order is the message, with a word that no error and no log may hold.
type order struct {
	ID string `json:"id"`
}

func (order) MessageName() string { return placed }

const secret = "5ecr3t"

// odd are envelopes of which a carrier might change something, by their subjects.
func odd() []*sixfold.Envelope {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_456_789, time.UTC)
	all := []*sixfold.Envelope{
		{Subject: "full", Key: "schlüssel & co", Time: at, ContentType: "application/json", CorrelationID: "c", CausationID: "d", Expires: at.AddDate(50, 0, 0), ReplyTo: "shop.replies",
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Body: []byte(` { "b" : 1.0e2 , "a":"\u00e9<>&é" } `),
			Headers: map[string]string{"X-Mixed-Case": "a", "Content-Type": "mine", "space": " both ends ", "ünicode": "Zoë", "empty": "", "dataschema": "https://example.com/s"}},
		{Subject: "no body", Time: at},
		{Subject: "empty body", Time: at, Body: []byte{}},
		{Subject: "binary", Time: at.Truncate(time.Second), ContentType: "application/octet-stream", Body: []byte("\x00\xff\xfe\r\n")},
		{Subject: "many headers", Time: at, Headers: map[string]string{}},
	}
	delete(all[0].Headers, "ünicode") // no publisher takes it
	for i := range 100 {
		all[4].Headers[fmt.Sprintf("h-%d", i)] = strings.Repeat("v", i)
	}
	for _, env := range all {
		env.ID, env.Source, env.Type = sixfold.NewID(), "shop", placed
		if env.CorrelationID == "" {
			env.CorrelationID = env.ID
		}
	}
	return all
}

// seen is what consumers have done.
type seen struct {
	mu      sync.Mutex
	handled map[string][]string // issuers by subject
	dead    map[string]string   // reasons by subject
	changed chan struct{}
}

func (s *seen) note(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *seen) await(t *testing.T, ctx context.Context, handled, dead int) {
	t.Helper()
	for {
		s.mu.Lock()
		n, m := len(s.handled), len(s.dead)
		s.mu.Unlock()
		if n >= handled && m >= dead {
			return
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			t.Fatalf("%d of %d were handled and %d of %d dead: %v %v", n, handled, m, dead, s.handled, s.dead)
		}
	}
}

// What the shop publishes through its outbox arrives signed over every transport, whatever is in it, with a relay that has no key; what others make, change or
// send first under the shop's ids is dead, holds nobody up and takes nobody's place.
//
// guarantees: I1, I3, I10
func TestSignedOverEveryTransport(t *testing.T) {
	overEach(t, func(t *testing.T, broker bus.Transport) {
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
		defer stop()
		st, db := sqlite(t, "shop.db")
		box, err := outbox.New(st.Outbox(), &outbox.Options{Source: "shop", Seal: signer(t, "shop").Sign}, outbox.To("orders", order{}))
		must(t, err)
		relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
		must(t, err)
		in, err := inbox.New(db, st.Inbox(), nil)
		must(t, err)
		got := &seen{handled: map[string][]string{}, dead: map[string]string{}, changed: make(chan struct{}, 1)}
		var logs strings.Builder
		verify := accepts(t, "shop").Verify
		consumer, err := bus.NewConsumer(broker, orders, &bus.Options{Inbox: in, Verify: verify, Logger: quiet(), Hooks: bus.Hooks{
			Dead: func(d *bus.Delivery, reason string, err error) {
				got.note(func() { got.dead[d.Subject] = reason; fmt.Fprintln(&logs, err) })
			}}},
			sixfold.Raw(func(ctx context.Context, env *sixfold.Envelope) error {
				got.note(func() { got.handled[env.Subject] = append(got.handled[env.Subject], env.Issuer()) })
				return nil
			}))
		must(t, err)
		running, end := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- sixfold.Run(running, consumer) }()

		genuine := odd()
		forge := func(subject string, change func(env *sixfold.Envelope)) *sixfold.Envelope {
			env := &sixfold.Envelope{ID: sixfold.NewID(), Source: "shop", Type: placed, Subject: subject, Key: genuine[0].Key, Time: time.Now().UTC(), ContentType: "application/json",
				CorrelationID: "c", Headers: map[string]string{"tenant": "acme"}, Body: []byte(`{"id":"` + secret + `"}`)}
			change(env)
			return env
		}
		resign := func(owner string) func(env *sixfold.Envelope) {
			return func(env *sixfold.Envelope) { must(t, signer(t, owner).Sign(env)) }
		}
		signed := func(change func(env *sixfold.Envelope)) func(env *sixfold.Envelope) {
			return func(env *sixfold.Envelope) { resign("shop")(env); change(env) }
		}
		forged := []*sixfold.Envelope{
			forge("unsigned", func(env *sixfold.Envelope) {}),
			forge("first with the id", func(env *sixfold.Envelope) { env.ID = genuine[0].ID }), // so that the real one seems to be a repeat
			forge("the same again", func(env *sixfold.Envelope) { env.ID = genuine[1].ID; env.Body = nil }),
			forge("a thief", resign("thief")),
			forge("another body", signed(func(env *sixfold.Envelope) { env.Body = []byte(`{"id":"` + secret + `!"}`) })),
			forge("another key", signed(func(env *sixfold.Envelope) { env.Key = "other" })),
			forge("a header more", signed(func(env *sixfold.Envelope) { env.Headers = with(env.Headers, "admin", secret) })),
			forge("another case", signed(func(env *sixfold.Envelope) {
				env.Headers = with(env.Headers, "Tenant", "acme")
				delete(env.Headers, "tenant")
			})),
			forge("none", func(env *sixfold.Envelope) { env.Headers[signature.Header] = "none" }),
			forge("an issuer of one's own", func(env *sixfold.Envelope) { env.SetIssuer("shop-service") }),
		}
		intruder, err := bus.NewPublisher(broker, nil)
		must(t, err)
		defer intruder.Close(context.Background())
		must(t, intruder.PublishEnvelopes(ctx, "orders", forged))
		got.await(t, ctx, 0, len(forged))

		must(t, outbox.Do(ctx, box, db, func(ctx context.Context, tx *sql.Tx, _ *outbox.Unit) error {
			for _, env := range genuine {
				if err := box.PublishEnvelope(ctx, sqltx.Std(tx), env); err != nil {
					return err
				}
			}
			return nil
		}))
		relaying, endRelay := context.WithCancel(ctx)
		relayed := make(chan error, 1)
		go func() { relayed <- sixfold.Run(relaying, relay) }()
		got.await(t, ctx, len(genuine), len(forged))
		last := &sixfold.Envelope{ID: sixfold.NewID(), Source: "shop", Type: placed, Subject: "last", Time: time.Now().UTC()}
		must(t, signer(t, "shop").Sign(last))
		must(t, intruder.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{last}))
		got.await(t, ctx, len(genuine)+1, len(forged))
		endRelay()
		end()
		must(t, errors.Join(<-ran, <-relayed))

		for _, env := range append(genuine, last) {
			if by := got.handled[env.Subject]; len(by) != 1 || by[0] != "shop-service" {
				t.Errorf("%s was handled %d times, of %q", env.Subject, len(by), by)
			}
		}
		for _, env := range forged {
			if got.dead[env.Subject] != "unauthorised" || got.handled[env.Subject] != nil {
				t.Errorf("%s: dead for %q, handled %q", env.Subject, got.dead[env.Subject], got.handled[env.Subject])
			}
		}
		if len(got.dead) != len(forged) || strings.Contains(logs.String(), secret) {
			t.Errorf("%v\n%s", got.dead, logs.String())
		}
	})
}

func with(h map[string]string, k, v string) map[string]string {
	h = maps.Clone(h)
	h[k] = v
	return h
}
