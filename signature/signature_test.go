package signature_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

func TestWhatIsSignedIsAccepted(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "orders"), verifier(t, nil, "orders", shopKey())
	for name, env := range map[string]*sixfold.Envelope{"full": full(), "bare": {ID: "1", Type: "t"}, "empty body": {ID: "1", Type: "t", Body: []byte{}}} {
		shared := env.Headers
		if err := s.Sign(env); err != nil {
			t.Fatal(err)
		}
		if _, there := shared[signature.Header]; there {
			t.Errorf("%s: the signature was written into a map that another envelope may have", name)
		}
		// What brokers, relays and bridges change is not signed.
		env.TraceParent, env.TraceState, env.Sequence = "", "", "4/1"
		env.Headers["sixfold-dead-reason"] = "attempts"
		env.Time, env.Expires = env.Time.In(time.FixedZone("", 3600)), env.Expires.Local()
		if issuer, err := v.Verify(env); err != nil || issuer != "shop" {
			t.Errorf("%s: %q, %v", name, issuer, err)
		}
	}
}

// Any one bit of anything signed, and of the signature itself.
func TestAnyBitThatIsFlippedIsRefused(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "orders"), verifier(t, nil, "orders", shopKey())
	signed := full()
	if err := s.Sign(signed); err != nil {
		t.Fatal(err)
	}
	tried := 0
	each := func(what, was string, put func(env *sixfold.Envelope, now string)) {
		for i := range 8 * len(was) {
			b := []byte(was)
			b[i/8] ^= 1 << (i % 8)
			env := *signed
			env.Headers = maps.Clone(signed.Headers)
			put(&env, string(b))
			tried++
			if issuer, err := v.Verify(&env); err == nil || issuer != "" {
				t.Fatalf("%s with bit %d flipped is accepted, of %q", what, i, issuer)
			}
		}
	}
	each("id", signed.ID, func(e *sixfold.Envelope, s string) { e.ID = s })
	each("source", signed.Source, func(e *sixfold.Envelope, s string) { e.Source = s })
	each("type", signed.Type, func(e *sixfold.Envelope, s string) { e.Type = s })
	each("subject", signed.Subject, func(e *sixfold.Envelope, s string) { e.Subject = s })
	each("key", signed.Key, func(e *sixfold.Envelope, s string) { e.Key = s })
	each("content type", signed.ContentType, func(e *sixfold.Envelope, s string) { e.ContentType = s })
	each("correlation", signed.CorrelationID, func(e *sixfold.Envelope, s string) { e.CorrelationID = s })
	each("causation", signed.CausationID, func(e *sixfold.Envelope, s string) { e.CausationID = s })
	each("reply address", signed.ReplyTo, func(e *sixfold.Envelope, s string) { e.ReplyTo = s })
	each("body", string(signed.Body), func(e *sixfold.Envelope, s string) { e.Body = []byte(s) })
	for name, value := range signed.Headers {
		each("header "+name, value, func(e *sixfold.Envelope, s string) { e.Headers[name] = s })
		if name != signature.Header {
			each("name of header "+name, name, func(e *sixfold.Envelope, s string) { delete(e.Headers, name); e.Headers[s] = value })
		}
	}
	for bit := range 63 {
		env := *signed
		env.Time = env.Time.Add(1 << bit)
		if _, err := v.Verify(&env); err == nil {
			t.Fatalf("another time is accepted")
		}
		env = *signed
		env.Expires = env.Expires.Add(1 << bit)
		if _, err := v.Verify(&env); err == nil {
			t.Fatalf("another expiry is accepted")
		}
	}
	if tried < 1500 {
		t.Errorf("only %d bits were tried", tried)
	}
}

func TestWhatIsMovedFromOnePlaceToAnotherIsRefused(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "orders"), verifier(t, nil, "orders", shopKey())
	for name, change := range map[string]func(e *sixfold.Envelope){
		"between fields":       func(e *sixfold.Envelope) { e.Type, e.ID = e.Type+e.ID[:1], e.ID[1:] },
		"from key to subject":  func(e *sixfold.Envelope) { e.Subject, e.Key = e.Key, e.Subject },
		"between name, value":  func(e *sixfold.Envelope) { delete(e.Headers, "tenant"); e.Headers["tenanta"] = "cme" },
		"a header less":        func(e *sixfold.Envelope) { delete(e.Headers, "tenant") },
		"a header more":        func(e *sixfold.Envelope) { e.Headers["admin"] = "yes" },
		"another case":         func(e *sixfold.Envelope) { delete(e.Headers, "tenant"); e.Headers["Tenant"] = "acme" },
		"both cases":           func(e *sixfold.Envelope) { e.Headers["Tenant"] = "evil" },
		"the body as a header": func(e *sixfold.Envelope) { e.Headers["body"], e.Body = string(e.Body), nil },
		"no body for empty":    func(e *sixfold.Envelope) { e.Body = nil },
		"a second signature":   func(e *sixfold.Envelope) { e.Headers["SixfoldSignature"] = e.Headers[signature.Header] },
		"a space behind":       func(e *sixfold.Envelope) { e.Headers[signature.Header] += " " },
		"a line in front":      func(e *sixfold.Envelope) { e.Headers[signature.Header] = "\n" + e.Headers[signature.Header] },
		"a padded signature": func(e *sixfold.Envelope) {
			e.Headers[signature.Header] = strings.Replace(e.Headers[signature.Header], ":orders", "==:orders", 1)
		},
		"a zero in front": func(e *sixfold.Envelope) {
			e.Headers[signature.Header] = strings.Replace(e.Headers[signature.Header], ":1", ":01", 1)
		},
		"no algorithm":       func(e *sixfold.Envelope) { e.Headers[signature.Header] = "none" },
		"an empty signature": func(e *sixfold.Envelope) { e.Headers[signature.Header] = "1:shop-1:1700000000000::orders" },
		"a signature of nulls": func(e *sixfold.Envelope) {
			e.Headers[signature.Header] = fmt.Sprintf("1:shop-1:%d:%s:orders", time.Now().UnixMilli(), strings.Repeat("A", 86))
		},
		"that of another message": func(e *sixfold.Envelope) {
			other := &sixfold.Envelope{ID: "2", Type: "orders.placed", Body: []byte{}}
			if err := s.Sign(other); err != nil {
				t.Fatal(err)
			}
			e.Headers[signature.Header] = other.Headers[signature.Header]
		},
	} {
		env := full()
		env.Body = []byte{}
		if name == "the body as a header" {
			env.Body = []byte("b")
		}
		if err := s.Sign(env); err != nil {
			t.Fatal(err)
		}
		change(env)
		if issuer, err := v.Verify(env); err == nil || issuer != "" || name == "both cases" && !errors.Is(err, signature.ErrMalformed) {
			t.Errorf("%s: it is accepted, of %q: %v", name, issuer, err)
		}
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		v := verifier(t, &signature.VerifierOptions{MaxAge: time.Hour}, "orders", shopKey(),
			signature.VerifyKey{ID: "old", Owner: "shop", Public: public(2), NotAfter: now.Add(-time.Minute)},
			signature.VerifyKey{ID: "next", Owner: "shop", Public: public(3), NotBefore: now.Add(3 * time.Minute)})
		for _, c := range []struct {
			name string
			sign *signature.Signer
			wait time.Duration
			want error
		}{
			{"unsigned", nil, 0, signature.ErrUnsigned},
			{"unknown key", signer(t, "elsewhere", 1, "orders"), 0, signature.ErrUnknownKey},
			{"the key of another owner under this id", signer(t, "shop-1", 9, "orders"), 0, signature.ErrForged},
			{"another audience", signer(t, "shop-1", 1, "staging"), 0, signature.ErrAudience},
			{"after its key's time", signer(t, "old", 2, "orders"), 0, signature.ErrUnknownKey},
			{"before its key's time", signer(t, "next", 3, "orders"), 0, signature.ErrUnknownKey},
			{"nearly too old", signer(t, "shop-1", 1, "orders"), time.Hour, nil},
			{"too old", signer(t, "shop-1", 1, "orders"), time.Hour + time.Millisecond, signature.ErrStale},
		} {
			env := full()
			env.Body = []byte("the secret itself")
			if c.sign != nil {
				if err := c.sign.Sign(env); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(c.wait)
			_, err := v.Verify(env)
			if !errors.Is(err, c.want) || err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "acme") || !strings.Contains(err.Error(), ";") && c.want != signature.ErrForged) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

// A message that was signed by a clock that goes ahead.
func TestSignedInTheFuture(t *testing.T) {
	signed := func(ahead time.Duration) (text string) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(24*time.Hour + ahead)
			env := &sixfold.Envelope{ID: "1", Type: "t"}
			if err := signer(t, "shop-1", 1, "orders").Sign(env); err != nil {
				t.Fatal(err)
			}
			text = env.Headers[signature.Header]
		})
		return text
	}
	for ahead, want := range map[time.Duration]error{0: nil, time.Minute: nil, time.Minute + time.Second: signature.ErrStale, 100 * time.Hour: signature.ErrStale} {
		text := signed(ahead)
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(24 * time.Hour)
			env := &sixfold.Envelope{ID: "1", Type: "t", Headers: map[string]string{signature.Header: text}}
			if _, err := verifier(t, nil, "orders", shopKey()).Verify(env); !errors.Is(err, want) {
				t.Errorf("%v ahead: %v", ahead, err)
			}
		})
	}
}

// Keys are changed without a message that is refused: verifiers learn the new one first, and forget the old one last.
func TestRotation(t *testing.T) {
	second := signature.VerifyKey{ID: "shop-2", Owner: "shop", Public: public(2)}
	before, both, after := verifier(t, nil, "orders", shopKey()), verifier(t, nil, "orders", shopKey(), second), verifier(t, nil, "orders", second)
	for _, c := range []struct {
		by   *signature.Signer
		v    *signature.Verifier
		want error
	}{
		{signer(t, "shop-1", 1, "orders"), before, nil}, {signer(t, "shop-1", 1, "orders"), both, nil}, {signer(t, "shop-2", 2, "orders"), both, nil},
		{signer(t, "shop-2", 2, "orders"), after, nil}, {signer(t, "shop-1", 1, "orders"), after, signature.ErrUnknownKey}, {signer(t, "shop-2", 2, "orders"), before, signature.ErrUnknownKey},
	} {
		env := full()
		if err := c.by.Sign(env); err != nil {
			t.Fatal(err)
		}
		if _, err := c.v.Verify(env); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.by, err, c.want)
		}
	}
}

func TestExchangesAreBoundToTheirCall(t *testing.T) {
	s, v := signer(t, "shop-1", 1, "unused"), verifier(t, nil, "unused", shopKey())
	x := signature.Exchange{Protocol: "reply/1", Request: "r1", Timeout: "100", Status: "ok", Versions: "1", Number: "7"}
	env := full()
	text, err := s.SignExchange(env, x, "r1")
	if err != nil {
		t.Fatal(err)
	}
	env.ReplyTo = "the responder's own" // some carriers write it
	if issuer, err := v.VerifyExchange(env, x, text, "r1"); err != nil || issuer != "shop" {
		t.Errorf("%q, %v", issuer, err)
	}
	for name, change := range map[string]func(x *signature.Exchange){
		"kind": func(x *signature.Exchange) { x.Protocol = "request/1" }, "version": func(x *signature.Exchange) { x.Protocol = "reply/2" },
		"request": func(x *signature.Exchange) { x.Request = "r2" }, "timeout": func(x *signature.Exchange) { x.Timeout = "1000" },
		"status": func(x *signature.Exchange) { x.Status = "internal" }, "versions": func(x *signature.Exchange) { x.Versions = "2" },
		"number": func(x *signature.Exchange) { x.Number = "8" }, "no number": func(x *signature.Exchange) { x.Number = "" },
	} {
		other := x
		change(&other)
		if _, err := v.VerifyExchange(env, other, text, "r1"); !errors.Is(err, signature.ErrForged) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := v.VerifyExchange(env, x, text, "r2"); !errors.Is(err, signature.ErrAudience) {
		t.Errorf("another call: %v", err)
	}
	env.Headers[signature.Header] = text
	if _, err := v.Verify(env); err == nil {
		t.Error("a reply is accepted as a message")
	}
}

func TestSigningRefuses(t *testing.T) {
	s := signer(t, "shop-1", 1, "orders")
	for name, headers := range map[string]map[string]string{"two cases": {"a": "1", "A": "2"}, "too many": many(sixfold.MaxHeaders), "too large": {"a": strings.Repeat("x", sixfold.MaxHeaderBytes-10)}} {
		env := &sixfold.Envelope{ID: "1", Type: "t", Headers: headers}
		if err := s.Sign(env); !errors.Is(err, sixfold.ErrInvalid) || env.Headers[signature.Header] != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (*signature.Signer)(nil).Sign(full()); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
	of, err := signature.NewSigner(signature.SigningKey{ID: "shop-1", Private: private(1)}, "orders", &signature.SignerOptions{AudienceOf: func(env *sixfold.Envelope) string { return env.Subject }})
	if err != nil {
		t.Fatal(err)
	}
	if err := of.Sign(full()); !errors.Is(err, sixfold.ErrInvalid) { // "order 7" has a space
		t.Error(err)
	}
	env := full()
	env.Subject = ""
	if err := of.Sign(env); err != nil || !strings.HasSuffix(env.Headers[signature.Header], ":orders") {
		t.Error(env.Headers, err)
	}
}

func many(n int) map[string]string {
	h := make(map[string]string)
	for i := range n {
		h[fmt.Sprintf("h%d", i)] = "v"
	}
	return h
}

func TestConstructorsRefuse(t *testing.T) {
	mixed := append(append(ed25519.PrivateKey(nil), private(1)[:32]...), public(2)...)
	for name, k := range map[string]signature.SigningKey{"no id": {Private: private(1)}, "an id with a colon": {ID: "a:b", Private: private(1)}, "no key": {ID: "a"},
		"a public key": {ID: "a", Private: ed25519.PrivateKey(public(1))}, "halves of two keys": {ID: "a", Private: mixed}} {
		if _, err := signature.NewSigner(k, "orders", nil); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, audience := range []string{"", "a b", "ä", strings.Repeat("a", 256)} {
		_, serr := signature.NewSigner(signature.SigningKey{ID: "a", Private: private(1)}, audience, nil)
		_, verr := signature.NewVerifier([]string{audience}, []signature.VerifyKey{shopKey()}, nil)
		if !errors.Is(serr, sixfold.ErrInvalid) || !errors.Is(verr, sixfold.ErrInvalid) {
			t.Errorf("%q: %v, %v", audience, serr, verr)
		}
	}
	for name, ks := range map[string][]signature.VerifyKey{"none": nil, "two of one id": {shopKey(), shopKey()}, "no owner": {{ID: "a", Public: public(1)}},
		"a short key": {{ID: "a", Owner: "shop", Public: public(1)[:31]}}, "zeros": {{ID: "a", Owner: "shop", Public: make(ed25519.PublicKey, 32)}},
		"an owner with a NUL": {{ID: "a", Owner: "sh\x00op", Public: public(1)}}, "never": {{ID: "a", Owner: "shop", Public: public(1), NotBefore: time.Unix(2, 0), NotAfter: time.Unix(1, 0)}}} {
		if _, err := signature.NewVerifier([]string{"orders"}, ks, nil); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []signature.VerifierOptions{{MaxAge: -1}, {MaxSkew: time.Millisecond}, {MaxAge: 1 << 62}} {
		if _, err := signature.NewVerifier(nil, []signature.VerifyKey{shopKey()}, &o); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// What a signer and a verifier were made of may be used for something else afterwards.
func TestKeysAreCopied(t *testing.T) {
	key, public := private(1), append(ed25519.PublicKey(nil), public(1)...)
	audiences, keys := []string{"orders"}, []signature.VerifyKey{{ID: "shop-1", Owner: "shop", Public: public}}
	s, err := signature.NewSigner(signature.SigningKey{ID: "shop-1", Private: key}, "orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.NewVerifier(audiences, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(key)
	clear(public)
	audiences[0], keys[0] = "staging", signature.VerifyKey{}
	env := full()
	if err := s.Sign(env); err != nil {
		t.Fatal(err)
	}
	if issuer, err := v.Verify(env); err != nil || issuer != "shop" {
		t.Errorf("%q, %v", issuer, err)
	}
}

// [NoSecretAnywhere]
func TestNoKeyIsPrinted(t *testing.T) {
	k := signature.SigningKey{ID: "shop-1", Private: private(7)}
	s := signer(t, "shop-1", 7, "orders")
	text := fmt.Sprintf("%v %+v %#v %s %x %d %v %+v %#v %x", k, k, k, k, k, k, s, s, s, s)
	for _, trace := range []string{"7, 7", "0707", "7 7", "0x7", "\a"} {
		if strings.Contains(text, trace) {
			t.Errorf("the key shows: %s", text)
		}
	}
	if _, err := k.MarshalJSON(); err == nil {
		t.Error("it has a form in JSON")
	}
}

func TestMiddlewareSignsWhatIsNot(t *testing.T) {
	s, own := signer(t, "relay", 2, "orders"), signer(t, "shop-1", 1, "orders")
	v := verifier(t, nil, "orders", shopKey(), signature.VerifyKey{ID: "relay", Owner: "relay", Public: public(2)})
	h := s.Middleware()(func(_ context.Context, env *sixfold.Envelope) error {
		issuer, err := v.Verify(env)
		if err != nil {
			return err
		}
		return errors.New(issuer)
	})
	signed := full()
	if err := own.Sign(signed); err != nil {
		t.Fatal(err)
	}
	if a, b := h(t.Context(), full()), h(t.Context(), signed); a.Error() != "relay" || b.Error() != "shop" {
		t.Error(a, b)
	}
}

func BenchmarkSign(b *testing.B) {
	s, env := signer(b, "shop-1", 1, "orders"), full()
	b.ReportAllocs()
	for b.Loop() {
		env.Headers = nil
		if err := s.Sign(env); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s, v, env := signer(b, "shop-1", 1, "orders"), verifier(b, nil, "orders", shopKey()), full()
	if err := s.Sign(env); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(env); err != nil {
			b.Fatal(err)
		}
	}
}
