package rabbittest

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// What the node has of a sender is a prefix when it dies, and what was confirmed is in it. A message that is larger than
// it takes is to blame itself. [PrefixAfterFailure]
// guarantees: R1, R2, R4
func TestAKilledNodeHasAPrefix(t *testing.T) {
	node := servers.PrivateRabbitMQ(t, &servers.RabbitMQOptions{Config: []string{"max_message_size = 100000"}})
	f := &fixture{TB: t, url: node.URL(), server: node, prefix: "killed"}
	topic := f.topic()
	sub := group(topic, true)
	o := &rabbitmq.Options{Groups: []bus.Subscription{sub}, Classic: true} // RabbitMQ 3.10 may forget quorum queues that are this young when it is killed
	tr := f.connect(t, f.url, o)
	large := hand.Messages(topic, "a/1", "l/large", "b/1")
	large[1].Body = make([]byte, 200_000)
	errs := hand.Send(t, hand.Open(t, tr), large...)
	if !errors.Is(errs[1], bus.ErrTooLarge) || !strings.Contains(errs[1].Error(), "200000") || !errors.Is(errs[2], bus.ErrUnavailable) {
		t.Errorf("a message that is too large for the node, and one behind it: %v", errs[1:])
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
		if len(pending) == 20 {
			for _, err := range pending[0].Wait(t.Context()) { // so that the node has confirmed something
				if err != nil {
					t.Fatal(err)
				}
			}
			go func() { killed <- node.Kill() }()
		}
	}
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	confirmed, failed := 0, false
	for n, p := range pending {
		for i, err := range p.Wait(t.Context()) {
			switch {
			case err == nil && failed:
				t.Fatalf("message %d was confirmed behind one that was not", n*each+i)
			case err == nil:
				confirmed++
			case !errors.Is(err, bus.ErrUnavailable):
				t.Fatalf("message %d answered %v", n*each+i, err)
			default:
				failed = true
			}
		}
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := hand.Subscribe(t, f.connect(t, f.url, o), sub)
	next := 0
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "end/end")...)
	for over := false; !over; {
		ds := hand.Receive(t, src, 1)
		for _, d := range ds {
			if over = string(d.Body) == "end/end"; over || d.Key != "k" {
				continue
			}
			if string(d.Body) != "k/"+strconv.Itoa(next) {
				t.Fatalf("%s came in place of number %d", d.Body, next)
			}
			next++
		}
		hand.Settle(t, src, ds...)
	}
	t.Logf("%d of %d were confirmed, the node has %d", confirmed, len(pending)*each, next)
	if next < confirmed {
		t.Errorf("%d were confirmed, the node has %d", confirmed, next)
	}
}

// A confirm is not enough: a message that no queue got is a failure, also behind others, and one that may miss spares its key.
// [UnroutableIsFailure]
// guarantees: R1, R6
func TestReturnsAreMatched(t *testing.T) {
	f := newFixture(t)
	tr := f.connect(t, f.url, nil)
	bound, unbound := f.place(t, tr), f.topic()
	if err := tr.Declare(t.Context(), unbound); err != nil {
		t.Fatal(err)
	}
	sender := hand.Open(t, tr)
	var batch []bus.Outgoing
	for i := range 300 {
		topic := bound
		if i%3 == 0 {
			topic = unbound
		}
		batch = append(batch, hand.Messages(topic, strconv.Itoa(i)+"/x")...)
	}
	for i, err := range hand.Send(t, sender, batch...) {
		if missing := i%3 == 0; missing != errors.Is(err, bus.ErrUnroutable) || !missing && err != nil {
			t.Fatalf("message %d answered %v", i, err)
		}
	}
	// Of one key, behind a message without a queue, nothing is taken; the same id twice is no riddle where both are returned.
	twice := hand.Messages(unbound, "k/1", "/2")
	twice[1].ID = twice[0].ID
	errs := hand.Send(t, sender, append(twice, hand.Messages(bound, "k/3")...)...)
	if !errors.Is(errs[0], bus.ErrUnroutable) || !errors.Is(errs[1], bus.ErrUnroutable) || !errors.Is(errs[2], bus.ErrBehindFailed) {
		t.Errorf("%v", errs)
	}
	may := hand.Messages(unbound, "m/1")
	may[0].MayMiss = true
	errs = hand.Send(t, sender, append(may, hand.Messages(bound, "m/2")...)...)
	if !errors.Is(errs[0], bus.ErrUnroutable) || errs[1] != nil {
		t.Errorf("%v", errs)
	}
}

// guarantees: R1, R4
func TestANackBreaksThePipe(t *testing.T) {
	f := newFixture(t)
	topic := f.topic()
	exchange := rabbitmq.Exchange{Name: topic}
	full := rabbitmq.Queue{Name: "full-" + topic, Classic: true, Args: amqp.Table{"x-max-length": int64(1), "x-overflow": "reject-publish"}}
	topology, err := rabbitmq.NewTopology(exchange, full, rabbitmq.Binding{From: topic, To: full.Name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rabbitmq.New(f.url, &rabbitmq.Options{Topology: topology}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "OnePerKey") {
		t.Errorf("a queue that refuses messages, without OnePerKey: %v", err)
	}
	tr := f.connect(t, f.url, &rabbitmq.Options{Topology: topology, OnePerKey: true})
	sender := hand.Open(t, tr)
	hand.MustSend(t, sender, hand.Messages(topic, "a/1")...)
	if errs := hand.Send(t, sender, hand.Messages(topic, "a/2")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("a full queue: %v", errs[0])
	}
	if errs := hand.Send(t, sender, hand.Messages(topic, "b/1")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("behind a nack: %v", errs[0])
	}
}

func TestAnExchangeThatIsDeletedUnderASender(t *testing.T) {
	f := newFixture(t)
	tr := f.connect(t, f.url, nil)
	topic := f.place(t, tr)
	sender := hand.Open(t, tr)
	hand.MustSend(t, sender, hand.Messages(topic, "k/1")...)
	_, ch := f.raw(t)
	if err := ch.ExchangeDelete(topic, false, false); err != nil {
		t.Fatal(err)
	}
	if errs := hand.Send(t, sender, hand.Messages(topic, "k/2")...); !errors.Is(errs[0], bus.ErrUnroutable) {
		t.Errorf("to an exchange that was deleted: %v", errs[0])
	}
	if errs := hand.Send(t, sender, hand.Messages(topic, "l/1")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("on a channel that the node has closed: %v", errs[0])
	}
	if errs := hand.Send(t, hand.Open(t, tr), hand.Messages(topic, "k/2")...); !errors.Is(errs[0], bus.ErrUnroutable) {
		t.Errorf("on another sender: %v", errs[0])
	}
}

// What AMQP cannot carry is refused before it is sent, and harms nobody else.
func TestWhatAMQPCannotCarry(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 256)
	tr := f.connect(t, f.url, &rabbitmq.Options{RoutingKey: func(o *bus.Outgoing) string { return o.Headers["route"] }, MaxBody: 1 << 20})
	topic := f.place(t, tr)
	sender := hand.Open(t, tr)
	for name, c := range map[string]struct {
		change func(e *sixfold.Envelope)
		kind   error
	}{
		"a routing key of 256 bytes": {func(e *sixfold.Envelope) { e.Headers = map[string]string{"route": long} }, bus.ErrRefused},
		"an id of 256 bytes":         {func(e *sixfold.Envelope) { e.ID = long }, bus.ErrRefused},
		"a type of 256 bytes":        {func(e *sixfold.Envelope) { e.Type = long }, bus.ErrRefused},
		"a header that routes":       {func(e *sixfold.Envelope) { e.Headers = map[string]string{"BCC": "elsewhere"} }, bus.ErrRefused},
		"headers of the framework's larger than a frame": {func(e *sixfold.Envelope) {
			e.Headers = map[string]string{"sixfold-dead-reason": strings.Repeat("why ", 40_000)}
		}, bus.ErrTooLarge},
		"a body over the limit": {func(e *sixfold.Envelope) { e.Body = make([]byte, 1<<20+1) }, bus.ErrTooLarge},
	} {
		o := hand.Messages(topic, name+"/1")
		c.change(o[0].Envelope)
		if errs := hand.Send(t, sender, append(o, hand.Messages(topic, "other/1")...)...); !errors.Is(errs[0], c.kind) || errs[1] != nil {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

func TestSilenceEndsASender(t *testing.T) {
	f := newFixture(t)
	p := newProxy(t, f.url)
	tr := f.connect(t, p.url(), &rabbitmq.Options{AckTimeout: 300 * time.Millisecond})
	topic := f.place(t, f.connect(t, f.url, nil))
	sender := hand.Open(t, tr)
	defer p.HoldDown("sender")()
	if errs := hand.Send(t, sender, hand.Messages(topic, "k/1")...); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("without a confirm: %v", errs[0])
	}
	if errs := hand.Send(t, sender, hand.Messages(topic, "k/2")...); !errors.Is(errs[0], bus.ErrUnavailable) || !strings.Contains(errs[0].Error(), "no confirm within 300ms") {
		t.Errorf("afterwards: %v", errs[0])
	}
}

func TestNativeProperties(t *testing.T) {
	f := newFixture(t)
	tr := f.connect(t, f.url, &rabbitmq.Options{Priority: func(*bus.Outgoing) uint8 { return 7 }})
	topic := f.place(t, tr)
	_, ch := f.raw(t)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err == nil {
		err = ch.QueueBind(q.Name, "#", topic, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := hand.Messages(topic, "k/1")
	o[0].CorrelationID, o[0].Expires, o[0].ContentType = "c-1", time.Now().Add(time.Hour), "application/json"
	o[0].Time = time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC)
	hand.MustSend(t, hand.Open(t, tr), o...)
	d, ok, err := ch.Get(q.Name, true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	left, err := strconv.Atoi(d.Expiration)
	if err != nil || left < 3_500_000 || left > 3_600_000 {
		t.Errorf("expiration %q", d.Expiration)
	}
	if d.MessageId != o[0].ID || d.CorrelationId != "c-1" || d.Type != "test" || d.ContentType != "application/json" || d.Priority != 7 ||
		!d.Timestamp.Equal(o[0].Time.Truncate(time.Second)) || d.DeliveryMode != amqp.Persistent || d.RoutingKey != "test" {
		t.Errorf("properties %+v", d)
	}
	if d.Headers["cloudEvents:id"] != o[0].ID || d.Headers["cloudEvents:partitionkey"] != "k" {
		t.Errorf("headers %v", d.Headers)
	}
}
