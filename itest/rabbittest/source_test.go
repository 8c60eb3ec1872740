package rabbittest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// Whatever dies when, messages of a key come in their order: with the numbers of a relay's rows, and without. [TwoDeathsKeepOrder]
// guarantees: K2
func TestDeathsAtAnyStep(t *testing.T) {
	for _, numbered := range []bool{true, false} {
		for _, classic := range []bool{false, true} {
			t.Run(fmt.Sprintf("numbered %v, classic %v", numbered, classic), func(t *testing.T) { deaths(t, numbered, classic) })
		}
	}
}

func deaths(t *testing.T, numbered, classic bool) {
	f := newFixture(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	sub := group(f.topic(), true)
	sub.MaxInFlight = 8
	o := &rabbitmq.Options{Classic: classic, Groups: []bus.Subscription{sub}}
	tr := f.connect(t, f.url, o)
	const n = 60
	batch := make([]string, n)
	for i := range batch {
		batch[i] = "k" + strconv.Itoa(i%2) + "/" + strconv.Itoa(i)
	}
	all := hand.Messages(sub.Topics[0], batch...)
	for i := range all {
		if numbered {
			all[i].Sequence = fmt.Sprintf("%d/%d", i%2, i)
		}
	}
	hand.MustSend(t, hand.Open(t, tr), all...)
	done, highest := map[string]bool{}, map[string]int{}
	for len(done) < n {
		if rng.IntN(2) == 0 { // one that has room for less takes some to its grave, which then come behind the others
			p := newProxy(t, f.url)
			small := sub
			small.MaxInFlight = 1 + rng.IntN(5)
			hand.Receive(t, hand.Subscribe(t, f.connect(t, p.url(), o), small), 1)
			p.Cut()
		}
		p := newProxy(t, f.url)
		src := hand.Subscribe(t, f.connect(t, p.url(), o), sub)
		held := 0
		for range rng.IntN(4) {
			if left := n - len(done); held == sub.MaxInFlight || held >= left {
				break
			}
			ds := hand.Receive(t, src, 1)
			for _, d := range ds { // of a key, nothing is new behind what is still missing
				number, _ := strconv.Atoi(strings.Split(string(d.Body), "/")[1])
				if done[d.ID] {
					continue
				}
				for i := number - 2; i >= 0; i -= 2 {
					if !done[all[i].ID] && highest[d.Key] < i {
						t.Fatalf("%s came before number %d of its key: %v", d.Body, i, hand.Bodies(ds))
					}
				}
				highest[d.Key] = max(highest[d.Key], number)
			}
			held += len(ds)
			ds = ds[:rng.IntN(len(ds)+1)]
			held -= len(ds)
			hand.Settle(t, src, ds...)
			for _, d := range ds {
				done[d.ID] = true
			}
		}
		for k := range highest {
			delete(highest, k)
		}
		p.Cut()
	}
}

// Every acknowledgement reaches the node, in whatever order, and nothing else does.
// guarantees: R2
func TestAPlannedStopRepeatsNothing(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		f := newFixture(t)
		sub := group(f.topic(), ordered)
		tr := f.connect(t, f.url, &rabbitmq.Options{Groups: []bus.Subscription{sub}})
		var texts []string
		for i := range 200 {
			texts = append(texts, "/"+strconv.Itoa(i))
		}
		hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], texts...)...)
		src := hand.Subscribe(t, tr, sub)
		ds := hand.Receive(t, src, 200)
		kept := map[string]bool{}
		for i, at := range rand.Perm(len(ds)) {
			if i%10 == 0 {
				kept[ds[at].ID] = true
				continue
			}
			hand.Settle(t, src, ds[at])
		}
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := hand.Receive(t, hand.Subscribe(t, tr, sub), len(kept))
		for _, d := range again {
			if !kept[d.ID] || !d.Redelivered {
				t.Errorf("ordered %v: %s came again (redelivered %v); it was acknowledged: %v", ordered, d.Body, d.Redelivered, !kept[d.ID])
			}
		}
	}
}

// rabbitmqctl closes every connection: what is held is lost, and the source goes on by itself.
// guarantees: R7
func TestConnectionsThatAreClosed(t *testing.T) {
	f := newFixture(t)
	sub := group(f.topic(), true)
	tr := f.connect(t, f.url, &rabbitmq.Options{Groups: []bus.Subscription{sub}})
	src := hand.Subscribe(t, tr, sub)
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/1", "k/2")...)
	ds := hand.Receive(t, src, 2)
	if err := f.server.CloseConnections(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ds[0].Owned.Done()
	for _, err := range hand.TrySettle(t, src, false, ds...) {
		if !errors.Is(err, bus.ErrLost) {
			t.Errorf("settle of what was lost: %v", err)
		}
	}
	again := hand.Receive(t, src, 2)
	if string(again[0].Body) != "k/1" || string(again[1].Body) != "k/2" || !again[0].Redelivered {
		t.Errorf("again came %v", hand.Bodies(again))
	}
	hand.Settle(t, src, again...)
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/3")...)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
}

// On an idle queue nothing new ends what comes again: a mark does, or, for who may not have a queue for it, a moment of silence.
// guarantees: K2
func TestWhatComesAgainOnAnIdleQueue(t *testing.T) {
	for name, configure := range map[string]string{"with marks": ".*", "without": `^(?!amq\.gen)`} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			user := "idle-" + f.prefix
			for _, args := range [][]string{{"add_user", user, "secret"}, {"set_permissions", user, configure, ".*", ".*"}} {
				if err := f.server.Control(t.Context(), args...); err != nil {
					t.Fatal(err)
				}
			}
			u, err := url.Parse(f.url)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(user, "secret")
			sub := group(f.topic(), true)
			tr := f.connect(t, u.String(), &rabbitmq.Options{Groups: []bus.Subscription{sub}})
			hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/1", "k/2", "k/3")...)
			src := hand.Subscribe(t, tr, sub)
			for range 3 {
				ds := hand.Receive(t, src, 3)
				if got := strings.Join(hand.Bodies(ds), " "); got != "k/1 k/2 k/3" {
					t.Fatalf("%s came", got)
				}
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				src = hand.Subscribe(t, tr, sub)
			}
			ds := hand.Receive(t, src, 3)
			hand.Settle(t, src, ds[1], ds[0], ds[2]) // behind the mark's number, which nobody acknowledges
			hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/4")...)
			if ds := hand.Receive(t, src, 1); string(ds[0].Body) != "k/4" || ds[0].Redelivered {
				t.Errorf("%s came, redelivered %v", hand.Bodies(ds), ds[0].Redelivered)
			} else {
				hand.Settle(t, src, ds...)
			}
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, ch := f.raw(t)
			if q, err := ch.QueueDeclarePassive("shipping@"+sub.Topics[0], true, false, false, false, nil); err != nil || q.Messages != 0 {
				t.Errorf("%d messages are left: %v", q.Messages, err)
			}
		})
	}
}

// A queue that is deleted under its consumers is made again, and so is its exchange.
func TestAQueueThatIsDeleted(t *testing.T) {
	f := newFixture(t)
	sub := group(f.topic(), false)
	tr := f.connect(t, f.url, nil)
	src := hand.Subscribe(t, tr, sub)
	_, ch := f.raw(t)
	if err := ch.ExchangeDelete(sub.Topics[0], false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDelete("shipping@"+sub.Topics[0], false, false, false); err != nil {
		t.Fatal(err)
	}
	for { // until both are there again
		errs := hand.Send(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "/1")...)
		if errs[0] == nil {
			break
		}
		if !errors.Is(errs[0], bus.ErrUnroutable) && !errors.Is(errs[0], bus.ErrUnavailable) {
			t.Fatal(errs[0])
		}
	}
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
}

func TestGroupsThatDoNotAgree(t *testing.T) {
	f := newFixture(t)
	topic := f.topic()
	tr := f.connect(t, f.url, nil)
	hand.Subscribe(t, tr, group(topic, true))
	if _, err := tr.Subscribe(t.Context(), group(topic, false)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "a group is ordered in one process and not in another") {
		t.Errorf("a group that is ordered here and not there: %v", err)
	}
	if _, err := f.connect(t, f.url, &rabbitmq.Options{Classic: true}).Subscribe(t.Context(), group(topic, true)); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("a queue of another kind: %v", err)
	}
}

func TestRequire(t *testing.T) {
	f := newFixture(t)
	sub := group(f.topic(), true)
	tr := f.connect(t, f.url, &rabbitmq.Options{Require: true})
	if _, err := tr.Subscribe(t.Context(), sub); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "Options.Require forbids") {
		t.Errorf("without the exchange: %v", err)
	}
	if err := f.connect(t, f.url, nil).Declare(t.Context(), sub.Topics...); err != nil {
		t.Fatal(err)
	}
	for { // the answer "missing" is believed for a moment
		_, err := tr.Subscribe(t.Context(), sub)
		if !errors.Is(err, bus.ErrRefused) {
			t.Fatalf("without the queue: %v", err)
		}
		if strings.Contains(err.Error(), "queue") {
			break
		}
	}
	hand.Open(t, f.connect(t, f.url, &rabbitmq.Options{Groups: []bus.Subscription{sub}}))
	src := hand.Subscribe(t, tr, sub)
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/1")...)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
}

// guarantees: I8
func TestWhatTheWireSaysIsAHint(t *testing.T) { // [ForgedDeliveryCount]
	f := newFixture(t)
	sub := group(f.topic(), true)
	src := hand.Subscribe(t, f.connect(t, f.url, nil), sub)
	_, ch := f.raw(t)
	publish := func(p amqp.Publishing) *bus.Delivery {
		if err := ch.PublishWithContext(t.Context(), sub.Topics[0], "", true, false, p); err != nil {
			t.Fatal(err)
		}
		d := hand.Receive(t, src, 1)[0]
		hand.Settle(t, src, d)
		return d
	}
	d := publish(amqp.Publishing{ContentType: "text/plain", Body: []byte("b"), Headers: amqp.Table{"cloudEvents:specversion": "1.0", "cloudEvents:id": "1",
		"cloudEvents_type": "t", "cloudEvents:source": "s", "x-delivery-count": int64(1 << 40), "sixfold-attempt": "99", "x-death": []any{amqp.Table{"count": int64(9)}}, "x-mine": "yes"}})
	if d.Damaged != nil || d.Attempts != 0 || d.Redelivered || d.Type != "t" || d.ContentType != "text/plain" || len(d.Headers) != 1 || d.Headers["x-mine"] != "yes" {
		t.Errorf("%v: attempts %d, redelivered %v, headers %v", d.Damaged, d.Attempts, d.Redelivered, d.Headers)
	}
	d = publish(amqp.Publishing{ContentType: "application/cloudevents+json", Body: []byte(`{"specversion":"1.0","id":"2","type":"t","source":"s","datacontenttype":"text/plain","data":"b"}`)})
	if d.Damaged != nil || d.ID != "2" || d.Topic != sub.Topics[0] {
		t.Errorf("structured mode: %v, id %q", d.Damaged, d.ID)
	}
}

func TestTopologyIsDeclared(t *testing.T) {
	f := newFixture(t)
	topic, name := f.topic(), "by-type-"+f.topic()
	parts := []rabbitmq.Part{rabbitmq.Exchange{Name: topic, Kind: "topic"}, rabbitmq.Queue{Name: name, DeliveryLimit: 5},
		rabbitmq.Binding{From: topic, To: name, Key: "te*.#"}, rabbitmq.Binding{From: topic, To: name, Key: "test"}}
	topology, err := rabbitmq.NewTopology(parts...)
	if err != nil {
		t.Fatal(err)
	}
	tr := f.connect(t, f.url, &rabbitmq.Options{Topology: topology})
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/1")...)
	_, ch := f.raw(t)
	if d, ok, err := ch.Get(name, true); err != nil || !ok || d.RoutingKey != "test" {
		t.Errorf("%v, %v", ok, err)
	}
	src := hand.Subscribe(t, tr, group(topic, true)) // an exchange that is there is used as it is
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/2")...)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
	other, err := rabbitmq.NewTopology(rabbitmq.Exchange{Name: topic, Kind: "direct"}, rabbitmq.Queue{Name: name, DeliveryLimit: 6})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.DeclareTopology(t.Context(), other); !errors.Is(err, bus.ErrRefused) || strings.Count(err.Error(), "PRECONDITION_FAILED") != 2 {
		t.Errorf("what has other properties: %v", err)
	}
}
