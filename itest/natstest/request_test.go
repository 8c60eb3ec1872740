package natstest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	f := newFixture(t, nil)
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
	nc, err := natsgo.Connect(f.url, patient()...)
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

// Who is asked with headers answers with headers, who is asked with a frame with a frame, and what is large goes with headers.
func TestRequestForms(t *testing.T) {
	f := newFixture(t, nil)
	lane, err := f.connect(t, f.url, nil).RequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	to := f.topic()
	responder, err := request.Serve(lane, nil, request.On(func(_ context.Context, r repeat) (string, error) { return strings.Repeat("x", r.Times), nil }).At(to))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- responder.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-responder.Listening():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	nc, err := natsgo.Connect(f.url, patient()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, c := range []struct {
		framed, back bool
		times        int
	}{{false, false, 1}, {true, true, 1}, {true, false, request.MaxFramed}} {
		p := &request.Packet{Protocol: "request/1", Request: "r1", Timeout: "60000"}
		p.Envelope = sixfold.Envelope{ID: "r1", Source: "test", Type: repeat{}.MessageName(), ContentType: "application/json", Body: fmt.Appendf(nil, `{"Times":%d}`, c.times)}
		m := natsgo.NewMsg("sixfold.request." + to)
		if c.framed {
			m.Header = natsgo.Header{"Nats-Request-Info": {"{}"}} // as a server adds it
			m.Data, err = p.AppendFrame(nil)
		} else {
			var heads []cloudevents.Header
			heads, err = p.AppendHeaders(nil, cloudevents.NATS())
			for _, h := range heads {
				m.Header[h.Name] = []string{h.Value}
			}
			m.Data = p.Envelope.Body
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := nc.RequestMsg(m, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if status, back := got.Header.Get(request.HeaderStatus), request.IsFrame(got.Data); back != c.back || back == (status == "ok") {
			t.Errorf("asked with a frame %v for %d bytes: answered with a frame %v, status %q in a header", c.framed, c.times, back, status)
		}
	}
}

// repeat is answered with as many letters.
type repeat struct {
	sixfold.Returns[string] `json:"-"`

	Times int
}

func (repeat) MessageName() string { return "test.repeat" }
