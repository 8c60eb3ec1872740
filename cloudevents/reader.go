package cloudevents

import (
	"slices"

	"github.com/sixfold-go/sixfold"
)

// reader puts attributes, in whatever order they come, into an envelope. Both modes share it.
type reader struct {
	env *sixfold.Envelope
	// seen and unset have a bit per attribute; null in JSON is seen and unset.
	seen, unset uint32
	// ext are the extensions without a field, also unset ones: no name may come twice.
	ext []string
	// packed are the headers that did not travel under their own names.
	packed string
	// body is the mark of an empty body in binary mode.
	body string
}

// once notes that a has come, and refuses it the second time.
func (r *reader) once(a attr) error {
	if r.seen&(1<<a) != 0 {
		return invalid("attribute %q: it is there twice; send it once", attrNames[a])
	}
	r.seen |= 1 << a
	return nil
}

// set takes the value of an attribute that has come once.
func (r *reader) set(a attr, v string) error {
	switch a {
	case attrTraceParent:
		r.env.TraceParent = v
		return nil
	case attrTraceState:
		r.env.TraceState = v
		return nil
	case attrHeaders:
		r.packed = v
		return nil
	case attrBody:
		r.body = v
		return nil
	}
	if v == "" {
		return attrError(a, v, "it is empty; leave it out or give it a value")
	}
	if a == attrSchema { // a URI, which may be longer than a text
		r.ext = append(r.ext, attrNames[a])
		return r.setExtension(attrNames[a], v)
	}
	if p := textProblem(v); p != "" {
		return attrError(a, v, p)
	}
	switch a {
	case attrSpecVersion:
		if v != specVersion {
			return attrError(a, v, `this version is not supported; send "1.0"`)
		}
	case attrID:
		r.env.ID = v
	case attrSource:
		if v != UnnamedSource {
			r.env.Source = v
		}
	case attrType:
		r.env.Type = v
	case attrSubject:
		r.env.Subject = v
	case attrKey:
		r.env.Key = v
	case attrCorrelation:
		r.env.CorrelationID = v
	case attrCausation:
		r.env.CausationID = v
	case attrReplyTo:
		r.env.ReplyTo = v
	case attrSequence:
		r.env.Sequence = v
	case attrContentType:
		if !isMediaType(v) {
			return attrError(a, v, notMediaType)
		}
		r.env.ContentType = v
	case attrTime, attrExpiry:
		t, ok := parseTime(v)
		if !ok {
			return attrError(a, v, `it is not a time of RFC 3339; send one like "2018-04-05T17:31:00Z"`)
		}
		if a == attrTime {
			r.env.Time = t
		} else {
			r.env.Expires = t
		}
	}
	return nil
}

// extension notes the name of an attribute without a field.
func (r *reader) extension(name string) error {
	if !isExtension(name) {
		return invalid("attribute %s: the name breaks the rules; it must have 1 to %d lower-case letters and digits and not be \"data\"", quote(name), sixfold.MaxHeaderKey)
	}
	if slices.Contains(r.ext, name) {
		return invalid("attribute %s: it is there twice; send it once", quote(name))
	}
	if len(r.ext) == sixfold.MaxHeaders {
		return invalid("extension attributes: there are more than %d; put the data into the body", sixfold.MaxHeaders)
	}
	r.ext = append(r.ext, name)
	return nil
}

// setExtension makes a header of an extension attribute.
func (r *reader) setExtension(name, v string) error {
	if sixfold.IsReservedHeader(name) {
		return nil // nobody outside may write it, so nobody inside reads it
	}
	if p := valueProblem(v); p != "" {
		return invalid("attribute %s: %s", quote(name), p)
	}
	return r.put(name, v)
}

// plain takes a header that is no attribute. One that no envelope could carry (a binary value, a reserved prefix, which
// goes for the framework's own control headers too) is not part of the event and is left out; of several with one
// name the first counts, and an attribute of that name counts before it.
func (r *reader) plain(name, v string) error {
	if sixfold.IsReservedHeader(name) || headerProblem(name, v) != "" {
		return nil
	}
	if _, ok := r.env.Headers[name]; ok {
		return nil
	}
	return r.put(name, v)
}

// put bounds the number of headers while they come; finish bounds their bytes.
func (r *reader) put(name, v string) error {
	if r.env.Headers == nil {
		r.env.Headers = make(map[string]string)
	}
	r.env.Headers[name] = v
	if n := len(r.env.Headers); n > sixfold.MaxHeaders {
		return invalid("headers: there are more than %d; put the data into the body", sixfold.MaxHeaders)
	}
	return nil
}

// finish checks what can only be checked when all attributes have come.
func (r *reader) finish() error {
	for _, a := range [...]attr{attrSpecVersion, attrID, attrSource, attrType} {
		if r.seen&^r.unset&(1<<a) == 0 {
			return invalid("attribute %q: it is missing; CloudEvents 1.0 requires specversion, id, source and type", attrNames[a])
		}
	}
	if !validTraceParent(r.env.TraceParent) {
		r.env.TraceParent, r.env.TraceState = "", ""
	}
	if !validTraceState(r.env.TraceState) {
		r.env.TraceState = ""
	}
	if err := unpack(r.packed, r.unpacked); err != nil {
		return err
	}
	size := 0
	for k, v := range r.env.Headers {
		size += len(k) + len(v)
	}
	if size > sixfold.MaxHeaderBytes {
		return invalid("headers: they have %d bytes, the limit is %d; put the data into the body", size, sixfold.MaxHeaderBytes)
	}
	return nil
}

// unpacked takes one header out of the packed ones. They were written by a Sixfold, which packs only what it could
// send, or by an attacker, who must not get more through than with plain headers.
func (r *reader) unpacked(name, v string) error {
	if sixfold.IsReservedHeader(name) {
		return nil
	}
	if p := headerProblem(name, v); p != "" {
		return invalid("header %s in attribute %q: %s", quote(name), attrNames[attrHeaders], p)
	}
	if slices.Contains(r.ext, name) {
		return invalid("header %s: it is there as an attribute and in attribute %q; send it once", quote(name), attrNames[attrHeaders])
	}
	return r.put(name, v)
}
