package natstest

import (
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	f := newFixture(t, nil)
	requesttest.Run(t, requesttest.Config{Deadline: time.Second, Patience: time.Minute, Slack: 10 * time.Second}, f.requestHarness)
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
	nc, err := natsgo.Connect(f.url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
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
			heads, err := p.AppendHeaders(nil, cloudevents.NATS())
			if err != nil {
				tb.Fatal(err)
			}
			m := &natsgo.Msg{Subject: "sixfold.request." + to, Reply: p.ReplyTo, Header: natsgo.Header{}, Data: p.Envelope.Body}
			for _, h := range heads {
				m.Header[h.Name] = []string{h.Value}
			}
			if err := nc.PublishMsg(m); err != nil {
				tb.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				tb.Fatal(err)
			}
		},
	}
}
