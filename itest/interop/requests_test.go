package interop

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// offer is what a quote is answered with.
type offer struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

// refusal is what the business says instead.
type refusal struct {
	Item string `json:"item"`
}

type quoteResult = request.Result[offer, refusal]

// quote is asked by both sides.
type quote struct {
	sixfold.Returns[quoteResult] `json:"-"`

	Item string `json:"item"`
}

func (quote) MessageName() string { return "interop.quote" }

// question is what the program asks.
type question struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Body        any               `json:"body,omitempty"`
	Raw         *string           `json:"raw,omitempty"` // in place of Body
	To          string            `json:"to,omitempty"`
	Timeout     int               `json:"timeout,omitempty"` // milliseconds; a minute
	Version     int               `json:"version,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	CancelAfter int               `json:"cancelAfter,omitempty"` // milliseconds
	Signer      string            `json:"signer,omitempty"`      // the id of the key
	Framed      bool              `json:"framed,omitempty"`      // it is asked with a frame, and not with headers
}

// told is what the program says of a question or of a request.
type told struct {
	ID, Status, Versions string
	Body                 json.RawMessage
	Length               int // of the body
	Ignored, Waiting     int
}

func (s seen) told(t *testing.T) (o told) {
	t.Helper()
	if err := json.Unmarshal(s.Data, &o); err != nil {
		t.Fatalf("%q: %v", s.Data, err)
	}
	return o
}

// requestLane is a lane on a server of the test's own.
func requestLane(t *testing.T) (lane *nats.RequestLane, url string) {
	t.Helper()
	url = servers.NATS(t, nil).URL()
	broker, err := nats.New(url, nil)
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	lane, err = broker.RequestLane(nil)
	must(t, err)
	return lane, url
}

// guarantees: Q2, Q3, Q4
func TestNodeAsksAResponder(t *testing.T) {
	t.Run("headers", func(t *testing.T) { nodeAsks(t, false) })
	t.Run("frames", func(t *testing.T) { nodeAsks(t, true) })
}

func nodeAsks(t *testing.T, framed bool) {
	lane, url := requestLane(t)
	var mu sync.Mutex
	var asked []*sixfold.Envelope
	ended := make(chan error, 2)
	responder, err := request.Serve(lane, &request.ServeOptions{Logger: slog.New(slog.DiscardHandler)}, request.On(func(ctx context.Context, q quote) (res quoteResult, err error) {
		mu.Lock()
		asked = append(asked, sixfold.InfoFrom(ctx).Envelope)
		mu.Unlock()
		switch q.Item {
		case "slow":
			<-ctx.Done()
			ended <- ctx.Err()
			return res, ctx.Err()
		case "broken":
			return res, errors.New("the shelf has collapsed in aisle 7")
		case "secret":
			return res, middleware.ErrForbidden
		case "sofa":
			return res.Reject(refusal{q.Item}), nil
		}
		return res.Accept(offer{q.Item, 1900}), nil
	}))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- responder.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-responder.Listening():
	case err := <-done:
		t.Fatal(err)
	}
	item := func(name string) map[string]string { return map[string]string{"item": name} }
	text := func(s string) *string { return &s }
	cases := []struct {
		question
		status, versions, body string
	}{
		{question{Name: "round trip", Body: item("lamp"), Attributes: map[string]string{"correlationid": "c1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, "ok", "", `{"value":{"item":"lamp","cents":1900}}`},
		{question{Name: "names in another case", Body: item("lamp"), Headers: map[string]string{"sixfold-timeout": "", "Sixfold-Timeout": "60000"}}, "ok", "", `{"value":{"item":"lamp","cents":1900}}`},
		{question{Name: "the business refuses", Body: item("sofa")}, "ok", "", `{"rejection":{"item":"sofa"}}`},
		{question{Name: "the handler fails", Body: item("broken")}, "internal", "", ""},
		{question{Name: "forbidden", Body: item("secret")}, "unauthorised", "", ""},
		{question{Name: "another version", Body: item("lamp"), Version: 2}, "unsupported", "1", ""},
		{question{Name: "another message", Type: "interop.other", Body: item("lamp")}, "unsupported", "1", ""},
		{question{Name: "no JSON", Raw: text("{")}, "malformed", "", ""},
		{question{Name: "no body", Raw: text("")}, "malformed", "", ""},
		{question{Name: "no source", Body: item("lamp"), Attributes: map[string]string{"source": ""}}, "malformed", "", ""},
		{question{Name: "no timeout", Body: item("lamp"), Headers: map[string]string{"sixfold-timeout": ""}}, "malformed", "", ""},
		{question{Name: "no time left", Body: item("lamp"), Headers: map[string]string{"sixfold-timeout": "0"}}, "expired", "", ""},
		{question{Name: "long over", Body: item("lamp"), Attributes: map[string]string{"expirytime": "2001-01-01T00:00:00Z"}}, "expired", "", ""},
		{question{Name: "nobody listens", Body: item("lamp"), To: "interop.nobody"}, "no responder", "", ""},
		{question{Name: "cancelled", Body: item("slow"), CancelAfter: 3000, Timeout: 60_000}, "cancelled", "", ""}, // begun by then
		{question{Name: "too late here", Body: item("slow"), Headers: map[string]string{"sixfold-timeout": "5000"}}, "expired", "", ""},
	}
	questions := make([]question, len(cases))
	for i, c := range cases {
		if c.Type == "" {
			c.Type = "interop.quote"
		}
		c.Framed = framed
		questions[i] = c.question
	}
	next := node(t).start(t, "requests", questions, "ask", url, "interop.quote")
	for _, c := range cases {
		got := next().told(t)
		if got.Status != c.status || got.Versions != c.versions || string(got.Body) != c.body || got.Ignored != 0 || got.Waiting != 0 || c.status != "ok" && got.Length != 0 {
			t.Errorf("%s: it was answered %+v, body %s", c.Name, got, got.Body)
		}
	}
	if first, second := wait(t, ended), wait(t, ended); !errors.Is(first, context.Canceled) || !errors.Is(second, context.DeadlineExceeded) {
		t.Errorf("the handlers' contexts ended with %v and %v", first, second) // with a second between them
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 7 {
		t.Errorf("the handler ran %d times, not 7", len(asked))
	}
	if env := asked[0]; env.Source != "/node" || env.CorrelationID != "c1" || !strings.Contains(env.TraceParent, "0af7651916cd43dd8448eb211c80319c") || !strings.HasPrefix(env.ReplyTo, "_INBOX.") {
		t.Errorf("the handler saw %v of %q, correlation %q, trace %q, reply to %q", env, env.Source, env.CorrelationID, env.TraceParent, env.ReplyTo)
	}
}

// wait answers what comes next.
func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case v := <-c:
		return v
	case <-limit.C:
		t.Fatal("nothing came for a minute")
		panic("not reached")
	}
}

// guarantees: Q2, Q3, Q4
func TestAskingNode(t *testing.T) {
	lane, url := requestLane(t)
	next := node(t).start(t, "requests", nil, "answer", url, "interop.quote")
	if !next().Ready {
		t.Fatal("the program did not say that it is ready")
	}
	client, err := request.NewClient(lane, &request.ClientOptions{Source: "shop", Timeout: time.Minute})
	must(t, err)
	defer client.Close(context.Background())

	cause := sixfold.WithInfo(t.Context(), &sixfold.Info{Envelope: &sixfold.Envelope{ID: "m1", CorrelationID: "c1"}})
	res, err := request.Send(cause, client, quote{Item: "lamp"})
	if got, ok := res.Value(); err != nil || !ok || got != (offer{"lamp", 1900}) {
		t.Errorf("a round trip answered %+v, %v", got, err)
	}
	res, err = request.Send(t.Context(), client, quote{Item: "sofa"})
	if got, ok := res.Rejection(); err != nil || !ok || got.Item != "sofa" {
		t.Errorf("a business rejection came as %+v, %v", got, err)
	}
	for item, want := range map[string]request.Category{"broken": request.Internal, "secret": request.Unauthorised} {
		if _, err := request.Send(t.Context(), client, quote{Item: item}); !errors.Is(err, &request.Fault{Category: want}) {
			t.Errorf("%s answered %v", item, err)
		}
	}
	if _, err := request.Send(t.Context(), client, other{}, request.To("interop.quote")); !errors.Is(err, &request.Fault{Category: request.Unsupported}) {
		t.Errorf("another message answered %v", err)
	}
	if _, err := request.Send(t.Context(), client, quote{}, request.To("interop.nobody")); !errors.Is(err, request.ErrNoResponder) {
		t.Errorf("a destination where nobody listens answered %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan error, 1)
	go func() {
		_, err := request.Send(ctx, client, quote{Item: "slow"})
		out <- err
	}()
	if got := next().told(t); got.Status != "begun" {
		t.Errorf("the program says %+v", got)
	}
	cancel()
	if err := wait(t, out); !errors.Is(err, request.ErrCancelled) {
		t.Errorf("the cancelled call answered %v", err)
	}
	if got := next().told(t); got.Status != "cancelled" {
		t.Errorf("the program's handler was ended by %q", got.Status)
	}
	if _, err := request.Send(t.Context(), client, quote{Item: "slow"}, request.Timeout(2*time.Second)); !errors.Is(err, request.ErrTimeout) && !errors.Is(err, &request.Fault{Category: request.Expired}) {
		t.Errorf("a slow call answered %v", err)
	}
	if begun, ended := next().told(t), next().told(t); begun.Status != "begun" || ended.Status != "expired" && ended.Status != "cancelled" {
		t.Errorf("the program says %+v, %+v", begun, ended)
	}
	strange(t, lane, url)

	res, err = request.Send(cause, client, quote{Item: "books"}) // which it works on beside the slow one
	if got, _ := res.Value(); err != nil || got.Item != `{"dropped":2,"duplicates":1,"working":2,"correlation":"c1"}` {
		t.Errorf("the program's books are %s, %v", got.Item, err)
	}
	if s := client.Stats(); s.Forged+s.Malformed+s.WrongVersion+s.Duplicate+s.Lost != 0 || s.InFlight != 0 {
		t.Errorf("the client counts %+v", s)
	}
}

// other is a message that nobody has a handler for.
type other struct {
	sixfold.Returns[int] `json:"-"`
}

func (other) MessageName() string { return "interop.other" }

// strange asks what no client of ours does.
func strange(t *testing.T, lane *nats.RequestLane, url string) {
	t.Helper()
	replies := make(chan *request.Packet, 10)
	port, err := lane.Open(t.Context(), request.Replies{Take: func(p *request.Packet) { replies <- p }, Undeliverable: func(string) {}, Lost: func(error) {}})
	must(t, err)
	t.Cleanup(func() { port.Close(context.Background()) })
	ask := func(change func(p *request.Packet)) *request.Packet {
		p := &request.Packet{Protocol: "request/1", Request: sixfold.NewID(), Timeout: "60000"}
		p.Envelope = sixfold.Envelope{ID: p.Request, Source: "shop", Type: "interop.quote", ContentType: "application/json", Body: []byte(`{"item":"lamp"}`)}
		change(p)
		must(t, port.Ask(t.Context(), "interop.quote", p))
		return p
	}
	for _, c := range []struct {
		name, status, protocol, versions string
		change                           func(p *request.Packet)
	}{
		{"another version", "unsupported", "reply/2", "1", func(p *request.Packet) { p.Protocol = "request/2" }},
		{"no time left", "expired", "reply/1", "", func(p *request.Packet) { p.Timeout = "0" }},
		{"long over", "expired", "reply/1", "", func(p *request.Packet) { p.Envelope.Expires = time.Now().Add(-time.Hour).UTC() }},
		{"no timeout", "malformed", "reply/1", "", func(p *request.Packet) { p.Timeout = "" }},
		{"no JSON", "malformed", "reply/1", "", func(p *request.Packet) { p.Envelope.Body = []byte("{") }},
		{"no envelope", "malformed", "reply/1", "", func(p *request.Packet) { p.Envelope = sixfold.Envelope{} }},
	} {
		asked := ask(c.change)
		got := wait(t, replies)
		if got.Damaged != nil || got.Request != asked.Request || got.Status != c.status || got.Protocol != c.protocol || got.Versions != c.versions || got.Envelope.Type != request.FaultType || len(got.Envelope.Body) != 0 {
			t.Errorf("%s: %q of %q in %q, versions %q, type %q, %v", c.name, got.Status, got.Request, got.Protocol, got.Versions, got.Envelope.Type, got.Damaged)
		}
	}
	nc, err := natsgo.Connect(url, natsgo.Timeout(time.Minute))
	must(t, err)
	defer nc.Close()
	for _, reply := range []string{"", "interop.elsewhere"} { // no address, and none of the carrier's kind
		m := natsgo.NewMsg("sixfold.request.interop.quote")
		m.Reply = reply
		m.Header = natsgo.Header{"sixfold-protocol": {"request/1"}, "sixfold-request": {"r1"}, "sixfold-timeout": {"1000"}}
		must(t, nc.PublishMsg(m))
	}
	must(t, nc.Flush())
	slow := ask(func(p *request.Packet) { p.Envelope.Body = []byte(`{"item":"slow"}`) })
	ask(func(p *request.Packet) { *p = *slow }) // and again
	// What one connection sends arrives in its order, so all of that has been looked at when this is answered.
	asked := ask(func(*request.Packet) {})
	if got := wait(t, replies); got.Request != asked.Request || got.Status != "ok" || got.Envelope.Type != "interop.quote.reply" {
		t.Errorf("a request was answered %q of %q, type %q", got.Status, got.Request, got.Envelope.Type)
	}
}
