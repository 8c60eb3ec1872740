package signature_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// What can be read has that one form, and what somebody makes up is refused with an error that is one of the package's.
func FuzzVerify(f *testing.F) {
	s, v := signer(f, "shop-1", 1, "orders"), verifier(f, nil, "orders", shopKey())
	env := full()
	if err := s.Sign(env); err != nil {
		f.Fatal(err)
	}
	signed := env.Headers[signature.Header]
	for _, text := range []string{signed, "", "none", "1:::::", "1:a:1:" + strings.Repeat("A", 86) + ":a", "2" + signed[1:], signed + ":", strings.ToUpper(signed), "1:shop-1:99999999999999999999::", "\x00"} {
		f.Add(text, "tenant", "acme", []byte("{}"))
	}
	f.Fuzz(func(t *testing.T, text, name, value string, body []byte) {
		if again, err := signature.Reparse(text); err == nil && again != text {
			t.Fatalf("%q is read as %q", text, again)
		} else if err != nil && !errors.Is(err, signature.ErrMalformed) {
			t.Fatal(err)
		}
		env := &sixfold.Envelope{ID: "1", Type: "t", Headers: map[string]string{name: value}, Body: body}
		env.Headers[signature.Header] = text
		if issuer, err := v.Verify(env); err == nil || issuer != "" {
			t.Fatalf("a signature that was never made is accepted: %q", text)
		} else if !known(err) {
			t.Fatal(err)
		}
		delete(env.Headers, signature.Header)
		if s.Sign(env) != nil {
			return
		}
		if issuer, err := v.Verify(env); err != nil || issuer != "shop" {
			t.Fatalf("what was signed is refused: %v", err)
		}
	})
}

func known(err error) bool {
	for _, e := range []error{signature.ErrUnsigned, signature.ErrMalformed, signature.ErrUnknownKey, signature.ErrForged, signature.ErrStale, signature.ErrAudience} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
