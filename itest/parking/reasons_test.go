package parking

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// letter is a row of parked.
type letter struct {
	state, attempts                  int
	reason, text, node, typ, topic   string
	attrs, body                      []byte
	line                             sql.NullInt64
	firstBeforeLast, attemptsPutDown int
}

func (w *world) letter(id string) (l letter) {
	w.Helper()
	err := w.pool.QueryRowContext(w.Context(), w.form("SELECT state, attempts, reason, error, node, type, topic, attrs, body, line, CASE WHEN first_at <= last_at THEN 1 ELSE 0 END, (SELECT count(*) FROM "+
		w.table("attempt")+" a WHERE a.n = p.n) FROM "+w.table("parked")+" p WHERE id = $1 AND state = 2"), id).
		Scan(&l.state, &l.attempts, &l.reason, &l.text, &l.node, &l.typ, &l.topic, &l.attrs, &l.body, &l.line, &l.firstBeforeLast, &l.attemptsPutDown)
	if err != nil {
		w.Errorf("dead letter %s: %v", id, err)
	}
	return l
}

// The outermost text says little; the chain says why.
type opaque struct{ err error }

func (opaque) Error() string   { return "failed to dispatch" }
func (o opaque) Unwrap() error { return o.err }

// What no handler may see is dead at once, with its reason and as it came; what a handler cannot do is dead after its attempts. Nothing
// of it holds up another key. guarantees: I6, I8, I9, I10
func TestDeadLettersKeepWhatCame(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		broker := memory.New(&memory.Options{Topics: []string{"steps"}})
		t.Cleanup(func() { _ = broker.Close(context.Background()) })
		box := w.box()
		c := w.consume(broker, bus.Subscription{Topics: []string{"steps"}, Group: "c", Ordered: true},
			bus.Options{Retry: quick(3), MaxBody: 1000}, inbox.On(box, func(ctx context.Context, tx *sql.Tx, m step) error {
				switch m.Key {
				case "panics":
					panic("no bottom")
				case "permanent":
					return sixfold.Permanent(errors.New("there is no such order"))
				case "fails":
					return opaque{fmt.Errorf("charge: %w", errors.New("card\x00refused"))}
				}
				return effect(ctx, tx, m)
			}))
		w.poll("the consumer runs", func() bool { return c.Health().State == bus.Running })
		s, err := broker.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		send := func(id, key string, edit func(env *sixfold.Envelope)) {
			env := &sixfold.Envelope{ID: id, Source: "elsewhere", Type: "test.step", Key: key, Time: time.Now(), ContentType: "application/json",
				Headers: map[string]string{"tenant": "blue"}, Body: []byte(`{"Key":"` + key + `","N":1}`)}
			if edit != nil {
				edit(env)
			}
			for _, err := range s.Send(t.Context(), []bus.Outgoing{{Topic: "steps", Envelope: env}}).Wait(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		send("permanent", "permanent", nil)
		send("fails", "fails", nil)
		send("panics", "panics", nil)
		send("undecodable", "u", func(env *sixfold.Envelope) { env.Body = []byte(`{"Key":`) })
		send("foreign", "f", func(env *sixfold.Envelope) { env.Type = "test.foreign" })
		send("large", "l", func(env *sixfold.Envelope) { env.Body = bytes.Repeat([]byte(" "), 1001) })
		send("expired", "e", func(env *sixfold.Envelope) { env.Expires = time.Now().Add(-time.Minute) })
		send("used", "key0", nil)
		w.poll("the first use", func() bool { return w.count("SELECT count(*) FROM effect") == 1 })
		send("used", "key0", func(env *sixfold.Envelope) { env.Body = []byte(`{"Key":"key0","N":2}`) })
		for _, key := range []string{"f", "e", "key0", "other"} { // keys of what had no effect to wait for go on, and others anyway
			send("after-"+key, key, nil)
		}
		for _, key := range []string{"permanent", "fails", "panics", "u", "l"} {
			send("behind-"+key, key, nil)
		}
		w.poll("eight dead letters", func() bool { return w.count("SELECT count(*) FROM "+w.table("parked")+" WHERE state = 2") == 8 })
		w.poll("five wait behind", func() bool { return w.count("SELECT count(*) FROM "+w.table("parked")+" WHERE state = 1") == 5 })
		w.poll("four go on", func() bool { return w.count("SELECT count(*) FROM effect") == 5 })
		c.stop()

		for id, want := range map[string]struct {
			reason, text string
			attempts     int
			holds        bool
		}{
			"permanent":   {"permanent", "there is no such order", 1, true},
			"fails":       {"attempts", "failed to dispatch <- charge: card refused", 3, true},
			"panics":      {"attempts", "panicked: no bottom", 3, true},
			"undecodable": {"undecodable", "test.step", 0, true},
			"foreign":     {"no-handler", "no handler for messages called", 0, false},
			"large":       {"too-large", "the body has 1001 bytes, the consumer's MaxBody is 1000", 0, true},
			"expired":     {"expired", "the message expired", 0, false},
			"used":        {"id-reused", "handled before with another payload", 1, false},
		} {
			l := w.letter(id)
			if l.reason != want.reason || !strings.Contains(l.text, want.text) || l.attempts != want.attempts || l.line.Valid != want.holds {
				t.Errorf("%s: %+v, want %+v", id, l, want)
			}
			if l.topic != "steps" || l.node == "" || !strings.Contains(string(l.attrs), "blue") || len(l.body) == 0 || l.firstBeforeLast != 1 {
				t.Errorf("%s: %+v", id, l)
			}
			if want.attempts > 0 && l.attemptsPutDown != want.attempts {
				t.Errorf("%s: %d attempts are put down, want %d", id, l.attemptsPutDown, want.attempts)
			}
		}
		if l := w.letter("large"); len(l.body) != 1001 {
			t.Errorf("%d bytes were kept", len(l.body))
		}
		if strings.ContainsRune(w.letter("fails").text, 0) {
			t.Error("a NUL was kept")
		}
	})
}

// A copy of a message that is parked or dead is acknowledged and not run; when the first has been handled after all, the
// copy that comes later is not run either. [DeferredCopyNotDeduped] guarantees: I3, I1
func TestCopiesOfParkedMessagesDoNotRun(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		broker := memory.New(&memory.Options{Topics: []string{"steps"}})
		t.Cleanup(func() { _ = broker.Close(context.Background()) })
		box := w.box()
		open := make(chan struct{})
		c := w.consume(broker, bus.Subscription{Topics: []string{"steps"}, Group: "c", Ordered: true}, bus.Options{Retry: quick(1000)},
			inbox.On(box, func(ctx context.Context, tx *sql.Tx, m step) error {
				if err := effect(ctx, tx, m); err != nil {
					return err
				}
				select {
				case <-open:
					return nil
				default:
				}
				if m.Key == "dead" {
					return sixfold.Permanent(errNotYet)
				}
				return errNotYet
			}))
		w.poll("the consumer runs", func() bool { return c.Health().State == bus.Running })
		p, err := bus.NewPublisher(broker, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		send := func(id, key string) {
			env := &sixfold.Envelope{ID: id, Source: "elsewhere", Type: "test.step", Key: key, Time: time.Now(), Body: []byte(`{"Key":"` + key + `","N":1}`)}
			if err := p.PublishEnvelopes(t.Context(), "steps", []*sixfold.Envelope{env}); err != nil {
				t.Fatal(err)
			}
		}
		one, two := sixfold.NewID(), sixfold.NewID()
		send(one, "key0")
		send(two, "dead")
		w.poll("both are parked", func() bool { return w.count("SELECT count(*) FROM "+w.table("parked")) == 2 })
		send(one, "key0")
		send(two, "dead")
		send(one, "key0")
		w.poll("the copies are acknowledged", func() bool { return c.Health().InFlight == 0 })
		if n := w.count("SELECT count(*) FROM " + w.table("parked")); n != 2 {
			t.Errorf("%d are parked", n)
		}
		close(open)
		w.poll("the first is handled", func() bool { return w.count("SELECT count(*) FROM effect") == 1 })
		send(one, "key0")
		send(two, "dead")
		send(sixfold.NewID(), "key1")
		w.poll("another is handled", func() bool { return w.count("SELECT count(*) FROM effect WHERE k = 'key1'") == 1 })
		c.stop()
		w.wantOnceInOrder("c", 2, 1)
		if n := w.count("SELECT count(*) FROM effect"); n != 2 {
			t.Errorf("%d effects", n)
		}
	})
}
