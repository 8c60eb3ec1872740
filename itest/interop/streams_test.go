package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// count is a stream of numbers, asked for by both sides.
type count struct {
	sixfold.Returns[iter.Seq2[counted, error]] `json:"-"`

	To     int  `json:"to"`
	FailAt *int `json:"failAt,omitempty"`
}

func (count) MessageName() string { return "interop.count" }

type counted struct {
	N int `json:"n"`
}

// streamQuestion is what the program asks.
type streamQuestion struct {
	question

	Stream     bool `json:"stream"`
	Scatter    bool `json:"scatter"`
	Window     int  `json:"window,omitempty"`
	LeaveAfter int  `json:"leaveAfter,omitempty"`
	Want       int  `json:"want,omitempty"`
}

// served runs a responder until the test ends.
func served(t *testing.T, lane request.Lane, o request.ServeOptions, routes ...request.Route) *request.Responder {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	responder, err := request.Serve(lane, &o, routes...)
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
	return responder
}

// All of it is signed, with its numbers.
//
// guarantees: Q1, Q2, Q4, Q5
func TestNodeReadsStreams(t *testing.T) {
	lane, url := requestLane(t)
	type end struct {
		err     error
		yielded int
	}
	ended := make(chan end, 10)
	o := request.ServeOptions{Signer: signer(t, "go"), Verifier: accepts(t, "node"), Source: "/go"}
	routes := []request.Route{
		request.OnStream(func(ctx context.Context, q count) iter.Seq2[counted, error] {
			return func(yield func(counted, error) bool) {
				for n := range q.To {
					if q.FailAt != nil && n == *q.FailAt {
						yield(counted{}, errors.New("the shelf has collapsed in aisle 7"))
						return
					}
					if !yield(counted{n}, nil) {
						ended <- end{ctx.Err(), n}
						return
					}
				}
			}
		}).At("interop.flows"),
		request.On(func(_ context.Context, q quote) (res quoteResult, err error) {
			return res.Accept(offer{q.Item, 1900}), nil
		}).At("interop.flows"),
	}
	served(t, lane, o, routes...)
	served(t, lane, o, routes...)
	three := 3
	numbers := func(n int) string {
		all := []counted{}
		for i := range n {
			all = append(all, counted{i})
		}
		text, _ := json.Marshal(all)
		return string(text)
	}
	cases := []struct {
		streamQuestion
		status, body string
	}{
		{streamQuestion{question: question{Name: "all", Body: count{To: 200}}, Window: 8}, "ok", numbers(200)},
		{streamQuestion{question: question{Name: "one by one", Body: count{To: 20}}, Window: 1}, "ok", numbers(20)},
		{streamQuestion{question: question{Name: "nothing", Body: count{}}}, "ok", "[]"},
		{streamQuestion{question: question{Name: "the handler fails", Body: count{To: 9, FailAt: &three}}}, "internal", numbers(3)},
		{streamQuestion{question: question{Name: "no stream", Type: "interop.quote", Body: map[string]string{"item": "lamp"}}}, "unsupported", "[]"},
		{streamQuestion{question: question{Name: "left", Body: count{To: 1_000_000}, Timeout: 60_000}, Window: 4, LeaveAfter: 10}, "left", numbers(10)},
		{streamQuestion{question: question{Name: "all who listen", Type: "interop.quote", Body: map[string]string{"item": "lamp"}}, Scatter: true, Want: 2}, "enough",
			`[{"value":{"item":"lamp","cents":1900}},{"value":{"item":"lamp","cents":1900}}]`},
		{streamQuestion{question: question{Name: "all, by the deadline", Type: "interop.quote", Body: map[string]string{"item": "lamp"}, Timeout: 5000}, Scatter: true}, "timeout",
			`[{"value":{"item":"lamp","cents":1900}},{"value":{"item":"lamp","cents":1900}}]`},
	}
	questions := make([]streamQuestion, len(cases))
	for i, c := range cases {
		c.Stream, c.Signer, c.Framed = !c.Scatter, "node", i%2 == 1
		if c.Type == "" {
			c.Type = "interop.count"
		}
		questions[i] = c.streamQuestion
	}
	next := node(t).start(t, "requests", questions, "ask", url, "interop.flows", keys(t, []string{"node"}, []string{"go"}))
	late := 0 // items that were on their way when the stream was left
	for _, c := range cases {
		if c.status == "left" {
			late = c.Window
		}
		if got := next().told(t); got.Status != c.status || string(got.Body) != c.body || got.Ignored > late || got.Waiting != 0 {
			t.Errorf("%s: it came to %+v, body %.300s", c.Name, got, got.Body)
		}
	}
	if e := wait(t, ended); !errors.Is(e.err, context.Canceled) || e.yielded < 10 || e.yielded > 10+4 {
		t.Errorf("the handler of the stream that was left ended with %v after %d items", e.err, e.yielded)
	}
}

// guarantees: Q1, Q2, Q4, Q5
func TestStreamsOfNode(t *testing.T) {
	lane, url := requestLane(t)
	next := node(t).start(t, "requests", nil, "answer", url, "interop.flows", keys(t, []string{"node"}, []string{"go"}))
	if !next().Ready {
		t.Fatal("the program did not say that it is ready")
	}
	client, err := request.NewClient(lane, &request.ClientOptions{Source: "shop", Timeout: time.Minute, Signer: signer(t, "go"), Verifier: accepts(t, "node")})
	must(t, err)
	defer client.Close(context.Background())
	read := func(q count, most int, opts ...request.Option) (n int, err error) {
		for item, err := range request.Stream(t.Context(), client, q, append(opts, request.To("interop.flows"))...) {
			if err != nil {
				return n, err
			}
			if item.N != n {
				return n, fmt.Errorf("item %d is %d", n, item.N)
			}
			if n++; n == most {
				return n, nil
			}
		}
		return n, nil
	}
	three := 3
	if n, err := read(count{To: 200}, -1, request.Window(8)); n != 200 || err != nil {
		t.Errorf("%d items came, %v", n, err)
	}
	if got := next().told(t); got.Status != "done" || got.Length != 200 {
		t.Errorf("the program says %+v", got)
	}
	if n, err := read(count{To: 9, FailAt: &three}, -1); n != 3 || !errors.Is(err, &request.Fault{Category: request.Unavailable}) {
		t.Errorf("%d items came, %v", n, err)
	}
	if got := next().told(t); got.Status != "done" || got.Length != 3 {
		t.Errorf("the program says %+v", got)
	}
	if n, err := read(count{To: 1_000_000}, 10, request.Window(4)); n != 10 || err != nil {
		t.Errorf("%d items came, %v", n, err)
	}
	if got := next().told(t); got.Status != "cancelled" || got.Length < 10 || got.Length > 14 {
		t.Errorf("the program says %+v", got)
	}
	answers, err := request.Scatter(t.Context(), client, quote{Item: "lamp"}, request.To("interop.flows"), request.Want(1)).Collect()
	if err != nil || len(answers) != 1 {
		t.Fatalf("all who listen answered %+v, %v", answers, err)
	}
	if got, ok := answers[0].Result.Value(); !ok || got != (offer{"lamp", 1900}) || answers[0].From != "node" {
		t.Errorf("all who listen answered %+v", answers)
	}
	if s := client.Stats(); s.Forged+s.Malformed+s.WrongVersion+s.Duplicate+s.Lost != 0 || s.Streams != 0 {
		t.Errorf("the client counts %+v", s)
	}
}
