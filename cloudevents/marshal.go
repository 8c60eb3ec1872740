package cloudevents

import (
	"encoding/base64"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// Marshal writes env in the JSON Event Format (structured mode), which Unmarshal reads back exactly. A body of a JSON
// content type becomes "data" if its bytes can stand in the text as they are: one JSON value, no white space around it, no
// broken UTF-8, at most 63 levels. Every other body becomes "data_base64"; a nil body becomes neither.
//
// An error wraps sixfold.ErrInvalid and says what about env no event can have, or that the result would be larger than
// MaxBytes.
func Marshal(env *sixfold.Envelope) ([]byte, error) {
	out, err := appendEvent(nil, env)
	if err == nil {
		err = checkSize(out)
	}
	if err != nil {
		return nil, fmt.Errorf("cloudevents: write event: %w", err)
	}
	return out, nil
}

// MarshalBatch writes envs in the JSON Batch Format; none is an empty batch. It refuses more than MaxBatch events and
// more than MaxBytes.
func MarshalBatch(envs []*sixfold.Envelope) ([]byte, error) {
	if len(envs) > MaxBatch {
		return nil, fmt.Errorf("cloudevents: write batch: %w", invalid("batch: it has %d events, the limit is %d; write smaller ones", len(envs), MaxBatch))
	}
	out := []byte{'['}
	for i, env := range envs {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendEvent(out, env); err == nil {
			err = checkSize(out)
		}
		if err != nil {
			return nil, fmt.Errorf("cloudevents: write batch: event %d: %w", i+1, err)
		}
	}
	out = append(out, ']')
	if err := checkSize(out); err != nil {
		return nil, fmt.Errorf("cloudevents: write batch: %w", err)
	}
	return out, nil
}

func checkSize(out []byte) error {
	if len(out) > MaxBytes {
		return invalid("JSON: it has %d bytes, the limit is %d; send large data by reference", len(out), MaxBytes)
	}
	return nil
}

func appendEvent(dst []byte, env *sixfold.Envelope) ([]byte, error) {
	var v values
	if err := v.fill(env); err != nil {
		return dst, err
	}
	extensions, packed, err := splitHeaders(env.Headers)
	if err != nil {
		return dst, err
	}
	if len(env.Body) > MaxBytes {
		return dst, invalid("body: it has %d bytes, the limit for an event is %d; send large data by reference", len(env.Body), MaxBytes)
	}
	v[attrHeaders] = pack(packed)
	if dst == nil {
		dst = make([]byte, 0, 512+len(env.Body)*4/3)
	}
	dst = append(dst, '{')
	for a, s := range v {
		if s != "" {
			dst = appendMember(dst, attrNames[a], s)
		}
	}
	for _, h := range extensions {
		dst = appendMember(dst, h.Name, h.Value)
	}
	dst = appendBody(dst, env)
	dst[len(dst)-1] = '}' // in place of the last comma
	return dst, nil
}

// splitHeaders divides the user's headers into those that are attributes under their own names and those that cannot be.
func splitHeaders(headers map[string]string) (extensions, packed []Header, err error) {
	if len(headers) == 0 {
		return nil, nil, nil
	}
	if err := countHeaders(headers); err != nil {
		return nil, nil, err
	}
	for k, v := range headers {
		if p := headerProblem(k, v); p != "" {
			return nil, nil, invalid("header %s: %s", quote(k), p)
		}
		a, known := attrNamed(k)
		if isExtension(k) && (!known || a == attrSchema && v != "") {
			extensions = append(extensions, Header{k, v})
		} else {
			packed = append(packed, Header{k, v})
		}
	}
	sortHeaders(extensions)
	return extensions, packed, nil
}

func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	dst = appendString(dst, value)
	return append(dst, ',')
}

// appendString writes a string whose UTF-8 has been checked.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendBody(dst []byte, env *sixfold.Envelope) []byte {
	switch {
	case env.Body == nil:
	case isJSON(env.ContentType) && isBareValue(env.Body):
		dst = append(dst, `"data":`...)
		dst = append(dst, env.Body...)
		dst = append(dst, ',')
	default:
		dst = append(dst, `"data_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, env.Body)
		dst = append(dst, '"', ',')
	}
	return dst
}

// isBareValue reports whether body can be copied into JSON text and taken out again.
func isBareValue(body []byte) bool {
	s := &scanner{data: body}
	if s.begin() != nil || s.space0() || s.value(MaxDepth-1) != nil {
		return false
	}
	return s.pos == len(body)
}

// space0 reports whether white space comes next.
func (s *scanner) space0() bool {
	before := s.pos
	s.space()
	return s.pos > before
}
