package signature

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Defaults of VerifierOptions.
const (
	DefaultMaxAge  = 7 * 24 * time.Hour
	DefaultMaxSkew = time.Minute
)

// VerifierOptions are optional; nil and the zero value mean the defaults.
type VerifierOptions struct {
	// MaxAge is how long ago a message may have been signed when it arrives, delays and outages of the broker included. It should not
	// be longer than the inbox remembers (inbox.Options.Retention), after which a copy would take effect again. 0: 7 days.
	MaxAge time.Duration
	// MaxSkew is by how much the clocks of those who sign may be ahead of this one. 0: 1 min.
	MaxSkew time.Duration
}

// A Verifier knows the keys that are accepted. It does not change and is safe for concurrent use.
//
// To change keys: give the new one to all who verify, then let the owner sign with it, and take the old one out when MaxAge has
// passed since. A key that was stolen is taken out at once.
type Verifier struct {
	audiences []string
	keys      map[string]*VerifyKey
	o         VerifierOptions
}

// NewVerifier makes a Verifier. audiences are those that the service belongs to; none is for package request alone, which knows whom
// requests and replies are meant for. The error names everything that is wrong and wraps sixfold.ErrInvalid.
func NewVerifier(audiences []string, keys []VerifyKey, opts *VerifierOptions) (*Verifier, error) {
	v := &Verifier{audiences: slices.Clone(audiences), keys: make(map[string]*VerifyKey, len(keys))}
	if opts != nil {
		v.o = *opts
	}
	var errs []error
	for _, a := range audiences {
		errs = append(errs, checkAudience(a))
	}
	if len(keys) == 0 {
		errs = append(errs, invalid("new verifier: there is no key, so that nothing would be accepted; give the public keys of those who may send"))
	}
	for i := range keys {
		k := keys[i]
		k.Public = slices.Clone(k.Public)
		errs = append(errs, k.check())
		if v.keys[k.ID] != nil {
			errs = append(errs, invalid("new verifier: two keys have the id %.64q; give each an id of its own", k.ID))
		}
		v.keys[k.ID] = &k
	}
	for _, d := range []struct {
		name string
		at   *time.Duration
		zero time.Duration
	}{{"MaxAge", &v.o.MaxAge, DefaultMaxAge}, {"MaxSkew", &v.o.MaxSkew, DefaultMaxSkew}} {
		switch {
		case *d.at == 0:
			*d.at = d.zero
		case *d.at < time.Second || *d.at > 100*365*24*time.Hour:
			errs = append(errs, invalid("option %s: it is %v; give 1s to 100 years, or 0 for %v", d.name, *d.at, d.zero))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return v, nil
}

// Verify answers the owner of the key that signed env, or why env is not accepted: ErrUnsigned, ErrMalformed, ErrUnknownKey,
// ErrStale, ErrAudience or ErrForged. It is what bus.Options.Verify takes. It changes nothing of env.
func (v *Verifier) Verify(env *sixfold.Envelope) (issuer string, err error) {
	if v == nil || env == nil {
		return "", invalid("verify: the verifier or the envelope is nil; look at the error of NewVerifier")
	}
	return v.verify(env, nil, env.Headers[Header], "")
}

// VerifyExchange is Verify for a request, a reply or a cancellation with its signature and whom it has to be meant for. It is meant
// for package request.
func (v *Verifier) VerifyExchange(env *sixfold.Envelope, x Exchange, signature, audience string) (issuer string, err error) {
	return v.verify(env, &x, signature, audience)
}

// verify takes only the audience where there is one, else one of the verifier's.
func (v *Verifier) verify(env *sixfold.Envelope, x *Exchange, text, audience string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("signature: verify %.64q: %w", env.Type, ErrUnsigned)
	}
	refuse := func(err error) (string, error) { return "", fmt.Errorf("signature: verify %.64q: %w", env.Type, err) }
	t, err := parse(text)
	if err != nil {
		return refuse(err)
	}
	if !oneOfEach(env.Headers) {
		return refuse(malformed("two headers have names that differ in their case only"))
	}
	key := v.keys[t.key]
	if key == nil {
		return refuse(fmt.Errorf("%w: there is none with the id %.64q; give the verifier that public key if its owner may send", ErrUnknownKey, t.key))
	}
	at, now := t.time(), time.Now()
	switch {
	case !key.signedAt(at):
		return refuse(fmt.Errorf("%w: %.64q may not have signed at %s; look at its NotBefore and NotAfter", ErrUnknownKey, t.key, at.Format(time.RFC3339)))
	case at.After(now.Add(v.o.MaxSkew)):
		return refuse(fmt.Errorf("%w: at %s, which is more than MaxSkew (%v) ahead; set the clocks right", ErrStale, at.Format(time.RFC3339), v.o.MaxSkew))
	case now.Sub(at) > v.o.MaxAge:
		return refuse(fmt.Errorf("%w: at %s, which is longer ago than MaxAge (%v); have it published again, or raise MaxAge and the inbox's Retention", ErrStale, at.Format(time.RFC3339), v.o.MaxAge))
	}
	if audience != "" && t.audience != audience || audience == "" && !slices.Contains(v.audiences, t.audience) {
		return refuse(fmt.Errorf("%w: %.64q, and this is %.64q; name the audience in NewVerifier, or let the publisher sign for this one", ErrAudience, t.audience, v.here(audience)))
	}
	if !ed25519.Verify(key.Public, canonical(&t, env, x), t.sig[:]) {
		return refuse(fmt.Errorf("%w (key %.64q)", ErrForged, t.key))
	}
	return key.Owner, nil
}

// here is whom messages have to be meant for, in words.
func (v *Verifier) here(audience string) string {
	if audience != "" {
		return audience
	}
	return strings.Join(v.audiences, ", ")
}
