package cloudevents

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
)

const notMediaType = `it is not a media type (RFC 2046); give one like "application/json"`

// invalid makes the inner part of an error: what, value, rule and remedy. The functions that users call put
// "cloudevents: verb object" before it.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

func attrError(a attr, value, problem string) error {
	return invalid("attribute %q %s: %s", attrNames[a], quote(value), problem)
}

// quote shows at most 64 bytes of s, with control characters escaped.
func quote(s string) string {
	if len(s) <= 64 {
		return strconv.Quote(s)
	}
	cut := 61
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}

// textProblem says what is wrong with a text attribute; "" is nothing. The rules are those of sixfold.CheckEnvelope, so
// that whatever was published can be written, and whatever was read can be sent on.
func textProblem(s string) string {
	if len(s) > sixfold.MaxName {
		return "it has " + strconv.Itoa(len(s)) + " bytes, the limit is " + strconv.Itoa(sixfold.MaxName) + "; shorten it"
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return valueProblem(s[i:])
		}
	}
	return ""
}

// valueProblem says what is wrong with a value whatever its length.
func valueProblem(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "it is not valid UTF-8; encode it, for example with base64"
	case strings.ContainsAny(s, "\r\n\x00"):
		return "it contains CR, LF or NUL; remove them"
	}
	return ""
}

// printable reports whether s is ASCII that every carrier keeps as it is: no control characters, no space at either end.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}

// keyProblem says what is wrong with the name of a header. Names under the framework's own prefix pass: users cannot
// publish them, and what the framework itself adds to a dead letter is written like any other header.
func keyProblem(k string) string {
	switch {
	case k == "":
		return "the name is empty; name it"
	case len(k) > sixfold.MaxHeaderKey:
		return "the name has " + strconv.Itoa(len(k)) + " bytes, the limit is " + strconv.Itoa(sixfold.MaxHeaderKey) + "; shorten it"
	case sixfold.IsReservedHeader(k) && !isControl(k):
		return "the prefix is reserved; choose a name of your own"
	}
	for i := 0; i < len(k); i++ {
		if c := k[i]; c <= ' ' || c >= 0x7f || c == ':' || c == '"' {
			return "the name contains a space, a colon, a quote, a control character or is not ASCII; use letters, digits and dashes"
		}
	}
	return ""
}

// isControl reports whether the header belongs to the framework.
func isControl(k string) bool { return hasPrefixFold(k, "sixfold-") }

// headerProblem says what is wrong with a header. It never shows the value, which may be a secret.
func headerProblem(k, v string) string {
	if p := keyProblem(k); p != "" {
		return p
	}
	return valueProblem(v)
}

// isExtension reports whether name is a legal name of an attribute: CloudEvents 1.0.2, "Naming Conventions".
func isExtension(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && name != "data" && len(name) <= sixfold.MaxHeaderKey
}

// isMediaType checks the type and the subtype; parameters may be anything.
func isMediaType(s string) bool {
	if s == "application/json" {
		return true
	}
	media, _ := splitMedia(s)
	slash := strings.IndexByte(media, '/')
	return slash > 0 && isToken(media[:slash]) && isToken(media[slash+1:])
}

// isJSON reports whether the content type declares JSON: JSON Event Format 1.0.2, section 3.1.1.
func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _ := splitMedia(contentType)
	return isMediaType(media) && (hasSuffixFold(media, "/json") || hasSuffixFold(media, "+json"))
}

// splitMedia cuts the parameters off.
func splitMedia(s string) (media, params string) {
	media, params, _ = strings.Cut(s, ";")
	return strings.TrimRight(media, " \t"), params
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isFieldName is the rule of RFC 9110, section 5.1, for the names of headers: clients of HTTP and NATS drop or refuse others.
func isFieldName(s string) bool { return isToken(s) && !strings.ContainsAny(s, "{}") }

// Names are compared without regard to case in ASCII only: under Unicode's rules a Kelvin sign would be a k.

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && equalFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && equalFold(s[len(s)-len(suffix):], suffix)
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if a == b {
		return true
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] != lower(s[i]) {
			b := []byte(s)
			for j := range b {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}
