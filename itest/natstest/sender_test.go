package natstest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// What the server has of a sender is a prefix, whenever it dies, and what was confirmed is in it. [PrefixAfterFailure]
// guarantees: R1, R2, R4
func TestAKilledServerHasAPrefix(t *testing.T) {
	child, err := servers.StartNATSProcess(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	f := &fixture{TB: t, url: child.URL()}
	tr := f.connect(t, f.url, nil)
	for round, tries := 0, 0; round < 3; tries++ {
		topic := f.topic()
		if err := tr.Declare(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		sender := hand.Open(t, tr)
		var pending []bus.Pending
		killed := make(chan error, 1)
		const each = 50
		for n := 0; len(killed) == 0; n += each {
			texts := make([]string, each)
			for i := range texts {
				texts[i] = "k/" + strconv.Itoa(n+i)
			}
			pending = append(pending, sender.Send(t.Context(), hand.Messages(topic, texts...)))
			if len(pending) == 20+10*round {
				for _, err := range pending[0].Wait(t.Context()) { // so that the server has confirmed something
					if err != nil {
						t.Fatal(err)
					}
				}
				go func() { killed <- child.Kill() }()
			}
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		confirmed, last, failed := 0, -1, false
		for n, p := range pending {
			for i, err := range p.Wait(t.Context()) {
				switch {
				case err == nil:
					confirmed, last = confirmed+1, n*each+i
				case !errors.Is(err, bus.ErrUnavailable):
					t.Errorf("message %d: %v", n*each+i, err)
				default:
					failed = true
				}
			}
		}
		// All may have been confirmed when it died, where the sender has to wait for the processor: that round proves nothing.
		if confirmed == 0 || tries == 20 {
			t.Fatalf("%d were confirmed in try number %d, and others failed: %v; the kills proved nothing", confirmed, tries, failed)
		}
		if failed {
			round++
		}
		if errs := hand.Send(t, sender, hand.Messages(topic, "k/late")...); !errors.Is(errs[0], bus.ErrUnavailable) {
			t.Errorf("after the server's death: %v", errs[0])
		}
		sender.Close(t.Context())
		if err := child.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		src := hand.Subscribe(t, tr, group(topic, true))
		next := 0
		for next <= last {
			ds := hand.Receive(t, src, 1)
			for _, d := range ds {
				if string(d.Body) != "k/"+strconv.Itoa(next) {
					t.Fatalf("after %d comes %s: a hole", next-1, d.Body)
				}
				next++
			}
			hand.Settle(t, src, ds...)
		}
		src.Close(t.Context())
	}
}

func TestWhatTheServerRefusesBreaksThePipe(t *testing.T) {
	f := newFixture(t, &servers.NATSOptions{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "all", Password: "all"}, {Username: "some", Password: "some", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"secret.*"}}}}}
	}})
	admin := f.connect(t, f.url, &nats.Options{Nats: []natsgo.Option{natsgo.UserInfo("all", "all")}, Lanes: 1})
	if err := admin.Declare(t.Context(), "secret", "open"); err != nil {
		t.Fatal(err)
	}
	tr := f.connect(t, f.url, &nats.Options{Nats: []natsgo.Option{natsgo.UserInfo("some", "some")}})
	sender := hand.Open(t, tr)
	hand.MustSend(t, sender, hand.Messages("open", "k/1")...)
	errs := hand.Send(t, sender, append(hand.Messages("secret", "k/2"), hand.Messages("open", "k/3")...)...)
	if !errors.Is(errs[0], bus.ErrRefused) {
		t.Errorf("a subject that is not allowed: %v", errs[0])
	}
	if !errors.Is(errs[1], bus.ErrUnavailable) { // the server says it before it confirms, but to another goroutine
		t.Errorf("behind it: %v", errs[1])
	}
	if errs := hand.Send(t, sender, hand.Messages("open", "l/4")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("the pipe goes on after a refusal: %v", errs[0])
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("open", "k/5")...)
}

func TestAStreamThatIsDeletedUnderASender(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{Topics: []string{"orders"}})
	_, js := f.raw(t)
	sender := hand.Open(t, tr)
	hand.MustSend(t, sender, hand.Messages("orders", "k/1")...)
	if err := js.DeleteStream(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if errs := hand.Send(t, sender, hand.Messages("orders", "k/2")...); !errors.Is(errs[0], bus.ErrUnroutable) {
		t.Errorf("the stream has gone: %v", errs[0])
	}
	if errs := hand.Send(t, hand.Open(t, tr), hand.Messages("orders", "k/2")...); !errors.Is(errs[0], bus.ErrUnroutable) {
		t.Errorf("another sender: %v", errs[0])
	}
	if err := tr.Declare(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/2")...)
}

// Two groups give up one message: both dead letters arrive.
func TestDeadLettersAreNotDropped(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{Topics: []string{"orders"}})
	src := hand.Subscribe(t, tr, group("orders.dead", false))
	sender := hand.Open(t, tr)
	m := hand.Messages("orders.dead", "k/1")[0]
	m.Headers = map[string]string{bus.DeadConsumer: "a"}
	other := m
	copied := *m.Envelope
	copied.Headers = map[string]string{bus.DeadConsumer: "b"}
	other.Envelope = &copied
	hand.MustSend(t, sender, m, other)
	if ds := hand.Receive(t, src, 2); len(ds) != 2 {
		t.Errorf("got %v", hand.Bodies(ds))
	}
}

// Ids are unique for a source only, and a stream may have several topics.
func TestDedupIsPerSourceAndTopic(t *testing.T) {
	f := newFixture(t, nil)
	_, js := f.raw(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ALL", Subjects: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	tr := f.connect(t, f.url, nil)
	src := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{"a", "b"}, Group: "g"})
	var batch []bus.Outgoing
	for _, topic := range []string{"a", "b"} {
		for _, source := range []string{"one", "two"} {
			for _, id := range []string{"id-1", "id with spaces ü"} {
				m := hand.Messages(topic, "k/"+topic+source+id)[0]
				m.Source, m.ID = source, id
				batch = append(batch, m, m)
			}
		}
	}
	hand.MustSend(t, hand.Open(t, tr), batch...)
	ds := hand.Receive(t, src, 8)
	seen := map[string]int{}
	for _, d := range ds {
		seen[d.Topic+d.Source+d.ID]++
	}
	if len(ds) != 8 || len(seen) != 8 {
		t.Errorf("of 8 messages that were sent twice, %v arrived", seen)
	}
}

// A redrive inside the window is a message of its own; its repeat by the transport is not. [RedriveNotSwallowed]
func TestRedriveIsNotSwallowedByDedup(t *testing.T) {
	f := newFixture(t, nil)
	tr, topic := f.connect(t, f.url, nil), f.topic()
	src := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{topic}, Group: "g"})
	first := hand.Messages(topic, "k/1")[0]
	again, third := first, first
	again.Epoch, third.Epoch = 1, 2
	hand.MustSend(t, hand.Open(t, tr), first, first, again, again, third)
	after := hand.Messages(topic, "k/2")[0]
	hand.MustSend(t, hand.Open(t, tr), after)
	seen := map[string]int{}
	for _, d := range hand.Receive(t, src, 4) {
		seen[d.ID]++
	}
	if seen[first.ID] != 3 || seen[after.ID] != 1 {
		t.Errorf("arrived: %v; want %s three times", seen, first.ID)
	}
}

func TestStreamsThatCannotKeepPrefixes(t *testing.T) {
	f := newFixture(t, nil)
	_, js := f.raw(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FULL", Subjects: []string{"full"}, MaxMsgs: 2, Discard: jetstream.DiscardNew}); err != nil {
		t.Fatal(err)
	}
	errs := hand.Send(t, hand.Open(t, f.connect(t, f.url, nil)), hand.Messages("full", "k/1")...)
	if !errors.Is(errs[0], bus.ErrRefused) || !strings.Contains(errs[0].Error(), "OnePerKey") {
		t.Errorf("a stream that discards new messages: %v", errs[0])
	}
	one := f.connect(t, f.url, &nats.Options{OnePerKey: true})
	if one.Capabilities().PrefixPerKey || f.connect(t, f.url, &nats.Options{Replicas: 3}).Capabilities().PrefixPerKey {
		t.Error("PrefixPerKey is stated")
	}
	sender := hand.Open(t, one)
	hand.MustSend(t, sender, hand.Messages("full", "k/1", "k/2")...)
	if errs := hand.Send(t, sender, hand.Messages("full", "k/3")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("the stream is full: %v", errs[0])
	}
}

func TestSizesAreCheckedBeforeSending(t *testing.T) {
	f := newFixture(t, nil)
	_, js := f.raw(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SMALL", Subjects: []string{"small"}, MaxMsgSize: 1000}); err != nil {
		t.Fatal(err)
	}
	sender := hand.Open(t, f.connect(t, f.url, nil))
	batch := hand.Messages("small", "k/1", "k/2", "k/3", "l/4")
	batch[1].Body = make([]byte, 1000)
	errs := hand.Send(t, sender, batch...)
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrTooLarge) || !errors.Is(errs[2], bus.ErrBehindFailed) || errs[3] != nil {
		t.Errorf("got %v", errs)
	}
	if !strings.Contains(errs[1].Error(), "1000") {
		t.Errorf("the limit is not in: %v", errs[1])
	}
}

// A connection whose server is silent is given up, and no Send hangs on it.
func TestSilenceEndsASender(t *testing.T) {
	f := newFixture(t, nil)
	p := newProxy(t, f.url)
	tr := f.connect(t, p.url(), &nats.Options{Topics: []string{"orders"}, AckTimeout: 2 * time.Second})
	sender := hand.Open(t, tr)
	hand.MustSend(t, sender, hand.Messages("orders", "k/0")...)
	defer p.HoldDown("sender")()
	var pending []bus.Pending
	for range 10 { // more than the window
		texts := make([]string, 1000)
		for i := range texts {
			texts[i] = "k/1"
		}
		pending = append(pending, sender.Send(t.Context(), hand.Messages("orders", texts...)))
	}
	for _, p := range pending {
		for _, err := range p.Wait(t.Context()) {
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Fatalf("without a confirm: %v", err)
			}
		}
	}
}

func TestSendEndsWithItsContextWhileTheWindowIsFull(t *testing.T) {
	f := newFixture(t, nil)
	p := newProxy(t, f.url)
	sender := hand.Open(t, f.connect(t, p.url(), &nats.Options{Topics: []string{"orders"}}))
	hand.MustSend(t, sender, hand.Messages("orders", "k/0")...)
	release := p.HoldDown("sender")
	defer release()
	texts := make([]string, 9000)
	for i := range texts {
		texts[i] = "k/" + strconv.Itoa(i)
	}
	batch := hand.Messages("orders", texts...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the window fills long before
	defer cancel()
	pending := sender.Send(ctx, batch)
	release()
	errs := pending.Wait(t.Context())
	if errs[0] != nil || !errors.Is(errs[len(errs)-1], bus.ErrBehindFailed) && !errors.Is(errs[len(errs)-1], bus.ErrUnavailable) {
		t.Errorf("first %v, last %v", errs[0], errs[len(errs)-1])
	}
	taken := 0
	for taken < len(errs) && errs[taken] == nil {
		taken++
	}
	for i, err := range errs[taken:] {
		if err == nil {
			t.Fatalf("message %d was taken behind %d, which was not: %v", taken+i, taken, errs[taken])
		}
	}
	if !errors.Is(errs[taken], bus.ErrUnavailable) || !errors.Is(errs[taken], context.DeadlineExceeded) {
		t.Errorf("the first that was not handed over: %v", errs[taken])
	}
}

// guarantees: O5
func TestHeadersThatNATSKnows(t *testing.T) {
	f := newFixture(t, nil)
	tr := f.connect(t, f.url, &nats.Options{Topics: []string{"orders"}})
	src := hand.Subscribe(t, tr, group("orders", false))
	m := hand.Messages("orders", "k/1")[0]
	want := map[string]string{"Status": "503", "Description": "no responders", "a/b(c){}": "d", "content-type": "mine", "colon": "a: b"}
	m.Headers = map[string]string{}
	for k, v := range want {
		m.Headers[k] = v
	}
	hand.MustSend(t, hand.Open(t, tr), m)
	d := hand.Receive(t, src, 1)[0]
	for k, v := range want {
		if d.Headers[k] != v {
			t.Errorf("header %s=%q arrived as %q", k, v, d.Headers[k])
		}
	}
	if len(d.Headers) != len(want) || d.Damaged != nil {
		t.Errorf("arrived: %v, %v", d.Headers, d.Damaged)
	}
}
