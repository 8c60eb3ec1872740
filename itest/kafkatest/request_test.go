package kafkatest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	f := newFake(t)
	requesttest.Run(t, requesttest.Config{Deadline: 2 * time.Second, Patience: 2 * time.Minute, Slack: time.Minute}, f.requestHarness)
}

// requestHarness gives each lane a network of its own, so that it can die alone.
func (f *fixture) requestHarness(tb testing.TB) requesttest.Harness {
	var mu sync.Mutex
	networks := map[request.Lane]*network{}
	all := func(do func(*network)) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range networks {
			do(n)
		}
	}
	raw := f.raw(tb)
	return requesttest.Harness{
		Connect: func(tb testing.TB) request.Lane {
			var o kafka.Options
			if f.fake == nil {
				o.SessionTimeout = 6 * time.Second // a real group takes longer to move, and a busy machine misses heartbeats
			}
			t, n := f.connect(tb, fast(o))
			lane, err := t.RequestLane(nil)
			if err != nil {
				tb.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			networks[lane] = n
			return lane
		},
		NewDestination: func(testing.TB) string { return f.topic() },
		Cut:            func(testing.TB) { all((*network).cut) },
		Restore:        func(testing.TB) { all((*network).restore) },
		Kill: func(_ testing.TB, l request.Lane) {
			mu.Lock()
			defer mu.Unlock()
			networks[l].cut()
			delete(networks, l) // nobody restores it
		},
		Put: func(tb testing.TB, to string, p *request.Packet) {
			heads, err := p.AppendHeaders(nil, cloudevents.Kafka())
			if err != nil {
				tb.Fatal(err)
			}
			r := &kgo.Record{Topic: "sixfold.request." + to, Value: p.Envelope.Body, Headers: []kgo.RecordHeader{{Key: "reply-to", Value: []byte(p.ReplyTo)}}}
			for _, h := range heads {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
			}
			if err := raw.ProduceSync(tb.Context(), r).FirstErr(); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

// guarantees: Q3
//
// A request that waits in the client behind a broker that does not answer is not written once its call's deadline has passed.
func TestNoRequestIsWrittenAfterItsDeadline(t *testing.T) {
	f := newFake(t)
	f.lateRequest(t)
}

func (f *fixture) lateRequest(t *testing.T) {
	lanes := make([]*kafka.RequestLane, 2)
	var n *network
	for i := range lanes {
		tr, own := f.connect(t, fast(kafka.Options{Partitions: 1}))
		lane, err := tr.RequestLane(nil)
		if err != nil {
			t.Fatal(err)
		}
		lanes[i], n = lane, own
	}
	to := f.topic()
	came := make(chan string, 100)
	ear, err := lanes[0].Listen(t.Context(), []string{to}, request.Requests{Take: func(_ string, p *request.Packet) { came <- string(p.Envelope.Body) }, Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close(context.Background())
	port, err := lanes[1].Open(t.Context(), request.Replies{Take: func(*request.Packet) {}, Undeliverable: func(string) {}, Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close(context.Background())
	ask := func(ctx context.Context, body string) {
		t.Helper()
		p := &request.Packet{Protocol: "request/1", Request: sixfold.NewID(), Timeout: "1000"}
		p.Envelope = sixfold.Envelope{ID: p.Request, Source: "test", Type: "test", Body: []byte(body)}
		if err := port.Ask(ctx, to, p); err != nil {
			t.Fatal(err)
		}
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-came:
			if got != want {
				t.Fatalf("%q came, not %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q did not come", want)
		}
	}
	patient, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	release := n.holdConfirms()
	defer release()
	ask(patient, "held")
	next("held") // written, and the client does not know that
	ask(patient, "patient")
	short, stop := context.WithTimeout(t.Context(), 2*time.Second) // in which it is handed over
	defer stop()
	ask(short, "late")
	<-short.Done()
	release()
	next("patient")
	ask(patient, "last")
	next("last")
}
