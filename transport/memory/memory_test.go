package memory_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

func TestSendBlocksWhileTheTopicIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{MaxPending: 3})
		src := f.subscribe(orders)
		sent := make(chan []error)
		go func() { sent <- f.send("orders", "a/1", "b/2", "c/3", "d/4", "e/5") }()
		synctest.Wait()
		select {
		case errs := <-sent:
			t.Fatalf("sent 5 into a topic of 3: %v", errs)
		default:
		}
		ds := f.receive(src, 3)
		f.settle(src, ds...)
		if err := errors.Join(<-sent...); err != nil {
			t.Fatal(err)
		}
		f.mustSend("orders", "f/6")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		batch := []bus.Outgoing{{Topic: "orders", Envelope: &sixfold.Envelope{Key: "g"}}, {Topic: "orders", Envelope: &sixfold.Envelope{Key: "g"}}}
		errs := f.sender.Send(ctx, batch).Wait(t.Context())
		if !errors.Is(errs[0], bus.ErrUnavailable) || !errors.Is(errs[0], context.DeadlineExceeded) || !errors.Is(errs[1], bus.ErrBehindFailed) {
			t.Errorf("full until the context ended: %v", errs)
		}
		go func() { sent <- f.send("orders", "h/7") }()
		synctest.Wait()
		f.Cut()
		if errs := <-sent; !errors.Is(errs[0], bus.ErrUnavailable) {
			t.Errorf("cut while waiting for room: %v", errs)
		}
	})
}

// What was confirmed is not lost because its group comes late.
func TestDeclaredTopicKeepsForItsFirstGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Topics: []string{"orders"}})
		copyOf := bus.Subscription{Topics: []string{"orders"}}
		f.mustSend("orders", "k/1", "k/2")
		c := f.subscribe(copyOf)
		f.mustSend("orders", "k/3")
		want(t, f.receive(c, 1), "k/3")
		want(t, f.receive(f.subscribe(ordersOrdered), 3), "k/1", "k/2", "k/3")
		other := ordersOrdered
		other.Group = "billing"
		late := f.subscribe(other)
		f.mustSend("orders", "k/4")
		want(t, f.receive(late, 1), "k/4")
	})
}

func TestDeclaredTopicKeepsAgainAfterItsLastGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Topics: []string{"orders"}})
		src := f.subscribe(orders)
		f.mustSend("orders", "k/1")
		src.Close(t.Context())
		if err := f.Drop("shipping"); err != nil {
			t.Fatal(err)
		}
		f.mustSend("orders", "k/2")
		want(t, f.receive(f.subscribe(orders), 1), "k/2")
	})
}

func TestTopicsExistAsLongAsSomebodyKnowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		if errs := f.send("orders", "/1"); !errors.Is(errs[0], bus.ErrUnroutable) {
			t.Errorf("unknown topic: %v", errs[0])
		}
		c := f.subscribe(bus.Subscription{Topics: []string{"orders"}})
		f.mustSend("orders", "/2")
		c.Close(t.Context())
		if errs := f.send("orders", "/3"); !errors.Is(errs[0], bus.ErrUnroutable) {
			t.Errorf("the only copy has gone: %v", errs[0])
		}
		g := f.subscribe(orders)
		if err := f.Drop("shipping"); err == nil || !strings.Contains(err.Error(), "close their sources first") {
			t.Errorf("drop a group with members: %v", err)
		}
		g.Close(t.Context())
		f.mustSend("orders", "/4") // waits for the group
		if n := f.Pending("orders"); n != 1 {
			t.Errorf("%d pending, want 1", n)
		}
		if err := f.Drop("shipping"); err != nil {
			t.Fatal(err)
		}
		if errs := f.send("orders", "/5"); !errors.Is(errs[0], bus.ErrUnroutable) {
			t.Errorf("the only group was dropped: %v", errs[0])
		}
	})
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	broker := memory.New(&memory.Options{MaxBody: -1, MaxPending: -2, Lease: -3, Topics: []string{"a b", "ok", "#"}})
	_, err := broker.Open(t.Context())
	_, err2 := broker.Subscribe(t.Context(), orders)
	for _, err := range []error{err, err2} {
		if !errors.Is(err, bus.ErrRefused) {
			t.Fatalf("got %v", err)
		}
		for _, part := range []string{"MaxBody", "MaxPending", "Lease", `"a b"`, `"#"`} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
	}
}

func TestBadSubscriptionsAndCalls(t *testing.T) {
	f := newFixture(t, nil)
	for _, s := range []bus.Subscription{{}, {Topics: []string{"a b"}}, {Topics: []string{"a", "a"}}, {Topics: []string{"a"}, MaxInFlight: -1}} {
		if _, err := f.Subscribe(t.Context(), s); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Subscribe(ended, orders); !errors.Is(err, context.Canceled) {
		t.Errorf("subscribe with an ended context: %v", err)
	}
	src := f.subscribe(orders)
	if _, err := src.Receive(t.Context(), 0); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("receive 0: %v", err)
	}
	if errs := src.Settle(t.Context(), []bus.Settlement{{}, {Delivery: &bus.Delivery{}}}); !errors.Is(errs[0], bus.ErrLost) || !errors.Is(errs[1], bus.ErrLost) {
		t.Errorf("settle nothing: %v", errs)
	}
	if errs := f.sender.Send(t.Context(), []bus.Outgoing{{Topic: "orders"}}).Wait(t.Context()); !errors.Is(errs[0], bus.ErrRefused) {
		t.Errorf("send no envelope: %v", errs)
	}
	if err := f.Declare("a\x00b", ""); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("declare: %v", err)
	}
}

// Each attribute of an envelope travels; a new one fails here until copyEnvelope knows it.
func TestEveryAttributeTravels(t *testing.T) {
	f := newFixture(t, nil)
	src := f.subscribe(orders)
	var e sixfold.Envelope
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch fd := v.Field(i); {
		case !v.Type().Field(i).IsExported():
		case fd.Kind() == reflect.String:
			fd.SetString(v.Type().Field(i).Name)
		case fd.Type() == reflect.TypeFor[time.Time]():
			fd.Set(reflect.ValueOf(time.Unix(int64(i), 1).UTC()))
		case fd.Kind() == reflect.Map:
			fd.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		case fd.Kind() == reflect.Slice:
			fd.Set(reflect.ValueOf([]byte("body")))
		default:
			t.Fatalf("no value for field %s", v.Type().Field(i).Name)
		}
	}
	if errs := f.sender.Send(t.Context(), []bus.Outgoing{{Topic: "orders", Envelope: &e}}).Wait(t.Context()); errs[0] != nil {
		t.Fatal(errs[0])
	}
	d := f.receive(src, 1)[0]
	got := reflect.ValueOf(d.Envelope)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() && !reflect.DeepEqual(got.Field(i).Interface(), v.Field(i).Interface()) {
			t.Errorf("%s did not travel", v.Type().Field(i).Name)
		}
	}
}
