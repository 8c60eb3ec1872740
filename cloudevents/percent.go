package cloudevents

import "unicode/utf8"

// HTTP Protocol Binding 1.0.2, section 3.1.3.2: the values of attributes in headers that carry ASCII only.

const upperHex = "0123456789ABCDEF"

func appendPercent(b []byte, c byte) []byte { return append(b, '%', upperHex[c>>4], upperHex[c&15]) }

// mustEncode reports whether a byte of a value is percent-encoded: space, quote, percent, and all but printable ASCII.
func mustEncode(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// percentEncode answers s itself when nothing needs encoding.
func percentEncode(s string) string {
	for i := 0; i < len(s); i++ {
		if !mustEncode(s[i]) {
			continue
		}
		b := make([]byte, i, len(s)+32)
		copy(b, s)
		for ; i < len(s); i++ {
			if mustEncode(s[i]) {
				b = appendPercent(b, s[i])
			} else {
				b = append(b, s[i])
			}
		}
		return string(b)
	}
	return s
}

// percentDecode first takes double quotes off, which senders before version 1.0.1 wrote, and then decodes once. A percent
// sign without two digits stands for itself, since those senders did not encode it. ok is false for an open quote and
// for bytes that are not UTF-8.
func percentDecode(s string) (v string, ok bool) {
	plain := true
	for i := 0; i < len(s); i++ {
		if s[i] == '%' || s[i] == '"' || s[i] >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return s, true
	}
	u, ok := unquoteHeader(s)
	if !ok {
		return "", false
	}
	b := u[:0]
	for i := 0; i < len(u); i++ {
		c := u[i]
		if c == '%' {
			if d, ok := percentByte(u[i:]); ok {
				c = d
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}

// unquoteHeader resolves the quoted strings of RFC 7230, section 3.2.6.
func unquoteHeader(s string) (b []byte, ok bool) {
	b = make([]byte, 0, len(s))
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted && i+1 < len(s):
			i++
			b = append(b, s[i])
		default:
			b = append(b, s[i])
		}
	}
	return b, !quoted
}

// percentByte reads the "%41" that s begins with.
func percentByte[T string | []byte](s T) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, ok1 := fromHex(s[1])
	lo, ok2 := fromHex(s[2])
	return hi<<4 | lo, ok1 && ok2
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
