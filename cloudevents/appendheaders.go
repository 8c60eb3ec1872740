package cloudevents

import (
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/dataref"
	"github.com/sixfold-go/sixfold/internal/signed"
)

// Marks of an empty body: a carrier without the difference between no bytes and none at all loses it.
const (
	bodyNone  = "none"
	bodyEmpty = "empty"
)

// AppendHeaders appends the headers of env in binary mode to dst; the body of the message is env.Body. Attributes come
// in a fixed order, then the user's headers by name. Headers under the prefix "sixfold-", which only the framework can
// set, are written, though Read drops them. It fails, with an error that wraps sixfold.ErrInvalid, where Read would
// refuse the result; dst is then unchanged up to its length.
func (b *Binding) AppendHeaders(dst []Header, env *sixfold.Envelope) ([]Header, error) {
	var v values
	if err := v.fill(env); err != nil {
		return dst, fmt.Errorf("cloudevents: write headers: %w", err)
	}
	if len(env.Body) == 0 {
		v[attrBody] = bodyEmpty
		if env.Body == nil {
			v[attrBody] = bodyNone
		}
	}
	before := len(dst)
	for a, s := range v {
		if s == "" {
			continue
		}
		switch {
		case attr(a) == attrContentType && b.ownContentType(s):
			dst = append(dst, Header{b.contentType, s})
		case b.ascii:
			dst = append(dst, Header{b.names[a], percentEncode(s)})
		default:
			dst = append(dst, Header{b.names[a], s})
		}
	}
	if len(env.Headers) == 0 {
		return dst, nil
	}
	dst, err := b.appendUser(dst, env.Headers)
	if err != nil {
		return dst[:before], fmt.Errorf("cloudevents: write headers: %w", err)
	}
	return dst, nil
}

// ownContentType reports whether the content type goes under the carrier's own name. One that says "structured mode"
// would make a reader take the body for an event.
func (b *Binding) ownContentType(s string) bool {
	return b.contentType != "" && printable(s) && !isStructured(s)
}

func (b *Binding) appendUser(dst []Header, headers map[string]string) ([]Header, error) {
	if err := countHeaders(headers); err != nil {
		return dst, err
	}
	start := len(dst)
	var packed []Header
	for k, v := range headers {
		if p := headerProblem(k, v); p != "" {
			return dst, invalid("header %s: %s", quote(k), p)
		}
		switch {
		case isAlwaysAttribute(k) && v != "":
			if b.ascii {
				v = percentEncode(v)
			}
			dst = append(dst, Header{b.prefixes[0] + k, v})
		case b.ascii && (!printable(v) || !isFieldName(k)), b.isContentType(k), b.unprefixed(k) != "":
			packed = append(packed, Header{k, v})
		default:
			dst = append(dst, Header{k, v})
		}
	}
	sortHeaders(dst[start:])
	if s := pack(packed); s != "" {
		if b.ascii {
			s = percentEncode(s)
		}
		dst = append(dst, Header{b.names[attrHeaders], s})
	}
	return dst, nil
}

// isAlwaysAttribute reports whether a header is an attribute in binary mode too: those that other SDKs look for.
func isAlwaysAttribute(name string) bool {
	return name == attrNames[attrSchema] || name == dataref.Ref || name == dataref.Check || name == signed.Header
}

// countHeaders leaves out the framework's own, since a message at the limit must still become a dead letter.
func countHeaders(headers map[string]string) error {
	n, size := 0, 0
	for k, v := range headers {
		if !isControl(k) {
			n++
			size += len(k) + len(v)
		}
	}
	if n > sixfold.MaxHeaders || size > sixfold.MaxHeaderBytes {
		return invalid("headers: there are %d with %d bytes, the limits are %d and %d; put the data into the body",
			n, size, sixfold.MaxHeaders, sixfold.MaxHeaderBytes)
	}
	return nil
}
