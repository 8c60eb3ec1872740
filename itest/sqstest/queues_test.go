package sqstest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// urlOf is where a queue is.
func urlOf(t *testing.T, q *awssqs.Client, name string) *string {
	t.Helper()
	out, err := q.GetQueueUrl(t.Context(), &awssqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return out.QueueUrl
}

// waiting is how many messages a queue has, in flight or not.
func waiting(t *testing.T, q *awssqs.Client, name string) string {
	t.Helper()
	out, err := q.GetQueueAttributes(t.Context(), &awssqs.GetQueueAttributesInput{QueueUrl: urlOf(t, q, name), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"])
	b, _ := strconv.Atoi(out.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return strconv.Itoa(a + b)
}

// One that is no envelope is delivered as it came, and a foreign event in either mode, or without any attribute, is read.
// guarantees: I10
func TestForeignMessages(t *testing.T) {
	emulators(t, func(t *testing.T, f *fixture) {
		name := topic()
		tr := connect(t, fast(f.url, sqs.Options{PointToPoint: true, Standard: true, Visibility: 6 * time.Second})) // what its last poll takes along comes again then
		src := hand.Subscribe(t, tr, group(name, false))
		q, _ := clients(t, f.url)
		url := urlOf(t, q, strings.ReplaceAll(name, ".", "_"))
		text := func(s string) types.MessageAttributeValue {
			return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
		}
		put := func(body string, attributes map[string]types.MessageAttributeValue) *bus.Delivery {
			t.Helper()
			if _, err := q.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: url, MessageBody: &body, MessageAttributes: attributes}); err != nil {
				t.Fatal(err)
			}
			d := hand.Receive(t, src, 1)[0]
			hand.Settle(t, src, d)
			return d
		}
		const event = `{"specversion":"1.0","id":"1","source":"/x","type":"a.b","partitionkey":"k","datacontenttype":"application/json","data":{"n":1}}`
		for _, attributes := range []map[string]types.MessageAttributeValue{nil, {"content-type": text("application/cloudevents+json; charset=utf-8")}} {
			if d := put(event, attributes); d.Damaged != nil || d.Type != "a.b" || d.Key != "k" || string(d.Body) != `{"n":1}` {
				t.Errorf("structured: %v, damaged %v", d, d.Damaged)
			}
		}
		d := put("plain", map[string]types.MessageAttributeValue{"ce-specversion": text("1.0"), "ce-id": text("2"), "ce-source": text("/x"), "ce-type": text("a.b"), "content-type": text("text/plain"), "tenant": text("t")})
		if d.Damaged != nil || d.ID != "2" || d.ContentType != "text/plain" || d.Headers["tenant"] != "t" || string(d.Body) != "plain" {
			t.Errorf("binary: %v, damaged %v, headers %v", d, d.Damaged, d.Headers)
		}
		for _, body := range []string{"{no envelope", "plain", `{"Type":"Notification"}`} {
			if d := put(body, nil); d.Damaged == nil || string(d.Body) != body {
				t.Errorf("%q arrived damaged %v, body %q", body, d.Damaged, d.Body)
			}
		}
		// And the other way: what is sent is an event to anybody.
		o := hand.Messages(name, "k/1")[0]
		o.ContentType, o.Body = "application/json", []byte(`{"n":2}`)
		binary := hand.Messages(name, "k/\x00")[0]
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		hand.MustSend(t, hand.Open(t, tr), o, binary)
		seen := map[string]string{}
		for len(seen) < 2 {
			out, err := q.ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out.Messages {
				var e struct {
					ID     string          `json:"id"`
					Data   json.RawMessage `json:"data"`
					Base64 string          `json:"data_base64"`
				}
				if err := json.Unmarshal([]byte(*m.Body), &e); err != nil || *m.MessageAttributes["content-type"].StringValue != "application/cloudevents+json" {
					t.Fatal(err, m.MessageAttributes)
				}
				raw, _ := base64.StdEncoding.DecodeString(e.Base64)
				seen[e.ID] = string(e.Data) + string(raw)
			}
		}
		if seen[o.ID] != `{"n":2}` || seen[binary.ID] != "k/\x00" {
			t.Errorf("a foreign consumer read %q", seen)
		}
	})
}

// Without SNS a second group would take messages away from the first.
func TestPointToPointHasOneGroup(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name := topic()
	tr := connect(t, fast(f.url, sqs.Options{PointToPoint: true}))
	src := hand.Subscribe(t, tr, group(name, true))
	hand.Subscribe(t, tr, group(name, true)) // another member
	if _, err := tr.Subscribe(t.Context(), bus.Subscription{Topics: []string{name}, Group: "billing"}); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "shipping") {
		t.Errorf("another group: %v", err)
	}
	if _, err := tr.Subscribe(t.Context(), bus.Subscription{Topics: []string{name}}); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("a copy: %v", err)
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "k/1")...)
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Standard queues keep no order, and say so.
func TestStandardRefusesOrder(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	tr := connect(t, fast(f.url, sqs.Options{Standard: true}))
	_, err := tr.Subscribe(t.Context(), group(topic(), true))
	if !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "FIFO") {
		t.Errorf("got %v", err)
	}
}

// Nothing is made where that is forbidden, and what is missing is named.
func TestRequire(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name := topic()
	tr := connect(t, fast(f.url, sqs.Options{Require: true}))
	if _, err := tr.Subscribe(t.Context(), group(name, true)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "Require") {
		t.Errorf("subscribe: %v", err)
	}
	if err := tr.Declare(t.Context(), name); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("declare: %v", err)
	}
	if err := hand.Send(t, hand.Open(t, tr), hand.Messages(name, "k/1")...)[0]; !errors.Is(err, bus.ErrUnroutable) {
		t.Errorf("send: %v", err)
	}
	// A topic that nobody listens to would drop the message.
	if err := connect(t, fast(f.url, sqs.Options{})).Declare(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := hand.Send(t, hand.Open(t, connect(t, fast(f.url, sqs.Options{Require: true}))), hand.Messages(name, "k/1")...)[0]; !errors.Is(err, bus.ErrUnroutable) || !strings.Contains(err.Error(), "subscribed") {
		t.Errorf("send to a topic without queues: %v", err) // [UnroutableIsFailure]
	}
}

// A queue with a redrive policy that counts few receives is warned of.
func TestRedrivePolicyIsWarnedOf(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name := topic()
	var log bytes.Buffer
	tr := connect(t, fast(f.url, sqs.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Queue: func(_, group string, q *sqs.Queue) {
		if group != "" {
			q.DeadQueue, q.MaxReceives = strings.ReplaceAll(name, ".", "_")+"_dead.fifo", 3
		}
	}}))
	if err := tr.Declare(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	src := hand.Subscribe(t, tr, group(name, true))
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "redrive policy") {
		t.Errorf("the log has no warning: %s", log.String())
	}
}

// The queue of a copy goes with it; where its owner has died, the next copy removes it once it has not been seen for long.
func TestCopiesAreRemoved(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name := topic()
	tr := connect(t, fast(f.url, sqs.Options{}))
	q, _ := clients(t, f.url)
	copies := func() []string {
		t.Helper()
		out, err := q.ListQueues(t.Context(), &awssqs.ListQueuesInput{QueueNamePrefix: aws.String("copy--" + strings.ReplaceAll(name, ".", "_") + "--")})
		if err != nil {
			t.Fatal(err)
		}
		return out.QueueUrls
	}
	src := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{name}})
	if n := len(copies()); n != 1 {
		t.Fatalf("a copy has %d queues", n)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := copies(); len(n) != 0 {
		t.Errorf("after Close there is %v", n)
	}
	p := newProxy(t, f.url)
	dead := connect(t, fast(p.url(), sqs.Options{}))
	hand.Subscribe(t, dead, bus.Subscription{Topics: []string{name}})
	p.cut()
	old := copies()
	live := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{name}})
	if n := len(copies()); n != 2 {
		t.Errorf("a queue whose owner was seen just now is gone, or there are more: %d", n)
	}
	long := strconv.FormatInt(time.Now().Add(-24*time.Hour).Unix(), 10)
	if _, err := q.TagQueue(t.Context(), &awssqs.TagQueueInput{QueueUrl: &old[0], Tags: map[string]string{"sixfold-seen": long}}); err != nil {
		t.Fatal(err)
	}
	hand.Subscribe(t, tr, bus.Subscription{Topics: []string{name}})
	for _, url := range copies() {
		if url == old[0] {
			t.Error("the queue of a dead owner was left")
		}
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "k/1")...)
	hand.Receive(t, live, 1)
}

// A closed transport leaves no goroutine and no message behind: what was received and what was asked for is given back.
// guarantees: R2
func TestNothingIsLeftBehind(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	before := goleak.IgnoreCurrent()
	tr, err := sqs.New(t.Context(), fast(f.url, sqs.Options{Visibility: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	name := topic()
	src := hand.Subscribe(t, tr, group(name, true))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "a/1", "b/2", "c/3")...)
	hand.Settle(t, src, hand.Receive(t, src, 3)[0])
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaks.None(t, before)
	again := connect(t, fast(f.url, sqs.Options{}))
	ds := hand.Receive(t, hand.Subscribe(t, again, group(name, true)), 2) // long before a minute has passed
	for _, d := range ds {
		if !d.Redelivered {
			t.Error("what came again does not say so")
		}
	}
}

// Closing is bounded by its context also when nobody answers.
func TestCloseWithoutAnAnswer(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name := topic()
	p := newProxy(t, f.url)
	tr := connect(t, fast(p.url(), sqs.Options{AckTimeout: time.Hour})) // which is how long a request may take on its own
	src := hand.Subscribe(t, tr, group(name, true))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "a/1")...)
	hand.Receive(t, src, 1)
	stuck := make(chan struct{})
	defer close(stuck)
	p.setFault(func(action string, _ []byte) *answer {
		if strings.HasPrefix(action, "ChangeMessageVisibility") {
			<-stuck
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- src.Close(ctx) }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("nothing was given back, and Close answered nil")
		}
	case <-time.After(time.Minute):
		t.Fatal("Close goes on for a minute behind its context's end")
	}
}
