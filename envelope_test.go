package sixfold_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

// [NoSecretAnywhere]
func TestPrintingAnEnvelopeShowsNoBody(t *testing.T) {
	env := &sixfold.Envelope{
		ID: "id-1", Type: "orders.placed", Key: "k", ContentType: "application/json", Time: time.Unix(1, 0),
		Headers: map[string]string{"token": "hunter2"}, Body: []byte("hunter2"),
	}
	type outer struct {
		P *sixfold.Envelope
		V sixfold.Envelope
		S []*sixfold.Envelope
		M map[string]sixfold.Envelope
		A any
	}
	values := map[string]any{
		"pointer": env, "value": *env, "slice": []*sixfold.Envelope{env}, "values": []sixfold.Envelope{*env}, "embedded": struct{ sixfold.Envelope }{*env},
		"struct":              outer{env, *env, []*sixfold.Envelope{env}, map[string]sixfold.Envelope{"a": *env}, *env},
		"pointer to a struct": &outer{P: env, V: *env},
		"error":               fmt.Errorf("failed: %v", env),
	}
	// The body as text, in hexadecimal, as decimal bytes, and in base64.
	secrets := []string{"hunter2", "68756e74", "68 75 6e", "0x68", "104 117", "aHVudGVy", "1101000", "150 165", "U+0068"}
	check := func(t *testing.T, how, s string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(strings.ToLower(s), strings.ToLower(secret)) {
				t.Errorf("%s shows %q: %.300s", how, secret, s)
			}
		}
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range "vsqxXdobcUeEfFgGtpT" {
				if verb == 'p' && name != "pointer" {
					continue // fmt looks at no method for %p, and go vet refuses it
				}
				for _, flags := range []string{"", "+", "#", "-20", "020", " ", ".3"} {
					f := "%" + flags + string(verb)
					check(t, f, fmt.Sprintf(f, v))
				}
			}
			check(t, "Print", fmt.Sprint(v))
			for _, handler := range []string{"text", "json"} {
				var out bytes.Buffer
				var h slog.Handler = slog.NewTextHandler(&out, nil)
				if handler == "json" {
					h = slog.NewJSONHandler(&out, nil)
				}
				slog.New(h).With("with", v).Info("m", "v", v, slog.Group("g", "v", v))
				check(t, handler+" handler", out.String())
			}
			b, err := json.Marshal(v)
			check(t, "json", string(b)+fmt.Sprint(err))
		})
	}
	if s := env.String(); !strings.Contains(s, "body=7 bytes") || !strings.Contains(s, "id-1") {
		t.Error(s)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "envelope", env)
	if s := out.String(); !strings.Contains(s, `"envelope":{"id":"id-1","type":"orders.placed","key":"k","body_bytes":7}`) {
		t.Error(s)
	}
}

func TestNilEnvelopePrints(t *testing.T) {
	var env *sixfold.Envelope
	for _, s := range []string{env.String(), env.GoString(), fmt.Sprint(env), fmt.Sprintf("%+v", env), env.LogValue().String()} {
		if !strings.Contains(s, "nil") {
			t.Errorf("%q", s)
		}
	}
}

// A sender's control characters must not reach a terminal or forge a line of a log.
func TestPrintingEscapesWhatTheWireSaid(t *testing.T) {
	env := &sixfold.Envelope{ID: "a\nINFO b", Type: "\x1b]0;x\a", Key: strings.Repeat("k", 1000)}
	if s := fmt.Sprint(env); strings.ContainsAny(s, "\n\x1b\a") || len(s) > 300 {
		t.Errorf("%q", s)
	}
}

func TestEnvelopeHasNoJSONOfItsOwn(t *testing.T) {
	if _, err := json.Marshal(&sixfold.Envelope{}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "cloudevents") {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(`{}`), new(sixfold.Envelope)); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "cloudevents") {
		t.Error(err)
	}
}

// What an envelope carries and who signed it do not get into each other's way.
func TestIssuerBesideWhatIsCarried(t *testing.T) {
	var env sixfold.Envelope
	if env.Issuer() != "" || env.Message() != nil {
		t.Errorf("of nobody: issuer %q, message %v", env.Issuer(), env.Message())
	}
	env.SetIssuer("shop")
	if env.Issuer() != "shop" || env.Message() != nil {
		t.Errorf("signed: issuer %q, message %v", env.Issuer(), env.Message())
	}
	env.Carry(carried("value"))
	env.SetIssuer("bank")
	if env.Issuer() != "bank" || env.Message() != "value" {
		t.Errorf("signed and carrying: issuer %q, message %v", env.Issuer(), env.Message())
	}
}

type carried string

func (c carried) Message() any { return string(c) }
