package signature_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// private is a key of the tests: its seed is thirty-two times the number.
func private(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = n
	}
	return ed25519.NewKeyFromSeed(seed)
}

func public(n byte) ed25519.PublicKey { return private(n).Public().(ed25519.PublicKey) }

func signer(t testing.TB, id string, n byte, audience string) *signature.Signer {
	t.Helper()
	s, err := signature.NewSigner(signature.SigningKey{ID: id, Private: private(n)}, audience, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier(t testing.TB, o *signature.VerifierOptions, audience string, keys ...signature.VerifyKey) *signature.Verifier {
	t.Helper()
	v, err := signature.NewVerifier([]string{audience}, keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func shopKey() signature.VerifyKey {
	return signature.VerifyKey{ID: "shop-1", Owner: "shop", Public: public(1)}
}

// full is an envelope with everything in it.
func full() *sixfold.Envelope {
	at := time.Date(2026, 11, 22, 10, 0, 0, 120_000_000, time.UTC)
	return &sixfold.Envelope{ID: "019ab8f2-0000-7000-8000-000000000001", Source: "/shop", Type: "orders.placed", Subject: "order 7", Key: "k1", Time: at,
		ContentType: "application/json", CorrelationID: "c1", CausationID: "m0", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		TraceState: "a=b", Expires: at.Add(time.Hour), ReplyTo: "shop.replies", Sequence: "3/17", Headers: map[string]string{"tenant": "acme", "Region": "Köln"},
		Body: []byte(`{"order":7}`)}
}
