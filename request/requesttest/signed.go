package requesttest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/signature"
)

func signedCases() []Case {
	return []Case{
		{"Signed/RoundTrip", "Signed requests and replies, faults among them, arrive as they were signed; the handler knows whose key it was.", signedRoundTrip},
		{"Signed/ForgedReplyKeepsSlot", "A reply that is not signed as it has to be is counted and leaves the slot open.", forgedSignatureKeepsSlot},
		{"Signed/Unauthorised", "A request that is not signed as it has to be is answered Unauthorised, and its handler does not run.", unauthorised},
		{"Signed/Cancelled", "Only who has asked can cancel.", signedCancel},
	}
}

func signer(p *probe, owner string) *signature.Signer {
	p.Helper()
	s, err := signature.NewSigner(signature.SigningKey{ID: owner, Private: private(owner)}, "requesttest", nil)
	if err != nil {
		p.Fatal(err)
	}
	return s
}

// private is the key of an owner: its name over and over.
func private(owner string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte(owner), ed25519.SeedSize)[:ed25519.SeedSize])
}

// accepts knows the keys of owners.
func accepts(p *probe, owners ...string) *signature.Verifier {
	p.Helper()
	var keys []signature.VerifyKey
	for _, owner := range owners {
		keys = append(keys, signature.VerifyKey{ID: owner, Owner: owner + "-service", Public: private(owner).Public().(ed25519.PublicKey)})
	}
	v, err := signature.NewVerifier(nil, keys, nil)
	if err != nil {
		p.Fatal(err)
	}
	return v
}

// sign signs a packet as it stands.
func sign(p *probe, packet *request.Packet, by *signature.Signer, audience string) {
	p.Helper()
	env := &packet.Envelope
	if packet.Bare() {
		env = new(sixfold.Envelope)
	}
	text, err := by.SignExchange(env, signature.Exchange{Protocol: packet.Protocol, Request: packet.Request, Timeout: packet.Timeout,
		Status: packet.Status, Versions: packet.Versions, Number: packet.Number}, audience)
	if err != nil {
		p.Fatal(err)
	}
	packet.Signature = text
}

// guarantees: Q2, Q4
func signedRoundTrip(p *probe) {
	var mu sync.Mutex
	var issuer string
	p.serve(&request.ServeOptions{Signer: signer(p, "quotes"), Verifier: accepts(p, "shop")}, p.route(func(ctx context.Context, m double) error {
		mu.Lock()
		defer mu.Unlock()
		issuer = sixfold.InfoFrom(ctx).Envelope.Issuer()
		if m.N == 2 {
			return errors.New("no")
		}
		return nil
	}))
	c := p.client(&request.ClientOptions{Signer: signer(p, "shop"), Verifier: accepts(p, "quotes")})
	cause := &sixfold.Envelope{ID: sixfold.NewID(), CorrelationID: "corr-1", Type: "outer", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	ctx := sixfold.WithInfo(p.ctx(), &sixfold.Info{Envelope: cause, Attempt: 1})
	got, err := p.double(ctx, c, 1, request.Headers(map[string]string{"tenant": "Zoë", "X-Mixed-Case": "a b"}))
	if err != nil || got.N != 2 {
		p.fail("the answer is %d, %v; the client counts %+v", got.N, err, c.Stats())
	}
	if _, err := p.double(p.ctx(), c, 2); !isFault(err, request.Internal) {
		p.fail("a fault came as %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if issuer != "shop-service" {
		p.fail("the handler saw the issuer %q", issuer)
	}
	if s := c.Stats(); s.Forged+s.Malformed != 0 {
		p.fail("the client counts %+v", s)
	}
}

// guarantees: Q2
//
// [ForgedReplyKeepsSlot]
func forgedSignatureKeepsSlot(p *probe) {
	ear := p.rawEar()
	c := p.client(&request.ClientOptions{Verifier: accepts(p, "quotes")})
	out := p.call(c, 1)
	asked := ear.next()
	right := signer(p, "quotes")
	bad := []func(r *request.Packet){
		func(r *request.Packet) { r.Signature = "" },
		func(r *request.Packet) { r.Signature = "none" },
		func(r *request.Packet) { sign(p, r, signer(p, "thief"), asked.Request) },
		func(r *request.Packet) { r.Envelope.Body = []byte(`{"N":666}`) },
		func(r *request.Packet) { r.Envelope.ContentType = "text/plain" },
		func(r *request.Packet) { r.Envelope.Source = "elsewhere" },
		func(r *request.Packet) { r.Status, r.Envelope.Type = "internal", request.FaultType },
		func(r *request.Packet) { sign(p, r, right, sixfold.NewID()) }, // that of another call
		func(r *request.Packet) {
			other := *r
			other.Request = sixfold.NewID()
			sign(p, &other, right, asked.Request)
			r.Signature = other.Signature
		},
	}
	for _, change := range bad {
		r := reply(asked, 2)
		sign(p, r, right, asked.Request)
		change(r)
		ear.answer(asked, r)
	}
	last := reply(asked, 2)
	sign(p, last, right, asked.Request)
	ear.answer(asked, last)
	if got := receive(p, "the outcome", out); got.err != nil || got.N != 2 {
		p.fail("the call answered %+v, %v", got.doubled, got.err)
	}
	if s := c.Stats(); s.Forged != uint64(len(bad)) || s.InFlight != 0 {
		p.fail("of %d bad replies the client counts %+v", len(bad), s)
	}
}

// guarantees: Q4
func unauthorised(p *probe) {
	var ran atomic.Int64
	s := p.serve(&request.ServeOptions{Signer: signer(p, "quotes"), Verifier: accepts(p, "shop")}, p.guard(&ran))
	port := p.rawPort()
	right := signer(p, "shop")
	bad := []func(q *request.Packet){
		func(q *request.Packet) { q.Signature = "" },
		func(q *request.Packet) { sign(p, q, signer(p, "thief"), p.to) },
		func(q *request.Packet) { sign(p, q, right, p.to+"-other") },
		func(q *request.Packet) { q.Timeout = "6000" },
		func(q *request.Packet) { q.Envelope.Body = []byte(`{"N":3}`) },
		func(q *request.Packet) { q.Envelope.Headers = map[string]string{"admin": "yes"} },
		func(q *request.Packet) { q.Request = sixfold.NewID() },
	}
	for i, change := range bad {
		q := question(1)
		sign(p, q, right, p.to)
		change(q)
		if got := p.fault(port, q); got.Status != "unauthorised" || got.Signature == "" {
			p.fail("number %d was answered %q, signed %q", i, got.Status, got.Signature)
		}
	}
	if ran.Load() != 0 || s.Stats().Unauthorised != uint64(len(bad)) {
		p.fail("%d handlers ran; the responder counts %+v", ran.Load(), s.Stats())
	}
	thief := p.client(&request.ClientOptions{Signer: signer(p, "thief"), Verifier: accepts(p, "quotes")})
	if _, err := p.double(p.ctx(), thief, 1); !isFault(err, request.Unauthorised) {
		p.fail("a caller whose key is not accepted got %v", err)
	}
	q := question(1)
	sign(p, q, right, p.to)
	port.ask(q)
	if got := port.next(); got.Status != "ok" || ran.Load() != 1 {
		p.fail("what is signed was answered %q", got.Status)
	}
}

// guarantees: Q1
func signedCancel(p *probe) {
	began, ended := make(chan *sixfold.Envelope, 1), make(chan struct{})
	s := p.serve(&request.ServeOptions{Signer: signer(p, "quotes"), Verifier: accepts(p, "shop", "bank")}, p.route(func(ctx context.Context, _ double) error {
		began <- sixfold.InfoFrom(ctx).Envelope
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}))
	lane := p.h.Connect(p)
	if !lane.Capabilities().Cancels {
		return
	}
	c := p.clientOn(lane, &request.ClientOptions{Signer: signer(p, "shop"), Verifier: accepts(p, "quotes")})
	ctx, cancel := context.WithCancel(p.Context())
	defer cancel()
	out := make(chan error, 1)
	go func() {
		_, err := p.double(ctx, c, 1, request.Timeout(p.cfg.Patience/2))
		out <- err
	}()
	asked := receive(p, "the handler", began)
	if p.h.Put == nil {
		p.Fatal("requesttest: the Harness has no Put")
	}
	for n, by := range []string{"", "thief", "bank", "thief"} { // the bank may ask, and has not asked this
		forged := &request.Packet{Protocol: "cancel/1", Request: asked.ID, ReplyTo: asked.ReplyTo}
		if by != "" {
			sign(p, forged, signer(p, by), p.to)
		}
		p.h.Put(p, p.to, forged)
		if by != "bank" {
			p.await("it is counted", func() bool { return s.Stats().Unauthorised == uint64(min(n+1, 3)) })
		}
	}
	if st := s.Stats(); st.Cancelled != 0 || st.Running != 1 {
		p.fail("a forged cancellation counts: %+v", st)
	}
	cancel()
	if err := receive(p, "the outcome", out); !errors.Is(err, request.ErrCancelled) {
		p.fail("the outcome is %v", err)
	}
	receive(p, "the end of the handler's context", ended)
}
