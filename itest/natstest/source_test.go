package natstest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// numbered makes n messages of one key.
func numbered(topic, key string, n int) []bus.Outgoing {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = key + "/" + strconv.Itoa(i)
	}
	return hand.Messages(topic, texts...)
}

// firsts checks that the first arrivals of each key are numbered without a hole, from 0.
type firsts map[string]int

func (f firsts) add(t testing.TB, ds ...*bus.Delivery) {
	t.Helper()
	for _, d := range ds {
		_, text, _ := strings.Cut(string(d.Body), "/")
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if n > f[d.Key] {
			t.Fatalf("of key %s %d came, and %d had not", d.Key, n, f[d.Key])
		}
		f[d.Key] = max(f[d.Key], n+1)
	}
}

// An owner that was frozen past its lease has lost its lanes, and settles nothing. [StaleSettleRefused]
// guarantees: R5, R7, K2
func TestAFrozenOwner(t *testing.T) {
	f := newFixture(t, nil)
	p := newProxy(t, f.url)
	frozen, other := f.connect(t, p.url(), fast(nats.Options{})), f.connect(t, f.url, calm(nats.Options{}))
	sub := group("orders", true)
	sub.MaxInFlight = 5
	src := hand.Subscribe(t, frozen, sub)
	hand.MustSend(t, hand.Open(t, other), numbered("orders", "k", 20)...)
	ds := hand.Receive(t, src, 5)
	hand.Settle(t, src, ds[:2]...)
	thaw := p.HoldDown("source")
	second := hand.Subscribe(t, other, sub)
	seen := firsts{"k": 2}
	for seen["k"] < 20 {
		ds := hand.Receive(t, second, 1)
		seen.add(t, ds...)
		for _, d := range ds {
			if n := string(d.Body); (n == "k/2" || n == "k/4") && !d.Redelivered {
				t.Errorf("%s was with the frozen owner and says Redelivered=false", n)
			}
		}
		hand.Settle(t, second, ds...)
	}
	thaw()
	<-ds[4].Owned.Done()
	for _, err := range hand.TrySettle(t, src, false, ds[2:]...) {
		if !errors.Is(err, bus.ErrLost) {
			t.Errorf("the frozen owner settles: %v", err)
		}
	}
}

// Whatever step of a take-over an owner dies after, the next one goes on where it has to. [TwoDeathsKeepOrder]
// guarantees: K2, I8
func TestDeathsAtAnyStep(t *testing.T) {
	f := newFixture(t, nil)
	steady := f.connect(t, f.url, calm(nats.Options{}))
	sub := group("orders", true)
	sub.MaxInFlight = 8
	if err := steady.Declare(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	keys := []string{"a", "b", "c"}
	const each = 60
	for i := range each {
		for _, k := range keys {
			hand.MustSend(t, hand.Open(t, steady), hand.Messages("orders", k+"/"+strconv.Itoa(i))...)
		}
	}
	seen := firsts{}
	for n := range 25 {
		p := newProxy(t, f.url)
		o := fast(nats.Options{})
		o.Lease = 300 * time.Millisecond
		src := hand.Subscribe(t, f.connect(t, p.url(), o), sub)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%13)*60*time.Millisecond)
		ds, _ := src.Receive(ctx, 4)
		cancel()
		seen.add(t, ds...)
		if len(ds) > 0 {
			hand.TrySettle(t, src, false, ds[0])
		}
		p.Cut()
	}
	src := hand.Subscribe(t, steady, sub)
	for seen["a"] < each || seen["b"] < each || seen["c"] < each {
		ds := hand.Receive(t, src, 1)
		seen.add(t, ds...)
		hand.Settle(t, src, ds...)
	}
	_, js := f.raw(t)
	stream, err := js.Stream(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	// Lanes are taken side by side: those that have none of the keys may still be on their way, with a durable for each step.
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for pace := time.NewTicker(50 * time.Millisecond); ; <-pace.C {
		lanes := map[string]int{}
		for name := range stream.ConsumerNames(patience).Name() {
			lanes[name[:strings.LastIndexByte(name, '~')]]++
		}
		crowded := 0
		for _, n := range lanes {
			if n > 2 { // the newest, and one whose end is written with the next take-over
				crowded++
			}
		}
		switch {
		case patience.Err() != nil:
			t.Fatalf("of the lanes with their numbers of durables, %d keep more than two: %v", crowded, lanes)
		case crowded == 0 && len(lanes) > 0:
			return
		}
	}
}

// A planned stop gives back what is open, and nothing that was settled comes again, in whatever order that was.
// guarantees: R2, K2
func TestAPlannedStopRepeatsNothing(t *testing.T) {
	f := newFixture(t, nil)
	o := calm(nats.Options{})
	o.Lanes = 1
	tr := f.connect(t, f.url, o)
	sub := group("orders", true)
	sub.MaxInFlight = 6
	src := hand.Subscribe(t, tr, sub)
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "a/0", "b/0", "c/0", "d/0", "e/0", "f/0", "g/0", "h/0")...)
	ds := hand.Receive(t, src, 6)
	hand.Settle(t, src, ds[1], ds[4], ds[5])
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	src = hand.Subscribe(t, tr, sub)
	got := hand.Receive(t, src, 5)
	if want := []string{"a/0", "c/0", "d/0", "g/0", "h/0"}; !slices.Equal(hand.Bodies(got), want) {
		t.Errorf("got %v, want %v", hand.Bodies(got), want)
	}
	for i, d := range got {
		if d.Redelivered != (i < 3) {
			t.Errorf("%s: Redelivered=%v", d.Body, d.Redelivered)
		}
	}
	hand.Settle(t, src, got[0], got[2])
	src.Close(t.Context())
	src = hand.Subscribe(t, tr, sub)
	if got, want := hand.Bodies(hand.Receive(t, src, 3)), []string{"c/0", "g/0", "h/0"}; !slices.Equal(got, want) {
		t.Errorf("after the second stop: %v, want %v", got, want)
	}
}

// Members come and go in order while messages flow: nothing comes twice, and each key stays in order.
// guarantees: R2, K2
func TestRebalanceRepeatsNothing(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, calm(nats.Options{Topics: []string{"orders"}}))
	sub := group("orders", true)
	sub.MaxInFlight = 30
	sender := hand.Open(t, tr)
	const keys, each = 40, 30
	type arrival struct{ key, body string }
	arrivals := make(chan arrival, keys*each*2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	work := func(tr bus.Transport) (stop func()) {
		src := hand.Subscribe(t, tr, sub)
		mine, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			var handled []*bus.Delivery // settled one batch later, so that lanes change hands while something is held
			for {
				ds, err := src.Receive(mine, 10)
				for _, d := range ds {
					arrivals <- arrival{d.Key, string(d.Body)}
				}
				if err := errors.Join(hand.TrySettle(t, src, false, handled...)...); err != nil {
					t.Error(err)
				}
				if handled = ds; err != nil {
					return
				}
			}
		}()
		return func() { end(); <-done; src.Close(context.Background()) }
	}
	stopFirst := work(tr)
	var stops []func()
	for i := range each {
		texts := make([]string, keys)
		for k := range texts {
			texts[k] = "key-" + strconv.Itoa(k) + "/" + strconv.Itoa(i)
		}
		hand.MustSend(t, sender, hand.Messages("orders", texts...)...)
		switch i {
		case 5, 10:
			stops = append(stops, work(f.connect(t, f.url, calm(nats.Options{}))))
		case 15:
			stopFirst()
		case 20:
			stops[0]()
		}
	}
	next := map[string]int{}
	for range keys * each {
		select {
		case a := <-arrivals:
			_, n, _ := strings.Cut(a.body, "/")
			if n != strconv.Itoa(next[a.key]) {
				t.Fatalf("of %s %s came, not %d", a.key, a.body, next[a.key])
			}
			next[a.key]++
		case <-time.After(time.Minute):
			t.Fatalf("%v came", next)
		}
	}
	stops[1]()
}

// Settle answers nil when the server has confirmed, and not before.
// guarantees: R2
func TestSettleWaitsForTheServer(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		f := newFixture(t, nil)
		p := newProxy(t, f.url)
		tr := f.connect(t, p.url(), nil)
		src := hand.Subscribe(t, tr, group("orders", ordered))
		hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/1")...)
		d := hand.Receive(t, src, 1)[0]
		release := p.HoldDown("source")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		errs := src.Settle(ctx, []bus.Settlement{{Delivery: d}})
		cancel()
		release()
		if !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("ordered %v: without a confirm Settle answered %v", ordered, errs[0])
		}
	}
}

// A planned stop does not leave others waiting for AckWait, neither for what was handed out nor for what was on its way.
// guarantees: R2
func TestCloseGivesBackAtOnce(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{AckWait: time.Hour})
	sub := group("orders", false)
	sub.MaxInFlight = 5
	src := hand.Subscribe(t, tr, sub)
	hand.MustSend(t, hand.Open(t, tr), numbered("orders", "k", 30)...)
	ds := hand.Receive(t, src, 5)
	hand.Settle(t, src, ds[:2]...)
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sub.MaxInFlight = 100
	hand.Receive(t, hand.Subscribe(t, tr, sub), 28)
}

// What is not extended is no longer ours when the server may give it to another.
// guarantees: I8
func TestWhatIsNotExtendedIsLost(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{AckWait: 3 * time.Second}) // long enough to settle the first in time
	src := hand.Subscribe(t, tr, group("orders", false))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/1", "k/2")...)
	ds := hand.Receive(t, src, 2)
	hand.Settle(t, src, ds[0])
	<-ds[1].Owned.Done()
	if err := src.Extend(t.Context(), ds[1:]); !errors.Is(err, bus.ErrLost) {
		t.Errorf("extend: %v", err)
	}
	again := hand.Receive(t, src, 1)
	if errs := hand.TrySettle(t, src, false, ds[1]); !errors.Is(errs[0], bus.ErrLost) {
		t.Errorf("settle: %v", errs[0])
	}
	if len(again) != 1 || string(again[0].Body) != "k/2" || !again[0].Redelivered {
		t.Errorf("again came %v, Redelivered=%v", hand.Bodies(again), again[0].Redelivered)
	}
	hand.Settle(t, src, again...)
}

// The server stops and starts while members work.
// guarantees: R7, K2
func TestAServerThatStartsAgain(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run("ordered="+strconv.FormatBool(ordered), func(t *testing.T) {
			f := newFixture(t, nil)
			tr := f.connect(t, f.url, fast(nats.Options{}))
			sub := group("orders", ordered)
			sub.MaxInFlight = 10
			src := hand.Subscribe(t, tr, sub)
			all := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{"orders"}})
			hand.MustSend(t, hand.Open(t, tr), numbered("orders", "k", 10)...)
			ds := hand.Receive(t, src, 3)
			hand.Settle(t, src, ds[0])
			copies := hand.Receive(t, all, 10)
			f.server.Stop()
			<-ds[1].Owned.Done()
			if errs := hand.TrySettle(t, src, false, ds[1]); !errors.Is(errs[0], bus.ErrLost) {
				t.Errorf("settle while the server is away: %v", errs[0])
			}
			if err := f.server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			hand.Settle(t, all, copies...) // they stayed ours
			hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/10")...)
			got := map[string]bool{string(ds[0].Body): true}
			seen := firsts{"k": 1}
			for len(got) < 11 {
				ds := hand.Receive(t, src, 1)
				if ordered {
					seen.add(t, ds...)
				}
				for _, d := range ds {
					got[string(d.Body)] = true
				}
				hand.Settle(t, src, ds...)
			}
			if d := hand.Receive(t, all, 1); string(d[0].Body) != "k/10" || len(d) != 1 {
				t.Errorf("the copy goes on with %v", hand.Bodies(d))
			}
		})
	}
}

// What is on its way to a consumer is bounded in bytes as well, so that the server does not cut one off that reads slowly.
func TestASlowConsumer(t *testing.T) {
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.MaxPending = 8 << 20 }})
	p := newProxy(t, f.url)
	o := fast(nats.Options{})
	o.Lanes, o.Lease = 1, time.Minute
	tr := f.connect(t, p.url(), o)
	sub := group("orders", true)
	sub.MaxInFlight = 2000
	src := hand.Subscribe(t, tr, sub)
	sender := hand.Open(t, f.connect(t, f.url, nil))
	const n = 100
	batch := numbered("orders", "k", n)
	for i := range batch {
		batch[i].Headers = map[string]string{"n": string(batch[i].Body)}
		batch[i].Body = make([]byte, 200<<10)
	}
	hand.MustSend(t, sender, batch[0])
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
	release := p.HoldDown("source")
	hand.MustSend(t, sender, batch[1:]...)
	release()
	for next := 1; next < n; {
		ds := hand.Receive(t, src, 1)
		for _, d := range ds {
			if d.Headers["n"] != "k/"+strconv.Itoa(next) {
				t.Fatalf("%s came, not %d", d.Headers["n"], next)
			}
			next++
		}
		hand.Settle(t, src, ds...)
	}
	if n := f.server.Server().NumSlowConsumers(); n > 0 {
		t.Errorf("the server cut off %d connections that were too slow", n)
	}
}

func TestGroupsThatDoNotAgree(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, fast(nats.Options{}))
	hand.Subscribe(t, tr, group("a", false))
	if _, err := tr.Subscribe(t.Context(), group("a", true)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "consumer rm") {
		t.Errorf("with order behind without: %v", err)
	}
	src := hand.Subscribe(t, tr, group("b", true))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("b", "k/1")...)
	hand.Receive(t, src, 1)
	if _, err := tr.Subscribe(t.Context(), group("b", false)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "in order") {
		t.Errorf("without order behind with: %v", err)
	}
	for _, s := range []bus.Subscription{{}, {Topics: []string{"a b"}}, {Topics: []string{"a..b"}}, {Topics: []string{"$JS"}}, {Topics: []string{"a", "a"}}, {Topics: []string{"a"}, MaxInFlight: -1}} {
		if _, err := tr.Subscribe(t.Context(), s); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A group that comes late gets everything, unless it asks for what is new.
func TestWhereAGroupBegins(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		for _, fresh := range []bool{false, true} {
			f := newFixture(t, nil)
			tr := f.connect(t, f.url, fast(nats.Options{Topics: []string{"orders"}, StartNew: fresh}))
			sender := hand.Open(t, tr)
			hand.MustSend(t, sender, hand.Messages("orders", "k/old")...)
			src := hand.Subscribe(t, tr, group("orders", ordered))
			hand.MustSend(t, sender, hand.Messages("orders", "k/new")...)
			want := "k/old"
			if fresh {
				want = "k/new"
			}
			if got := hand.Receive(t, src, 1); string(got[0].Body) != want {
				t.Errorf("ordered %v, StartNew %v: begins with %s", ordered, fresh, got[0].Body)
			}
		}
	}
}

func TestRequiredStreams(t *testing.T) {
	f := newFixture(t, nil)
	_, js := f.raw(t)
	tr := f.connect(t, f.url, fast(nats.Options{Require: true}))
	if _, err := tr.Subscribe(t.Context(), group("orders", true)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "nats stream add orders") {
		t.Errorf("without the stream: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"orders.*", "other.*"}, Metadata: map[string]string{"sixfold-lanes": "4"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Subscribe(t.Context(), group("orders", true)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "nats kv add sixfold-leases") {
		t.Errorf("without the bucket: %v", err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sixfold-leases"}); err != nil {
		t.Fatal(err)
	}
	sub := group("orders", true)
	sub.Topics = append(sub.Topics, "other")
	src := hand.Subscribe(t, tr, sub)
	hand.MustSend(t, hand.Open(t, tr), append(hand.Messages("orders", "k/1"), hand.Messages("other", "k/2")...)...)
	if got := hand.Bodies(hand.Receive(t, src, 2)); !slices.Contains(got, "k/1") || !slices.Contains(got, "k/2") {
		t.Errorf("got %v", got)
	}
	if info, err := js.Stream(t.Context(), "orders-dead"); err == nil {
		t.Errorf("stream %s was created", info.CachedInfo().Config.Name)
	}
}

// The lane of one topic is no other topic.
func TestATopicIsNoLane(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{Topics: []string{"orders"}})
	if errs := hand.Send(t, hand.Open(t, tr), hand.Messages("orders.5", "k/1")...); !errors.Is(errs[0], bus.ErrUnroutable) {
		t.Errorf("the subject of a lane was taken for a topic: %v", errs[0])
	}
	if err := tr.Declare(t.Context(), "orders.5"); err != nil {
		t.Fatal(err)
	}
	src, sub := hand.Subscribe(t, tr, group("orders.5", false)), hand.Open(t, tr)
	hand.MustSend(t, sub, hand.Messages("orders.5", "k/1")...)
	if d := hand.Receive(t, src, 1); d[0].Topic != "orders.5" {
		t.Errorf("it arrived on %s", d[0].Topic)
	}
}

// A durable that is deleted under its members is made anew.
func TestAConsumerThatIsDeleted(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		f := newFixture(t, nil)
		tr := f.connect(t, f.url, fast(nats.Options{}))
		src := hand.Subscribe(t, tr, group("orders", ordered))
		hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/1")...)
		ds := hand.Receive(t, src, 1)
		hand.Settle(t, src, ds...)
		_, js := f.raw(t)
		stream, err := js.Stream(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			// Lanes are taken side by side: some may still be on their way, and remove one themselves.
			if err := js.DeleteConsumer(t.Context(), "orders", name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				t.Fatal(err)
			}
		}
		hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/2")...)
		for {
			ds := hand.Receive(t, src, 1)
			if string(ds[len(ds)-1].Body) == "k/2" {
				break
			}
			hand.TrySettle(t, src, false, ds...)
		}
	}
}
