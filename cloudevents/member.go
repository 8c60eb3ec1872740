package cloudevents

import (
	"bytes"
	"encoding/base64"

	"github.com/sixfold-go/sixfold"
)

// jsonReader reads one object.
type jsonReader struct {
	reader
	data, base64       []byte // raw; data with its quotes, base64 without
	hasData, hasBase64 bool
	sawBase64          bool // also as null
}

func (r *jsonReader) member(s *scanner) error {
	raw, err := s.key()
	if err != nil {
		return err
	}
	if len(raw) > 6*sixfold.MaxHeaderKey { // an escape has six bytes for one
		return r.extension(string(raw[:sixfold.MaxHeaderKey+1]))
	}
	name, ok := resolve(raw)
	if !ok {
		return s.fail("a name has half a surrogate pair")
	}
	switch string(name) {
	case "data":
		return r.takeData(s)
	case "data_base64":
		return r.takeBase64(s)
	}
	if a, ok := attrNamed(string(name)); ok {
		return r.attribute(s, a)
	}
	key := string(name)
	if err := r.extension(key); err != nil {
		return err
	}
	return r.extensionValue(s, key)
}

func (r *jsonReader) takeData(s *scanner) error {
	if r.hasData {
		return invalid(`member "data": it is there twice; send it once`)
	}
	s.space()
	start := s.pos
	if err := s.value(MaxDepth - 1); err != nil {
		return err
	}
	r.data, r.hasData = s.data[start:s.pos:s.pos], true
	return nil
}

func (r *jsonReader) takeBase64(s *scanner) (err error) {
	if r.sawBase64 {
		return invalid(`member "data_base64": it is there twice; send it once`)
	}
	r.sawBase64 = true
	switch c := s.peek(); c {
	case 'n': // unset
		return s.literal("null")
	case '"':
		r.base64, err = s.text()
		r.hasBase64 = true
		return err
	default:
		return s.kindError(c, `"data_base64" is a string`)
	}
}

func (r *jsonReader) attribute(s *scanner, a attr) error {
	if err := r.once(a); err != nil {
		return err
	}
	c := s.peek()
	switch {
	case c == 'n':
		r.unset |= 1 << a
		return s.literal("null")
	case a == attrTraceParent || a == attrTraceState || a == attrBody:
		if c != '"' {
			return s.value(MaxDepth - 1) // garbage starts a new trace, and the mark is for binary mode
		}
	case c != '"':
		return s.kindError(c, "attribute \""+attrNames[a]+"\" is a string")
	}
	raw, err := s.text()
	if err != nil {
		return err
	}
	if a == attrHeaders || a == attrSchema {
		v, err := headerText(raw, attrNames[a])
		if err != nil {
			return err
		}
		return r.set(a, v)
	}
	v, err := attrText(raw, attrNames[a])
	if err != nil {
		if a == attrTraceParent || a == attrTraceState || a == attrBody {
			return nil
		}
		return err
	}
	return r.set(a, v)
}

// attrText is the string in raw. What is far too long is refused before it is copied; set has the exact limits.
func attrText(raw []byte, name string) (string, error) {
	if len(raw) > 6*maxTraceState { // the largest of the limits
		return "", invalid("attribute %q %s: it has %d bytes, the limit is %d; shorten it", name, quote(string(raw[:65])), len(raw), sixfold.MaxName)
	}
	b, ok := resolve(raw)
	if !ok {
		return "", invalid("attribute %q: it has half a surrogate pair; send a whole one", name)
	}
	return string(b), nil
}

// extensionValue takes a string, an integer or a boolean: the types of JSON Event Format 1.0.2, section 2.2.
func (r *jsonReader) extensionValue(s *scanner, name string) error {
	c := s.peek()
	start := s.pos
	switch {
	case c == 'n':
		return s.literal("null")
	case c == '"':
		raw, err := s.text()
		if err != nil {
			return err
		}
		v, err := headerText(raw, name)
		if err != nil {
			return err
		}
		return r.setExtension(name, v)
	case c == 't' || c == 'f' || c == '-' || '0' <= c && c <= '9':
		if err := s.value(0); err != nil {
			return err
		}
		raw := s.data[start:s.pos]
		if c != 't' && c != 'f' && !isInteger(raw) {
			return invalid("attribute %s: it is a number with a fraction, an exponent or too many digits; send an integer or a string", quote(name))
		}
		return r.setExtension(name, string(raw))
	}
	return s.kindError(c, "attribute "+quote(name)+" is a string, an integer or a boolean")
}

// headerText is attrText for what may be a secret. Packed headers stay far below the limit: they are ASCII, at most three
// bytes for one.
func headerText(raw []byte, name string) (string, error) {
	if len(raw) > 6*sixfold.MaxHeaderBytes {
		return "", invalid("attribute %s: it has %d bytes, the limit for all headers is %d; put the data into the body", quote(name), len(raw), sixfold.MaxHeaderBytes)
	}
	b, ok := resolve(raw)
	if !ok {
		return "", invalid("attribute %s: it has half a surrogate pair; send a whole one", quote(name))
	}
	return string(b), nil
}

func isInteger(raw []byte) bool {
	for _, c := range raw {
		if c != '-' && (c < '0' || c > '9') {
			return false
		}
	}
	return len(raw) <= sixfold.MaxName
}

// body turns what came as data into the envelope's body.
func (r *jsonReader) body() error {
	switch {
	case r.hasData && r.hasBase64:
		return invalid(`members "data" and "data_base64": both are there; send one`)
	case r.hasBase64:
		raw, ok := resolve(r.base64)
		body := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
		n, err := base64.StdEncoding.Strict().Decode(body, raw)
		if !ok || err != nil || bytes.ContainsAny(raw, "\r\n") { // which package base64 skips
			return invalid(`member "data_base64": it is not base64 (RFC 4648, section 4, with padding); encode it so`)
		}
		r.env.Body = body[:n]
	case r.hasData && r.env.ContentType == "":
		r.env.ContentType = "application/json"
		r.env.Body = r.data
	case r.hasData && isJSON(r.env.ContentType):
		r.env.Body = r.data
	case r.hasData:
		if r.data[0] != '"' {
			return invalid(`member "data": it is no string, and content type %s is not JSON; send a string or "data_base64"`, quote(r.env.ContentType))
		}
		text, ok := resolve(r.data[1 : len(r.data)-1 : len(r.data)-1])
		if !ok {
			return invalid(`member "data": it has half a surrogate pair; send "data_base64"`)
		}
		r.env.Body = text
	}
	return nil
}
