package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/signature"
)

// seed is that of an owner's key: its name over and over.
func seed(owner string) []byte {
	return bytes.Repeat([]byte(owner), ed25519.SeedSize)[:ed25519.SeedSize]
}

// keys are the program's: it signs with those of own, and accepts those of others.
func keys(t *testing.T, own, others []string) string {
	t.Helper()
	type accepted struct {
		Owner string `json:"owner"`
		Key   string `json:"key"`
	}
	all := struct {
		Sign   map[string]string   `json:"sign"`
		Accept map[string]accepted `json:"accept"`
	}{map[string]string{}, map[string]accepted{}}
	for _, name := range own {
		all.Sign[name] = hex.EncodeToString(seed(name))
	}
	for _, name := range others {
		all.Accept[name] = accepted{name, hex.EncodeToString(ed25519.NewKeyFromSeed(seed(name)).Public().(ed25519.PublicKey))}
	}
	text, err := json.Marshal(all)
	must(t, err)
	return string(text)
}

func signer(t *testing.T, owner string) *signature.Signer {
	t.Helper()
	s, err := signature.NewSigner(signature.SigningKey{ID: owner, Private: ed25519.NewKeyFromSeed(seed(owner))}, "interop", nil)
	must(t, err)
	return s
}

func accepts(t *testing.T, owner string) *signature.Verifier {
	t.Helper()
	v, err := signature.NewVerifier(nil, []signature.VerifyKey{{ID: owner, Owner: owner, Public: ed25519.NewKeyFromSeed(seed(owner)).Public().(ed25519.PublicKey)}}, nil)
	must(t, err)
	return v
}

// guarantees: Q2, Q4
func TestNodeSignsWhatItAsks(t *testing.T) {
	t.Run("headers", func(t *testing.T) { nodeSigns(t, false) })
	t.Run("frames", func(t *testing.T) { nodeSigns(t, true) })
}

func nodeSigns(t *testing.T, framed bool) {
	lane, url := requestLane(t)
	issuers := make(chan string, 10)
	responder, err := request.Serve(lane, &request.ServeOptions{Logger: slog.New(slog.DiscardHandler), Signer: signer(t, "go"), Verifier: accepts(t, "node")},
		request.On(func(ctx context.Context, q quote) (res quoteResult, err error) {
			env := sixfold.InfoFrom(ctx).Envelope
			issuers <- env.Issuer() + " " + env.Headers["tenant"]
			if q.Item == "slow" {
				<-ctx.Done()
				issuers <- ctx.Err().Error()
			}
			return res.Accept(offer{q.Item, 1900}), ctx.Err()
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
	cases := []struct {
		question
		status string
	}{
		{question{Name: "signed", Body: item("lamp"), Signer: "node", Headers: map[string]string{"tenant": "acme"}, Attributes: map[string]string{"correlationid": "c1", "subject": "a%20b"}}, "ok"},
		{question{Name: "not signed", Body: item("lamp")}, "unauthorised"},
		{question{Name: "another's key", Body: item("lamp"), Signer: "thief"}, "unauthorised"},
		{question{Name: "no JSON", Body: nil, Raw: new(string), Signer: "node"}, "malformed"},
		{question{Name: "cancelled", Body: item("slow"), Signer: "node", CancelAfter: 3000, Timeout: 60_000}, "cancelled"}, // begun by then
	}
	questions := make([]question, len(cases))
	for i, c := range cases {
		c.Type, c.Framed = "interop.quote", framed
		questions[i] = c.question
	}
	next := node(t).start(t, "requests", questions, "ask", url, "interop.quote", keys(t, []string{"node", "thief"}, []string{"go"}))
	for _, c := range cases {
		if got := next().told(t); got.Status != c.status || got.Ignored != 0 {
			t.Errorf("%s: it was answered %+v", c.Name, got)
		}
	}
	// A reply that is signed by a key which the program does not accept ends no call there.
	deaf := question{Name: "a reply of another's key", Type: "interop.quote", Body: item("lamp"), Signer: "node", Timeout: 10_000, Framed: framed}
	next = node(t).start(t, "requests", []question{deaf}, "ask", url, "interop.quote", keys(t, []string{"node"}, []string{"somebody"}))
	if got := next().told(t); got.Status != "timeout" || got.Ignored != 1 {
		t.Errorf("%s: it was answered %+v", deaf.Name, got)
	}
	if first, slow, end := wait(t, issuers), wait(t, issuers), wait(t, issuers); first != "node acme" || slow != "node " || end != context.Canceled.Error() {
		t.Errorf("the handler saw %q, %q, %q", first, slow, end)
	}
	if s := responder.Stats(); s.Unauthorised != 2 {
		t.Errorf("the responder counts %+v", s)
	}
}

// guarantees: Q2, Q4
func TestNodeSignsWhatItAnswers(t *testing.T) {
	lane, url := requestLane(t)
	next := node(t).start(t, "requests", nil, "answer", url, "interop.quote", keys(t, []string{"node"}, []string{"go"}))
	if !next().Ready {
		t.Fatal("the program did not say that it is ready")
	}
	client := func(o request.ClientOptions) *request.Client {
		o.Source, o.Timeout = "shop", time.Minute
		c, err := request.NewClient(lane, &o)
		must(t, err)
		t.Cleanup(func() { c.Close(context.Background()) })
		return c
	}
	right := client(request.ClientOptions{Signer: signer(t, "go"), Verifier: accepts(t, "node")})
	cause := sixfold.WithInfo(t.Context(), &sixfold.Info{Envelope: &sixfold.Envelope{ID: "m1", CorrelationID: "c1"}})
	res, err := request.Send(cause, right, quote{Item: "lamp"}, request.Headers(map[string]string{"tenant": "Zoë", "X-Case": "a b"}))
	if got, ok := res.Value(); err != nil || !ok || got != (offer{"lamp", 1900}) {
		t.Errorf("a round trip answered %+v, %v", got, err)
	}
	if _, err := request.Send(t.Context(), right, quote{Item: "broken"}); !errors.Is(err, &request.Fault{Category: request.Internal}) {
		t.Errorf("a fault came as %v", err)
	}
	for name, c := range map[string]*request.Client{"not signed": client(request.ClientOptions{Verifier: accepts(t, "node")}), "another's key": client(request.ClientOptions{Signer: signer(t, "thief")})} {
		if _, err := request.Send(t.Context(), c, quote{Item: "lamp"}); !errors.Is(err, &request.Fault{Category: request.Unauthorised}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deaf := client(request.ClientOptions{Signer: signer(t, "go"), Verifier: accepts(t, "somebody")})
	if _, err := request.Send(t.Context(), deaf, quote{Item: "lamp"}, request.Timeout(10*time.Second)); !errors.Is(err, request.ErrTimeout) || deaf.Stats().Forged == 0 {
		t.Errorf("a reply by a key that is not accepted ended a call: %v, %+v", err, deaf.Stats())
	}
	if s := right.Stats(); s.Forged+s.Malformed != 0 {
		t.Errorf("the client counts %+v", s)
	}
}
