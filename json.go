package sixfold

import (
	"bytes"
	"encoding"
	"encoding/json"
	"io"
	"reflect"
	"sync"
	"time"
)

// unmarshalJSON is json.Unmarshal, whose state is most of what it allocates for a small body. A json.Decoder keeps it for the next one. It
// hands out its own buffer, though, which is written over by the next body: whoever keeps what UnmarshalJSON is given breaks a rule,
// but gets away with it at json.Unmarshal, and would see another's message here. So types that have a method of their own go the ordinary
// way, and so does all that is not right, for the same error as ever.
func unmarshalJSON(data []byte, v any) error {
	const large = 16 << 10 // nobody keeps a buffer for those
	if len(data) > large || !decodesItself(reflect.TypeOf(v)) {
		return json.Unmarshal(data, v)
	}
	d := jsonDecoders.Get().(*jsonDecoder)
	if !d.decode(bytes.TrimRight(data, " \t\r\n"), v) { // it is not used again: something is left in it
		return json.Unmarshal(data, v)
	}
	jsonDecoders.Put(d)
	return nil
}

// jsonDecoder decodes one body after the other.
type jsonDecoder struct {
	*json.Decoder
	body []byte // what was not read yet
	at   int64  // where the body begins, in all that was read
}

var jsonDecoders = sync.Pool{New: func() any {
	d := new(jsonDecoder)
	d.Decoder = json.NewDecoder(d)
	return d
}}

// Read implements io.Reader.
func (d *jsonDecoder) Read(p []byte) (n int, err error) {
	if len(d.body) == 0 {
		return 0, io.EOF
	}
	n = copy(p, d.body)
	d.body = d.body[n:]
	return n, nil
}

// decode reports whether body was one value of the type, and nothing else.
func (d *jsonDecoder) decode(body []byte, v any) bool {
	d.body = body
	if d.Decode(v) != nil {
		return false
	}
	began := d.at
	d.at = d.InputOffset()
	return d.at-began == int64(len(body))
}

var jsonTypes sync.Map // of reflect.Type: whether package json alone decodes it

// decodesItself reports whether nothing but package json sees the bytes of a value of a type.
func decodesItself(t reflect.Type) bool {
	if t == nil {
		return false
	}
	if known, ok := jsonTypes.Load(t); ok {
		return known.(bool)
	}
	is := plainJSON(t, make(map[reflect.Type]bool))
	jsonTypes.Store(t, is)
	return is
}

// plainJSON is decodesItself for a type inside of those that were seen.
func plainJSON(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[json.RawMessage]() { // which keep nothing
		return true
	}
	seen[t] = true
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return plainJSON(t.Elem(), seen)
	case reflect.Map:
		return plainJSON(t.Key(), seen) && plainJSON(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if !plainJSON(f.Type, seen) {
				return false
			}
		}
		return true
	case reflect.Interface: // there may be anything in it already
		return false
	}
	return true
}
