package cloudevents

import (
	"fmt"
	"iter"

	"github.com/sixfold-go/sixfold"
)

// Read fills env from a message: in structured mode where the header "content-type" says so, else in binary mode. The
// names of attributes are read without regard to case, in any order; headers is run through once. env keeps body (in
// structured mode, parts of it), so nobody may change it afterwards.
//
// An error wraps sixfold.ErrInvalid; env then has nothing but the body, as it came.
func (b *Binding) Read(env *sixfold.Envelope, headers iter.Seq2[string, string], body []byte) error {
	*env = sixfold.Envelope{}
	r := &headerReader{reader: reader{env: env}, binding: b}
	headers(r.header)
	var err error
	if isStructured(r.outer) {
		*env = sixfold.Envelope{}
		err = readStructured(env, r.outer, body)
	} else if err = r.finish(body); err != nil {
		err = fmt.Errorf("cloudevents: read headers: %w", err)
	}
	if err != nil {
		*env = sixfold.Envelope{Body: body}
	}
	return err
}

// isStructured is the rule of HTTP Protocol Binding 1.0.2, section 3.
func isStructured(contentType string) bool { return hasPrefixFold(contentType, structuredPrefix) }

const structuredPrefix = "application/cloudevents"

func readStructured(env *sixfold.Envelope, contentType string, body []byte) error {
	if media, _ := splitMedia(contentType); !equalFold(media, ContentType) && !equalFold(media, structuredPrefix) {
		return fmt.Errorf("cloudevents: read message: %w", invalid("content type %s: this format of events cannot be read here; send binary mode or %s", quote(contentType), ContentType))
	}
	return unmarshal(env, body)
}

// headerReader reads binary mode. Errors wait for the end, since the mode is known only when all headers have come.
type headerReader struct {
	reader
	binding *Binding
	outer   string // the carrier's own content type
	got     bool   // outer came
	err     error
}

func (r *headerReader) header(name, v string) bool {
	if r.binding.isContentType(name) {
		if r.got && r.outer != v && r.err == nil {
			r.err = invalid("header %s: it is there twice; send it once", quote(name))
		}
		r.outer, r.got = v, true
		return true
	}
	if r.err == nil {
		r.err = r.take(name, v)
	}
	return true
}

func (r *headerReader) take(name, v string) error {
	short := r.binding.unprefixed(name)
	if short == "" {
		return r.plain(name, v)
	}
	short = lowerASCII(short)
	a, known := attrNamed(short)
	if r.binding.ascii {
		decoded, ok := percentDecode(v)
		if !ok && a != attrTraceParent && a != attrTraceState { // those are dropped when they are garbage
			return invalid("attribute %s: its value is not UTF-8 in percent-encoding (HTTP Protocol Binding, section 3.1.3.2); encode it so", quote(short))
		}
		v = decoded
	}
	if known {
		if err := r.once(a); err != nil {
			return err
		}
		return r.set(a, v)
	}
	if err := r.extension(short); err != nil {
		return err
	}
	return r.setExtension(short, v)
}

func (r *headerReader) finish(body []byte) error {
	if r.err != nil {
		return r.err
	}
	if r.outer != "" {
		if inner := r.env.ContentType; inner != "" && inner != r.outer {
			return invalid("content type: it is %s and %s; send it once", quote(r.outer), quote(inner))
		}
		if err := r.set(attrContentType, r.outer); err != nil {
			return err
		}
	}
	r.env.Body = body
	if len(body) == 0 {
		switch r.body {
		case bodyNone:
			r.env.Body = nil
		case bodyEmpty:
			r.env.Body = []byte{}
		}
	}
	return r.reader.finish()
}
