package durable

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/sqltx"
)

// An answer, a rejection and a fault each come once, under the key of their request; a fault takes back what its handler wrote,
// and the deadline of what was answered is called off. guarantees: I1, I7, Q4
func TestOutcomes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.answer = func(_ context.Context, _ *sql.Tx, m reserve) (res reserved, err error) {
			switch m.Item {
			case "sofa":
				return res.Reject("no sofa"), nil
			case "secret":
				return res, request.Fail(request.Unauthorised, errNo)
			case "broken":
				return res, sixfold.Permanent(errNo)
			}
			return res.Accept(7), nil
		}
		w.relay()
		w.run(w.warehouse(), w.shop())
		o := w.next(w.ask("lamp", time.Hour))
		if key, _ := w.keys.Load(o.Request); key != "lamp" {
			t.Errorf("the answer has the key %q", key)
		}
		if v, err := o.Value(); err != nil || o.Late {
			t.Errorf("%+v, %v", o, err)
		} else if n, ok := v.Value(); !ok || n != 7 {
			t.Errorf("the place is %d", n)
		}
		v, err := w.next(w.ask("sofa", 0)).Value()
		if no, ok := v.Rejection(); err != nil || !ok || no != "no sofa" {
			t.Errorf("the rejection is %q, %v", no, err)
		}
		for item, category := range map[string]request.Category{"secret": request.Unauthorised, "broken": request.Internal} {
			id := w.ask(item, 0)
			_, err = w.next(id).Value()
			var f *request.Fault
			if key, _ := w.keys.Load(id); key != item {
				t.Errorf("the fault of %s has the key %q", item, key)
			}
			if !errors.As(err, &f) || f.Category != category || f.Request != id || f.Message != "warehouse.reserve" {
				t.Errorf("%s: %v", item, err)
			}
		}
		if n := w.count("SELECT count(*) FROM effect"); n != 2 {
			t.Errorf("%d effects are left of two that were answered and two that failed", n)
		}
		w.until("no deadline waits", func() bool { return w.waiting() == 0 }) // what is told is told before its commit
	})
}

// The reply waits for a requester that was away when it came. guarantees: R1, I1
func TestRequesterWasAway(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		stop := w.run(w.shop()) // which makes its place at the broker
		w.relay()
		stopWarehouse := w.run(w.warehouse())
		w.next(w.ask("first", 0))
		stop()
		id := w.ask("lamp", 0)
		w.until("it is answered", func() bool { return w.count("SELECT count(*) FROM effect") == 2 })
		stopWarehouse()
		if len(w.told) != 0 {
			t.Fatal("who was away was told")
		}
		w.run(w.shop())
		if _, err := w.next(id).Value(); err != nil {
			t.Error(err)
		}
	})
}

// forged is a reply as another program writes it.
type forged struct {
	name string
	body string
}

func (f forged) MessageName() string          { return f.name }
func (f forged) MarshalJSON() ([]byte, error) { return []byte(f.body), nil }

var _ json.Marshaler = forged{}

// put publishes a message to the shop's topic, as if it answered the request cause.
func (w *world) put(name, body, cause string) {
	w.Helper()
	ctx := sixfold.WithInfo(w.Context(), &sixfold.Info{Envelope: &sixfold.Envelope{ID: cause, Type: "warehouse.reserve", Source: "shop"}, Attempt: 1})
	err := w.db.Run(ctx, func(tx *sql.Tx) error {
		_, err := w.ob.Publish(ctx, sqltx.Std(tx), forged{name, body}, outbox.Topic("shop.replies"))
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	w.ob.Committed()
}

// What answers a request again is dropped, although its message is another one; so is a deadline that comes behind the reply.
// guarantees: Q2
func TestSecondReplyIsDropped(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.relay()
		w.run(w.warehouse(), w.shop())
		id := w.ask("lamp", time.Hour)
		w.next(id)
		w.put("warehouse.reserve.reply", `{"value":8}`, id)
		w.put("warehouse.reserve.fault", `{"request":"`+id+`","category":"internal"}`, id)
		w.put("warehouse.reserve.deadline", `{"request":"`+id+`"}`, id)
		last := w.ask("last", 0)
		w.until("all is handled", func() bool { return len(w.told) > 0 })
		w.next(last)
		w.run(w.shop()) // a second look at the same group: nothing is left
		if len(w.told) != 0 {
			t.Errorf("%+v was told too", <-w.told)
		}
	})
}

// The passing of a deadline is told once, and the reply that comes behind it as a late one. guarantees: Q1, Q3
func TestReplyBehindTheDeadline(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.relay()
		w.run(w.shop())
		id := w.ask("lamp", 300*time.Millisecond)
		o := w.next(id) // nobody has answered
		if _, err := o.Value(); !errors.Is(err, durable.ErrDeadline) || o.Late {
			t.Fatalf("%+v, %v", o, err)
		}
		w.put("warehouse.reserve.deadline", `{"request":"`+id+`"}`, id)
		w.put("warehouse.reserve.reply", `{"value":7}`, id)
		o = w.next(id)
		if v, err := o.Value(); err != nil || !o.Late {
			t.Errorf("%+v, %v", o, err)
		} else if n, _ := v.Value(); n != 7 {
			t.Errorf("the place is %d", n)
		}
	})
}

// A request that was not begun by its deadline is not run. guarantees: Q3
func TestExpiredIsNotRun(t *testing.T) {
	w := newWorld(t, "sqlite", "memory")
	w.relay()
	w.run(w.shop())
	w.next(w.ask("late", 50*time.Millisecond))
	w.run(w.warehouse())
	w.run(w.shop())
	id := w.ask("lamp", 0)
	w.next(id)
	if n := w.count("SELECT count(*) FROM effect"); n != 1 {
		t.Errorf("%d ran", n)
	}
}

// A reply goes to no topic that is none for replies, and the request does not run. guarantees: Q4
func TestForeignAddress(t *testing.T) {
	w := newWorld(t, "sqlite", "memory")
	w.relay()
	w.run(w.warehouse(), w.shop())
	err := w.db.Run(t.Context(), func(tx *sql.Tx) error {
		_, err := w.ob.Publish(t.Context(), sqltx.Std(tx), reserve{Item: "stolen"}, outbox.ReplyTo("warehouse"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.ob.Committed()
	w.next(w.ask("lamp", 0))
	if n := w.count("SELECT count(*) FROM effect WHERE item = 'stolen'"); n != 0 {
		t.Error("it ran")
	}
}

func TestAskRefusesNonsense(t *testing.T) {
	w := newWorld(t, "sqlite", "memory")
	none, err := durable.New(w.ob, w.box, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.db.Run(t.Context(), func(tx *sql.Tx) error {
		for what, ask := range map[string]func() (string, error){
			"no request":   func() (string, error) { return w.service.Ask(t.Context(), sqltx.Std(tx), forged{}, 0) },
			"nil":          func() (string, error) { return w.service.Ask(t.Context(), sqltx.Std(tx), nil, 0) },
			"no topic":     func() (string, error) { return none.Ask(t.Context(), sqltx.Std(tx), reserve{}, 0) },
			"in the past":  func() (string, error) { return w.service.Ask(t.Context(), sqltx.Std(tx), reserve{}, -1) },
			"no scheduler": func() (string, error) { return none.Ask(t.Context(), sqltx.Std(tx), reserve{}, 1) },
		} {
			if _, err := ask(); !errors.Is(err, sixfold.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := durable.New[*sql.Tx](nil, nil, &durable.Options{ReplyTo: "shop"}); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("new: %v", err)
	}
}
