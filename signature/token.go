package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// token is what travels beside a message, in one line of ASCII:
//
//	1:<key id>:<issued at>:<signature>:<audience>
//
// "1" is the version, the time is in milliseconds since 1970, and the signature is base64url without padding (RFC 4648, section 5). Each
// token has one form only, so that nobody can change one that is still accepted.
type token struct {
	key      string
	issuedAt int64
	sig      [ed25519.SignatureSize]byte
	audience string
}

const (
	tokenVersion = "1"
	sigText      = 86 // characters of a signature
)

// base64url refuses bits behind the end that are not zero.
var base64url = base64.RawURLEncoding.Strict()

func (t *token) String() string {
	b := make([]byte, 0, len(t.key)+len(t.audience)+sigText+20)
	b = append(b, tokenVersion+":"...)
	b = append(append(b, t.key...), ':')
	b = append(strconv.AppendInt(b, t.issuedAt, 10), ':')
	b = base64url.AppendEncode(b, t.sig[:])
	return string(append(append(b, ':'), t.audience...))
}

// parse reads a token. What is wrong is said without any of it.
func parse(s string) (t token, err error) {
	version, rest, ok := strings.Cut(s, ":")
	if !ok || version != tokenVersion {
		return t, malformed("it is not of version " + tokenVersion)
	}
	var issuedAt, sig string
	t.key, rest, _ = strings.Cut(rest, ":")
	issuedAt, rest, _ = strings.Cut(rest, ":")
	sig, t.audience, _ = strings.Cut(rest, ":")
	switch {
	case !isKeyID(t.key):
		return t, malformed("its key id breaks the rules")
	case !isMillis(issuedAt):
		return t, malformed("its time breaks the rules")
	case len(sig) != sigText:
		return t, malformed("its signature has another length")
	case !isAudience(t.audience):
		return t, malformed("its audience breaks the rules")
	}
	if n, err := base64url.Decode(t.sig[:], []byte(sig)); err != nil || n != len(t.sig) {
		return t, malformed("its signature is not base64url")
	}
	t.issuedAt, _ = strconv.ParseInt(issuedAt, 10, 64)
	return t, nil
}

// isMillis takes 1 to 15 digits without a leading zero: up to the year 33658.
func isMillis(s string) bool {
	if s == "" || len(s) > 15 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (t *token) time() time.Time { return time.UnixMilli(t.issuedAt).UTC() }
