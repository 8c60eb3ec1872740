package cloudevents

import (
	"slices"
	"strings"
)

// Headers whose names are no attribute names, or whose values a carrier would change, travel packed in one attribute
// of our own: name=value pairs in the order of the names, joined by '&', every byte other than ASCII letters, digits
// and "-._~" percent-encoded (RFC 3986, sections 2.1 and 2.3). So they survive exactly, and every carrier keeps it.

// pack encodes headers; it sorts them in place.
func pack(headers []Header) string {
	if len(headers) == 0 {
		return ""
	}
	sortHeaders(headers)
	var b []byte
	for i, h := range headers {
		if i > 0 {
			b = append(b, '&')
		}
		b = appendEscaped(b, h.Name)
		b = append(b, '=')
		b = appendEscaped(b, h.Value)
	}
	return string(b)
}

// unpack calls each for every pair.
func unpack(s string, each func(name, value string) error) error {
	if s == "" {
		return nil
	}
	var last string
	for pair := range strings.SplitSeq(s, "&") {
		name, value, ok := strings.Cut(pair, "=")
		name, ok1 := unescape(name)
		value, ok2 := unescape(value)
		if !ok || !ok1 || !ok2 {
			return invalid("attribute %q: it is not a list of name=value with percent-encoding, joined by '&'; leave it to Sixfold", attrNames[attrHeaders])
		}
		if last != "" && name <= last {
			return invalid("header %s in attribute %q: it is there twice or out of order; leave it to Sixfold", quote(name), attrNames[attrHeaders])
		}
		last = name
		if err := each(name, value); err != nil {
			return err
		}
	}
	return nil
}

func sortHeaders(headers []Header) {
	slices.SortFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if isUnreserved(s[i]) {
			b = append(b, s[i])
		} else {
			b = appendPercent(b, s[i])
		}
	}
	return b
}

// unescape is strict: a byte that appendEscaped would have escaped is refused.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			var ok bool
			if c, ok = percentByte(s[i:]); !ok {
				return "", false
			}
			i += 2
		} else if !isUnreserved(c) {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), true
}
