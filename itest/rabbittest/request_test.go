package rabbittest

import (
	"context"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	f := newFixture(t)
	requesttest.Run(t, requesttest.Config{Deadline: time.Second, Patience: 2 * time.Minute, Slack: time.Minute}, f.requestHarness)
}

// requestHarness gives each lane a proxy of its own, so that it can die alone.
func (f *fixture) requestHarness(tb testing.TB) requesttest.Harness {
	var mu sync.Mutex
	proxies := map[request.Lane]*proxy{}
	all := func(do func(*proxy)) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range proxies {
			do(p)
		}
	}
	return requesttest.Harness{
		Connect: func(tb testing.TB) request.Lane {
			p := newProxy(tb, f.url)
			lane, err := f.connect(tb, p.url(), nil).RequestLane(nil)
			if err != nil {
				tb.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			proxies[lane] = p
			return lane
		},
		NewDestination: func(testing.TB) string { return f.topic() },
		Cut:            func(testing.TB) { all((*proxy).Cut) },
		Restore:        func(testing.TB) { all((*proxy).Restore) },
		Kill: func(_ testing.TB, l request.Lane) {
			mu.Lock()
			defer mu.Unlock()
			proxies[l].Cut()
			delete(proxies, l) // nobody restores it
		},
		Put: func(tb testing.TB, to string, p *request.Packet) {
			heads, err := p.AppendHeaders(nil, cloudevents.AMQP())
			if err != nil {
				tb.Fatal(err)
			}
			m := amqp.Publishing{Headers: amqp.Table{}, Body: p.Envelope.Body, ReplyTo: p.ReplyTo[:min(len(p.ReplyTo), 255)]}
			for _, h := range heads {
				m.Headers[h.Name] = h.Value
			}
			_, ch := f.raw(tb)
			if err := ch.PublishWithContext(tb.Context(), "", "sixfold.request."+to, false, false, m); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

// echo is asked by the tests here.
type echo struct {
	sixfold.Returns[string] `json:"-"`
	Text                    string
}

func (echo) MessageName() string { return "rabbittest.echo" }

// An address that looks like one of direct reply-to and is none costs its own answer only.
//
// guarantees: Q4, Q6
func TestRequestForgedDirectReplyTo(t *testing.T) {
	f := newFixture(t)
	h := f.requestHarness(t)
	to := h.NewDestination(t)
	responder, err := request.Serve(h.Connect(t), nil, request.On(func(_ context.Context, m echo) (string, error) { return m.Text, nil }).At(to))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- responder.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	<-responder.Listening()
	_, ch := f.raw(t)
	addresses := []string{"amq.rabbitmq.reply-to.garbage", "amq.rabbitmq.reply-to.g1h2AA==.AAAA", "amq.rabbitmq.reply-to.g2dkAA==", "amq.rabbitmq.reply-to.", "sixfold.request." + to, ""}
	for _, pid := range []string{"\x83\x58\x77\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", "\x83\x58\x64\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01",
		"\x83\x58\x77\x08reply@12\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", "\x83\x58\x77\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", "\x83\x67\x64\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x01",
		"\x83\x58\x76\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", "\x83\x58\x77\xffa\x00\x00", "\x83m\x00\x00\x00\x01a"} {
		token := base64.StdEncoding.EncodeToString([]byte(pid))
		addresses = append(addresses, "amq.rabbitmq.reply-to."+token, "amq.rabbitmq.reply-to."+token+".AAAA", "amq.rabbitmq.reply-to."+token+".not base64", "amq.rabbitmq.reply-to."+token+".!!!!")
	}
	for _, address := range addresses {
		m := amqp.Publishing{ContentType: "application/json", ReplyTo: address, Body: []byte(`{"Text":"forged"}`), Headers: amqp.Table{
			"sixfold-protocol": "request/1", "sixfold-request": "r-1", "sixfold-timeout": "5000", "cloudEvents:specversion": "1.0", "cloudEvents:id": "r-1", "cloudEvents:source": "test", "cloudEvents:type": "rabbittest.echo"}}
		if err := ch.PublishWithContext(t.Context(), "", "sixfold.request."+to, true, false, m); err != nil {
			t.Fatal(err)
		}
	}
	client, err := request.NewClient(h.Connect(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	for range 20 { // what is wrong with the channel shows now at the latest
		if got, err := request.Send(t.Context(), client, echo{Text: "hey"}, request.To(to)); got != "hey" || err != nil {
			t.Fatalf("it answered %q, %v", got, err)
		}
	}
	limit, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for responder.Stats().Dropped < 2 { // of those that were asked first, and may be answered last
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the responder counts %+v", responder.Stats())
		}
	}
	if s := responder.Stats(); s.Lost != 0 {
		t.Errorf("the responder counts %+v", s)
	}
}
