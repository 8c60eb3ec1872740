package memory_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// fixture is a broker and what the tests do with it.
type fixture struct {
	*memory.Transport
	t      *testing.T
	sender bus.Sender
}

func newFixture(t *testing.T, opts *memory.Options) *fixture {
	t.Helper()
	f := &fixture{Transport: memory.New(opts), t: t}
	t.Cleanup(func() { f.Close(context.Background()) })
	f.open()
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	s, err := f.Open(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.sender = s
}

func (f *fixture) subscribe(s bus.Subscription) bus.Source {
	f.t.Helper()
	src, err := f.Subscribe(f.t.Context(), s)
	if err != nil {
		f.t.Fatal(err)
	}
	return src
}

// send sends "key/body" messages and answers their errors.
func (f *fixture) send(topic string, messages ...string) []error {
	f.t.Helper()
	batch := make([]bus.Outgoing, len(messages))
	for i, m := range messages {
		key, body, _ := strings.Cut(m, "/")
		batch[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: m, Key: key, Body: []byte(body)}}
	}
	return f.sender.Send(f.t.Context(), batch).Wait(f.t.Context())
}

func (f *fixture) mustSend(topic string, messages ...string) {
	f.t.Helper()
	if err := errors.Join(f.send(topic, messages...)...); err != nil {
		f.t.Fatal(err)
	}
}

// receive takes exactly n deliveries.
func (f *fixture) receive(src bus.Source, n int) []*bus.Delivery {
	f.t.Helper()
	var all []*bus.Delivery
	for len(all) < n {
		ds, err := src.Receive(f.t.Context(), n-len(all))
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, ds...)
	}
	return all
}

// nothing fails when src has a delivery. In a bubble the time that it waits costs nothing.
func (f *fixture) nothing(src bus.Source) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Millisecond)
	defer cancel()
	ds, err := src.Receive(ctx, 100)
	if !errors.Is(err, context.DeadlineExceeded) {
		f.t.Fatalf("got %v, %v; want nothing", ids(ds), err)
	}
}

func (f *fixture) settle(src bus.Source, ds ...*bus.Delivery) {
	f.t.Helper()
	if err := errors.Join(src.Settle(f.t.Context(), settlements(false, ds...))...); err != nil {
		f.t.Fatal(err)
	}
}

func settlements(release bool, ds ...*bus.Delivery) []bus.Settlement {
	out := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		out[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return out
}

func ids(ds []*bus.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.ID
	}
	return out
}

func want(t *testing.T, ds []*bus.Delivery, ids_ ...string) {
	t.Helper()
	if got := ids(ds); !slices.Equal(got, ids_) {
		t.Fatalf("got %v, want %v", got, ids_)
	}
}

var ordersOrdered = bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}
var orders = bus.Subscription{Topics: []string{"orders"}, Group: "shipping"}

// guarantees: K2. A lane does not move while its owner holds something of it.
func TestLaneMovesOnlyWhenNothingIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a := f.subscribe(ordersOrdered)
		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprintf("k%d/1", i))
		}
		f.mustSend("orders", keys...)
		held := f.receive(a, 200)
		b := f.subscribe(ordersOrdered)
		for i := range keys {
			keys[i] = strings.Replace(keys[i], "/1", "/2", 1)
		}
		f.mustSend("orders", keys...)
		f.nothing(b) // every lane is held by a
		f.settle(a, held...)
		ds, err := b.Receive(t.Context(), 200)
		if err != nil || len(ds) < 50 || len(ds) > 150 {
			t.Fatalf("after a settled, b got %d of 200, %v; want about half", len(ds), err)
		}
		f.receive(a, 200-len(ds))
		f.nothing(a)
		f.nothing(b)
	})
}

// guarantees: K2, R5. [TwoDeathsKeepOrder]
func TestTwoDeathsKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a, b, c := f.subscribe(ordersOrdered), f.subscribe(ordersOrdered), f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1", "k/2", "k/3", "k/4", "k/5", "k/6", "k/7")
		next := func(n int) (bus.Source, []*bus.Delivery) { // whoever owns the lane
			for _, s := range []bus.Source{a, b, c} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				ds, err := s.Receive(ctx, n)
				cancel()
				if err == nil {
					return s, ds
				}
			}
			t.Fatal("nobody owns the lane")
			return nil, nil
		}
		first, ds := next(6)
		want(t, ds, "k/1", "k/2", "k/3", "k/4", "k/5", "k/6")
		f.settle(first, ds[0])
		f.Kill(first)
		select {
		case <-ds[1].Owned.Done():
		default:
			t.Error("the dead source's deliveries are still owned")
		}
		second, ds := next(3)
		want(t, ds, "k/2", "k/3", "k/4")
		if second == first || !ds[0].Redelivered {
			t.Errorf("the lane stayed with the dead (%v), redelivered is %v", second == first, ds[0].Redelivered)
		}
		f.settle(second, ds[0])
		f.Kill(second)
		third, ds := next(10)
		want(t, ds, "k/3", "k/4", "k/5", "k/6", "k/7")
		if !ds[3].Redelivered || ds[4].Redelivered {
			t.Error("6 was delivered before and 7 was not; Redelivered says otherwise")
		}
		f.settle(third, ds...)
		if n := f.Pending("orders"); n != 0 {
			t.Errorf("%d messages are pending", n)
		}
	})
}

func TestLeasePasses(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run("ordered="+strconv.FormatBool(ordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, &memory.Options{Lease: 30 * time.Second})
				sub := orders
				sub.Ordered = ordered
				a := f.subscribe(sub)
				f.mustSend("orders", "k/1", "k/2", "k/3")
				ds := f.receive(a, 3)
				b := f.subscribe(sub)
				for range 5 {
					time.Sleep(f.Capabilities().ExtendEvery)
					if err := a.Extend(t.Context(), ds); err != nil {
						t.Fatal(err)
					}
					f.nothing(b)
				}
				time.Sleep(20 * time.Second)
				a.Extend(t.Context(), ds[1:])
				time.Sleep(15 * time.Second)
				synctest.Wait()
				if ds[0].Owned.Err() == nil {
					t.Error("the first delivery's lease passed and it is still owned")
				}
				if ordered {
					at := time.Now()
					again := f.receive(b, 3)
					if waited := time.Since(at); waited > 0 {
						t.Errorf("the rest of the lane came %v after its first delivery was lost; it goes as a whole", waited)
					}
					want(t, again, "k/1", "k/2", "k/3")
					if errs := a.Settle(t.Context(), settlements(false, ds[2])); !errors.Is(errs[0], bus.ErrLost) {
						t.Errorf("settle of a lost lane: %v", errs[0])
					}
					return
				}
				want(t, f.receive(b, 1), "k/1")
				if err := a.Extend(t.Context(), ds); !errors.Is(err, bus.ErrLost) {
					t.Errorf("extend with a lost delivery: %v", err)
				}
				f.settle(a, ds[1:]...)
			})
		})
	}
}

// The lease of what was not extended passes although an earlier delivery was.
func TestLeasesPassOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Lease: 3 * time.Second})
		a := f.subscribe(orders)
		f.mustSend("orders", "/1", "/2")
		ds := f.receive(a, 2)
		time.Sleep(2 * time.Second)
		a.Extend(t.Context(), ds[:1])
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if ds[0].Owned.Err() != nil || ds[1].Owned.Err() == nil {
			t.Errorf("the first was extended and the second was not; owned: %v and %v", ds[0].Owned.Err() == nil, ds[1].Owned.Err() == nil)
		}
		f.settle(a, ds[0])
	})
}

func TestHungMemberLosesItsLanesAndGetsThemBackWhenItReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Lease: time.Second})
		a := f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1")
		f.receive(a, 1)
		time.Sleep(2 * time.Second)
		b := f.subscribe(ordersOrdered)
		ds := f.receive(b, 1)
		f.settle(b, ds...)
		var more []string
		for i := range 100 {
			more = append(more, fmt.Sprintf("m%d/1", i))
		}
		f.mustSend("orders", more...)
		f.settle(b, f.receive(b, 100)...) // a sleeps, so b has all lanes
		f.nothing(a)                      // a is awake again
		f.mustSend("orders", more...)
		n := 0
		ds, err := a.Receive(t.Context(), 100)
		if n = len(ds); err != nil || n == 0 || n == 100 {
			t.Errorf("a got %d of 100, %v; want a share", n, err)
		}
	})
}

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

// A confirm that is withheld while its batch waits for room is not forgotten when the sender is lost.
func TestCutWhileABatchWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{MaxPending: 1})
		f.subscribe(orders)
		f.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
		sent := make(chan []error)
		go func() { sent <- f.send("orders", "a/1", "b/2") }()
		synctest.Wait()
		f.Cut()
		for _, err := range <-sent {
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("cut while the batch waited for room: %v", err)
			}
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

func TestOrderedMayChangeWhileTheGroupIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a := f.subscribe(orders)
		if _, err := f.Subscribe(t.Context(), ordersOrdered); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("members that disagree about Ordered: %v", err)
		}
		f.mustSend("orders", "k/1", "l/1", "k/2", "l/2", "k/3", "l/3")
		f.receive(a, 3)
		a.Close(t.Context())
		b := f.subscribe(ordersOrdered)
		ds := f.receive(b, 6)
		for _, key := range []string{"k", "l"} {
			var of []*bus.Delivery
			for _, d := range ds {
				if d.Key == key {
					of = append(of, d)
				}
			}
			want(t, of, key+"/1", key+"/2", key+"/3")
		}
		b.Close(t.Context())
		want(t, f.receive(f.subscribe(orders), 6), "k/1", "l/1", "k/2", "l/2", "k/3", "l/3")
	})
}

func TestCutTakesDeliveriesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		src := f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1", "k/2")
		ds := f.receive(src, 1)
		f.Cut()
		if ds[0].Owned.Err() == nil {
			t.Error("the delivery is still owned")
		}
		if errs := src.Settle(t.Context(), settlements(false, ds...)); !errors.Is(errs[0], bus.ErrLost) {
			t.Errorf("settle after the cut: %v", errs[0])
		}
		f.nothing(src)
		f.Restore()
		again := f.receive(src, 2)
		want(t, again, "k/1", "k/2")
		if !again[0].Redelivered || again[1].Redelivered {
			t.Error("Redelivered is wrong")
		}
	})
}

func TestWithheldConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		f.subscribe(orders)
		f.HoldConfirms(func(_ string, e *sixfold.Envelope) bool { return e.Key == "slow" })
		send := func() bus.Pending {
			return f.sender.Send(t.Context(), []bus.Outgoing{
				{Topic: "orders", Envelope: &sixfold.Envelope{Key: "fast"}},
				{Topic: "orders", Envelope: &sixfold.Envelope{Key: "slow"}},
			})
		}
		p := send()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if errs := p.Wait(ctx); errs[0] != nil || !errors.Is(errs[1], context.DeadlineExceeded) {
			t.Errorf("while withheld: %v", errs)
		}
		f.ReleaseConfirms()
		if err := errors.Join(p.Wait(ctx)...); err != nil {
			t.Errorf("after the release: %v", err)
		}
		p = send()
		f.sender.Close(t.Context())
		if errs := p.Wait(t.Context()); errs[0] != nil || !errors.Is(errs[1], bus.ErrUnavailable) {
			t.Errorf("sender closed while withheld: %v", errs)
		}
		f.open()
		p = send()
		f.Cut()
		if errs := p.Wait(t.Context()); errs[0] != nil || !errors.Is(errs[1], bus.ErrUnavailable) {
			t.Errorf("cut while withheld: %v", errs)
		}
	})
}

// [PrefixAfterFailure]
func TestRefusedSends(t *testing.T) {
	f := newFixture(t, nil)
	f.subscribe(orders)
	f.RefuseSends(func(_ string, e *sixfold.Envelope) error {
		if e.ID == "k/2" {
			return bus.ErrRefused
		}
		return nil
	})
	var taken []string
	f.Tap(func(topic string, e *sixfold.Envelope) { taken = append(taken, topic+" "+e.ID) })
	errs := f.send("orders", "k/1", "k/2", "l/1", "k/3", "/1")
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrRefused) || errs[2] != nil || !errors.Is(errs[3], bus.ErrBehindFailed) || errs[4] != nil {
		t.Errorf("got %v", errs)
	}
	if !slices.Equal(taken, []string{"orders k/1", "orders l/1", "orders /1"}) {
		t.Errorf("the tap saw %v", taken)
	}
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
