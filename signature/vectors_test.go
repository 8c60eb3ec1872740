package signature_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// The examples of docs/protocol.md, which other languages are tested by, are what is written here. In a bubble the clock begins at midnight of 2000-01-01.
func TestVectorsInTheProtocol(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	holds := func(what, text string) {
		if !strings.Contains(string(page), text) {
			t.Errorf("docs/protocol.md does not have %s:\n%s", what, text)
		}
	}
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	key := ed25519.NewKeyFromSeed(seed)
	holds("the seed", hex.EncodeToString(seed))
	holds("the public key", hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	synctest.Test(t, func(t *testing.T) {
		s, err := signature.NewSigner(signature.SigningKey{ID: "shop-1", Private: key}, "orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		message := &sixfold.Envelope{ID: "019ab8f2-0000-7000-8000-000000000001", Source: "/shop", Type: "orders.placed", Key: "k1",
			Time: time.Date(2000, 1, 1, 0, 0, 0, 120_000_000, time.UTC), ContentType: "application/json", CorrelationID: "c1",
			Headers: map[string]string{"tenant": "Köln"}, Body: []byte(`{"order":7}`)}
		if err := s.Sign(message); err != nil {
			t.Fatal(err)
		}
		text := message.Headers[signature.Header]
		holds("the message's signature", text)
		holds("the message's bytes", wrapped(signature.Canonical(text, message, nil)))

		reply := &sixfold.Envelope{ID: "019ab8f2-0000-7000-8000-000000000003", Source: "/quotes", Type: "quotes.get.reply", ContentType: "application/json", Body: []byte(`{"cents":1900}`)}
		x := signature.Exchange{Protocol: "reply/1", Request: "019ab8f2-0000-7000-8000-000000000002", Status: "ok"}
		text, err = s.SignExchange(reply, x, x.Request)
		if err != nil {
			t.Fatal(err)
		}
		holds("the reply's signature", text)
		holds("the reply's bytes", wrapped(signature.Canonical(text, reply, &x)))
	})
}

// wrapped is in hexadecimal, 64 bytes a line.
func wrapped(b []byte) string {
	text := hex.EncodeToString(b)
	var lines []string
	for len(text) > 128 {
		lines, text = append(lines, text[:128]), text[128:]
	}
	return strings.Join(append(lines, text), "\n")
}
