package cloudevents

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over JSON text (RFC 8259) and allocates nothing for what it walks over. It is ours because encoding/json
// takes the last of two equal keys, matches keys without regard to case, rounds numbers, replaces broken UTF-8, and
// builds values 40 times the size of a hostile input.
type scanner struct {
	data []byte
	pos  int
}

// begin checks what can be said of the whole text.
func (s *scanner) begin() error {
	switch {
	case len(s.data) == 0:
		return invalid("JSON: it is empty; send an event")
	case len(s.data) > MaxBytes:
		return invalid("JSON: it has %d bytes, the limit is %d; send large data by reference", len(s.data), MaxBytes)
	case bytes.HasPrefix(s.data, []byte("\xef\xbb\xbf")):
		return invalid("JSON: it begins with a byte order mark, which RFC 8259 forbids; leave it out")
	case !utf8.Valid(s.data):
		return invalid("JSON: it is not valid UTF-8; encode it so")
	}
	return nil
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.space(); s.pos < len(s.data) {
		return s.fail("there is more after the value")
	}
	return nil
}

// fail says where, and never what: the bytes around may belong to a body.
func (s *scanner) fail(problem string) error {
	if s.pos >= len(s.data) {
		problem = "it ends too early"
	}
	return invalid("JSON at byte %d of %d: %s", s.pos, len(s.data), problem)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek is the next byte that is not white space, or 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos >= len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c || c == 0 {
		return false
	}
	s.pos++
	return true
}

// more steps through the members of an object or an array that ends with end; first is true before the first one.
func (s *scanner) more(first bool, end byte) (bool, error) {
	if s.take(end) {
		return false, nil
	}
	if first {
		return true, nil
	}
	if !s.take(',') {
		return false, s.fail("a comma or an end of the list is missing")
	}
	if s.peek() == end {
		return false, s.fail("a value is missing after the comma")
	}
	return true, nil
}

// value skips a value that may hold depth more levels.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return s.fail(tooDeep)
		}
		return s.list(depth-1, c == '{')
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.fail("a value is missing")
}

func (s *scanner) list(depth int, object bool) error {
	end := byte(']')
	if object {
		end = '}'
	}
	s.pos++
	for first := true; ; first = false {
		more, err := s.more(first, end)
		if !more || err != nil {
			return err
		}
		if object {
			if _, err := s.key(); err != nil {
				return err
			}
		}
		if err := s.value(depth); err != nil {
			return err
		}
	}
}

// key takes the name of a member and its colon.
func (s *scanner) key() (raw []byte, err error) {
	if s.peek() != '"' {
		return nil, s.fail("a name in quotes is missing")
	}
	if raw, err = s.text(); err != nil {
		return nil, err
	}
	if !s.take(':') {
		return nil, s.fail("a colon is missing")
	}
	return raw, nil
}

// text takes a string and answers what is between its quotes, escapes checked and not resolved.
func (s *scanner) text() (raw []byte, err error) {
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c < ' ':
			return nil, s.fail("there is a control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			s.pos++
		}
	}
	return nil, s.fail("")
}

func (s *scanner) escape() error {
	s.pos++
	if s.pos >= len(s.data) {
		return s.fail("")
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if s.pos >= len(s.data) {
				return s.fail("")
			}
			if _, ok := fromHex(s.data[s.pos]); !ok {
				return s.fail("an escape has no four hexadecimal digits")
			}
			s.pos++
		}
		return nil
	}
	return s.fail("there is an unknown escape in a string")
}

func (s *scanner) literal(word string) error {
	for i := 0; i < len(word); i++ {
		if s.pos >= len(s.data) || s.data[s.pos] != word[i] {
			return s.fail("there is an unknown word")
		}
		s.pos++
	}
	return nil
}

func (s *scanner) number() error {
	if s.data[s.pos] == '-' {
		s.pos++
	}
	switch {
	case s.at('0'):
		s.pos++
	case !s.digits():
		return s.fail("a digit is missing in a number")
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return s.fail("a digit is missing in a number")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if !s.digits() {
			return s.fail("a digit is missing in a number")
		}
	}
	return nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// resolve makes the string that raw, a result of text, stands for. ok is false for half a surrogate pair, which no UTF-8
// can hold.
func resolve(raw []byte) (b []byte, ok bool) {
	next := bytes.IndexByte(raw, '\\')
	if next < 0 {
		return raw, true
	}
	b = make([]byte, 0, len(raw))
	for next >= 0 {
		b = append(b, raw[:next]...)
		c := raw[next+1]
		raw = raw[next+2:]
		switch c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := hex4(raw)
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
					return nil, false
				}
				if r = utf16.DecodeRune(r, hex4(raw[2:])); r == utf8.RuneError {
					return nil, false
				}
				raw = raw[6:]
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
		next = bytes.IndexByte(raw, '\\')
	}
	return append(b, raw...), true
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		d, _ := fromHex(c)
		r = r<<4 | rune(d)
	}
	return r
}
