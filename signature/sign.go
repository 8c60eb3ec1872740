package signature

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sixfold-go/sixfold"
)

// SignerOptions are optional; nil and the zero value mean the defaults.
type SignerOptions struct {
	// AudienceOf answers the audience of a message; empty: the Signer's own. Nil: always the Signer's own.
	AudienceOf func(env *sixfold.Envelope) string
}

// A Signer signs with one key. It does not change and is safe for concurrent use.
type Signer struct {
	id       string
	private  ed25519.PrivateKey
	audience string
	of       func(env *sixfold.Envelope) string
}

// NewSigner makes a Signer. audience is whom messages are meant for: those who verify name the audiences that they belong
// to, and refuse the rest, so that a message of one system is worthless in another one that knows the same key. The error names
// everything that is wrong and wraps sixfold.ErrInvalid.
func NewSigner(key SigningKey, audience string, opts *SignerOptions) (*Signer, error) {
	if err := errors.Join(key.check(), checkAudience(audience)); err != nil {
		return nil, err
	}
	s := &Signer{id: key.ID, private: append(ed25519.PrivateKey(nil), key.Private...), audience: audience}
	if opts != nil {
		s.of = opts.AudienceOf
	}
	return s, nil
}

// Format prints the key's id for every verb, so that no verb shows the key.
func (s *Signer) Format(f fmt.State, _ rune) {
	if s == nil {
		fmt.Fprint(f, "<nil signer>")
		return
	}
	fmt.Fprintf(f, "signer with key %q", s.id)
}

// Sign puts the signature of env into its headers, in place of one that is there. Nothing of env that is signed may change
// afterwards. It is what Seal of outbox.Options and of bus.PublisherOptions takes. The error wraps sixfold.ErrInvalid.
func (s *Signer) Sign(env *sixfold.Envelope) error {
	if s == nil || env == nil {
		return invalid("sign: the signer or the envelope is nil; look at the error of NewSigner")
	}
	audience := s.audience
	if s.of != nil {
		if a := s.of(env); a != "" {
			audience = a
		}
	}
	text, err := s.sign(env, nil, audience)
	if err != nil {
		return err
	}
	headers := make(map[string]string, len(env.Headers)+1) // the map may be another envelope's too
	maps.Copy(headers, env.Headers)
	headers[Header] = text
	if len(headers) > 1 {
		if err := checkRoom(headers); err != nil {
			return err
		}
	}
	env.Headers = headers
	return nil
}

// checkRoom says whether headers with a signature can still travel.
func checkRoom(headers map[string]string) error {
	n, size := 0, 0
	for k, v := range headers {
		if !sixfold.IsReservedHeader(k) {
			n++
			size += len(k) + len(v)
		}
	}
	if n > sixfold.MaxHeaders || size > sixfold.MaxHeaderBytes {
		return invalid("sign: with the signature there are %d headers of %d bytes, the limits are %d and %d; put the data into the body", n, size, sixfold.MaxHeaders, sixfold.MaxHeaderBytes)
	}
	return nil
}

// SignExchange answers the signature of a request, a reply or a cancellation. It is meant for package request.
func (s *Signer) SignExchange(env *sixfold.Envelope, x Exchange, audience string) (string, error) {
	return s.sign(env, &x, audience)
}

func (s *Signer) sign(env *sixfold.Envelope, x *Exchange, audience string) (string, error) {
	if err := checkAudience(audience); err != nil {
		return "", err
	}
	if !oneOfEach(env.Headers) {
		return "", invalid("sign %.64q: two headers have names that differ in their case only; leave one out", env.Type)
	}
	t := token{key: s.id, issuedAt: time.Now().UnixMilli(), audience: audience}
	copy(t.sig[:], ed25519.Sign(s.private, canonical(&t, env, x)))
	return t.String(), nil
}

// Middleware signs what is not signed yet, as it is sent: for relays and publishers behind bus.Through.
func (s *Signer) Middleware() sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if env.Headers[Header] == "" {
				if err := s.Sign(env); err != nil {
					return err
				}
			}
			return next(ctx, env)
		}
	}
}
