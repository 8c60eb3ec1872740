package sqs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

func TestBadOptionsAreAllNamed(t *testing.T) {
	_, err := New(t.Context(), &Options{Visibility: time.Millisecond, LongPoll: time.Minute, AckTimeout: -1, Pollers: -1, Requests: 2000, MaxBody: 1 << 21, Prefix: "a.b", Topics: []string{"a b"},
		Standard: true, Groups: []bus.Subscription{{Topics: []string{"a", "a"}, Ordered: true}, {Group: "g"}}, Endpoint: "http://user:hunter2@host"})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"Visibility", "LongPoll", "AckTimeout", "Pollers", "Requests", "MaxBody", "Prefix", `"a b"`, "keep no order", "is there twice", "the group's name is empty", "there is no topic", "Endpoint"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") { // [NoSecretAnywhere]
		t.Error("the password is shown")
	}
	if _, err := NewClients(nil, nil, nil); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "SNS") {
		t.Errorf("no clients: %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, fine := range map[string]bool{"": true, "https://sqs.example.com": true, "http://127.0.0.1:4566": true, "http://[::1]:1": true, "http://localhost": true,
		"http://sqs.example.com": false, "ftp://x": false, "x": false, "https://": false, "https://h/?a=b": false, "http://127.0.0.1.example.com": false} {
		if err := checkEndpoint(endpoint, false); (err == nil) != fine {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if err := checkEndpoint("http://sqs.example.com", true); err != nil {
		t.Error(err)
	}
}

// Two topics, or groups, never share a queue, and every name is legal.
func TestNamesAreDifferent(t *testing.T) {
	texts := []string{"a", "b", "a.b", "a_b", "a-b", "a--b", "a..b", ".a", "-a", "a-", "A", "ä", "a/b", "a:b", "copy", strings.Repeat("g", 60), strings.Repeat("g", 61), strings.Repeat("g", 200), strings.Repeat("g", 199) + "h", "a.dead"}
	for _, o := range []Options{{}, {Standard: true}, {Prefix: "prod-"}, {Prefix: strings.Repeat("p", 24)}} {
		seen := map[string]string{}
		note := func(what, name string) {
			t.Helper()
			if other, there := seen[name]; there {
				t.Errorf("%s is called %q, like %s", what, name, other)
			}
			seen[name] = what
			if err := checkName(name); err != nil || fifoName(name) == o.Standard || !strings.HasPrefix(name, o.Prefix) {
				t.Errorf("%s is called %q: %v", what, name, err)
			}
		}
		for _, topic := range texts {
			note("topic "+topic, o.topicName(topic))
			for _, group := range texts {
				note("group "+group+" of "+topic, o.queueName(topic, group))
			}
			copied := o.copyPrefix(topic) + strings.Repeat("0", 16)
			if !o.Standard {
				copied += fifoSuffix
			}
			note("copy of "+topic, copied)
		}
	}
	o := Options{}
	if o.queueName("orders", "shipping") != "shipping--orders.fifo" || o.topicName("orders.dead") != "orders_dead.fifo" {
		t.Error("the plain names changed: groups would lose what waits for them")
	}
}

func TestBadTopologiesAreAllNamed(t *testing.T) {
	_, err := NewTopology(Queue{}, Queue{Name: "a.b"}, Queue{Name: strings.Repeat("q", 81)}, Queue{Name: "twice"}, Queue{Name: "twice"}, Queue{Name: "short", Retention: time.Second},
		Queue{Name: "half", MaxReceives: 3}, Queue{Name: "kinds.fifo", DeadQueue: "twice", MaxReceives: 3}, Queue{Name: "lost", DeadQueue: "nowhere", MaxReceives: 3},
		Queue{Name: "policy", Attributes: map[string]string{"RedrivePolicy": "{}"}}, Topic{Name: "standard", Attributes: map[string]string{"FifoTopic": "true"}}, Topic{Name: "t"},
		Subscription{Topic: "t", Queue: "kinds.fifo"}, Subscription{Topic: "nowhere", Queue: "nowhere"}, Subscription{Topic: "t", Queue: "twice", Attributes: map[string]string{"RawMessageDelivery": "false"}})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"its name is empty", "other characters", "81 characters", "it is there twice", "Retention is 1s", "give both", "of the other kind", "DeadQueue is no queue", "RedrivePolicy", "the ending .fifo",
		"cannot send to a FIFO queue", "Topic is none", "Queue is none", "always raw"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	topology, err := NewTopology(Subscription{Topic: "t", Queue: "q"}, Queue{Name: "q"}, nil, Topic{Name: "t"})
	if err != nil || len(topology.Parts()) != 3 {
		t.Errorf("%v, %v", topology, err)
	}
}

// Groups and dedup ids are legal whatever key and id are, and different where those are.
func TestGroupsAndDedupIDs(t *testing.T) {
	seen := map[string]string{}
	for i, key := range []string{"k", "~k", "~~k", "K", "ключ", "a b", strings.Repeat("k", 128), strings.Repeat("k", 129), strings.Repeat("k", 255), "\x00", "", ""} {
		g := groupOf(&sixfold.Envelope{Key: key, ID: fmt.Sprint(i)})
		if other, there := seen[g]; there || len(g) > 128 || len(g) == 0 || !printable(g) {
			t.Errorf("the group of %q is %q (like that of %q)", key, g, other)
		}
		seen[g] = key
	}
	out := func(topic, source, id string, epoch int) string {
		return dedupID(&bus.Outgoing{Topic: topic, Epoch: epoch, Envelope: &sixfold.Envelope{Source: source, ID: id}})
	}
	same := out("t", "s", "1", 0)
	if same != out("t", "s", "1", 0) {
		t.Error("a repeat has another id")
	}
	for _, other := range []string{out("t", "s", "1", 1), out("t", "s1", "", 0), out("t", "", "s1", 0), out("t", "s", "2", 0), out("t.dead", "s", "1", 0)} {
		if other == same || len(other) > 128 {
			t.Errorf("another message has the id %q", other)
		}
	}
	if first, second := out("t.dead", "s", "1", 0), out("t.dead", "s", "1", 0); first == second {
		t.Error("a dead letter would be dropped")
	}
}

func TestMaxReceives(t *testing.T) {
	for policy, want := range map[string]int{"": 0, "{}": 0, `{"maxReceiveCount":3}`: 3, `{"deadLetterTargetArn":"x","maxReceiveCount":"5"}`: 5, "no": 0} {
		if got := maxReceives(policy); got != want {
			t.Errorf("%q: %d, want %d", policy, got, want)
		}
	}
}

// The largest body that MaxBody lets through fits into a request, whatever it is made of.
func TestMaxBodyFits(t *testing.T) {
	for _, limit := range []int{snsLimit, sqsLimit} {
		o := bus.Outgoing{Topic: "t", Envelope: &sixfold.Envelope{ID: strings.Repeat("i", 255), Source: strings.Repeat("s", 255), Type: strings.Repeat("t", 255), Subject: strings.Repeat("ü", 127),
			Key: strings.Repeat("k", 255), ContentType: "application/octet-stream", Body: make([]byte, maxBody(limit))}}
		if _, size, err := encode(&o, maxBody(limit), limit); err != nil {
			t.Errorf("limit %d: %d bytes: %v", limit, size, err)
		}
		o.Body = append(o.Body, 0)
		if _, _, err := encode(&o, maxBody(limit), limit); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("one byte more: %v", err)
		}
	}
}

// closing is a body that answers who asks whether it has more when the answer has begun, as that of AWS's client does on a busy machine.
type closing struct {
	io.Reader
	asked, answered chan struct{}
}

func (closing) Close() error { return nil }

func (c closing) WriteTo(io.Writer) (int64, error) {
	close(c.asked)
	<-c.answered
	return 0, io.EOF
}

// An answer is read to its end although its request's body was closed when it began.
func TestAnAnswerOutlivesTheBodyOfItsRequest(t *testing.T) {
	const half = 1 << 20
	body := closing{bytes.NewReader([]byte("Action=ListTopics")), make(chan struct{}), make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		end := body.answered
		select {
		case <-body.asked:
			end = nil // but that of the connection
		case <-time.After(200 * time.Millisecond):
		}
		_, _ = w.Write(make([]byte, half))
		w.(http.Flusher).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
		_, _ = w.Write(make([]byte, half))
	}))
	defer server.Close()
	c, pool, err := configure(t.Context(), &Options{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = int64(len("Action=ListTopics"))
	response, err := c.HTTPClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	close(body.answered)
	if n, err := io.Copy(io.Discard, response.Body); n != 2*half || err != nil {
		t.Errorf("%d of %d bytes came: %v", n, 2*half, err)
	}
}
