package sixfold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
)

// A Codec turns message values into bytes and back. It must be safe for concurrent use.
type Codec interface {
	// ContentType is the media type it writes, without parameters ("application/json").
	ContentType() string
	// Marshal must not keep the result.
	Marshal(v any) ([]byte, error)
	// Unmarshal must not keep data. Its errors are logged, so they must not quote it.
	Unmarshal(data []byte, v any) error
}

// JSON is the codec of encoding/json. It also decodes every "+json" media type, and bodies without a content type.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ContentType() string           { return "application/json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec) Unmarshal(data []byte, v any) error {
	if err := unmarshalJSON(data, v); err != nil {
		return bodyError{err}
	}
	return nil
}

// ErrUndecodable marks an envelope whose body cannot become its message. It is always Permanent.
var ErrUndecodable = errors.New("the body cannot be decoded")

type codecsKey struct{}

// WithCodecs makes cs known to Decode below ctx, before JSON, which is always known. The first with the content type
// is used.
func WithCodecs(ctx context.Context, cs ...Codec) context.Context {
	if len(cs) == 0 {
		return ctx
	}
	return context.WithValue(ctx, codecsKey{}, cs)
}

// Decode makes the message M of env. The codec is chosen by the envelope's content type, a body of a former
// form is brought to the present one first, and a value that never left the process is answered as it is.
// An error wraps ErrUndecodable and is Permanent.
func Decode[M Message](ctx context.Context, env *Envelope) (m M, err error) {
	if env == nil {
		return m, Permanent(fmt.Errorf("sixfold: decode: %w: the envelope is nil; pass the one that the handler was given", ErrUndecodable))
	}
	if v, ok := env.Message().(M); ok {
		return v, nil
	}
	body := env.Body
	if env.Type != m.MessageName() {
		if body, err = present(m, env); err != nil {
			return m, Permanent(fmt.Errorf("sixfold: decode %s %s: %w: %w", quote(env.Type), quote(env.ID), ErrUndecodable, err))
		}
	}
	c, err := codecFor(ctx, env.ContentType)
	if err != nil {
		return m, Permanent(fmt.Errorf("sixfold: decode %s %s: %w: %w", quote(env.Type), quote(env.ID), ErrUndecodable, err))
	}
	if err := c.Unmarshal(body, &m); err != nil {
		var none M
		return none, Permanent(fmt.Errorf("sixfold: decode %s %s: %w: %w", quote(env.Type), quote(env.ID), ErrUndecodable, err))
	}
	return m, nil
}

// present applies the upcasters of M's history from the form called env.Type on, which is not the present one.
func present(m Message, env *Envelope) ([]byte, error) {
	body, found := env.Body, false
	for _, f := range historyOf(m) {
		found = found || f.Name == env.Type
		if !found || f.Upcast == nil {
			continue
		}
		var err error
		if body, err = f.Upcast(body); err != nil {
			return nil, fmt.Errorf("upcast from %s: %w", quote(f.Name), hideBody(err))
		}
	}
	if !found {
		return nil, fmt.Errorf("the message is a %s, not a %s nor a former form of it", quote(env.Type), quote(m.MessageName()))
	}
	return body, nil
}

func historyOf(m Message) []Former {
	if e, ok := m.(Evolved); ok {
		return e.MessageHistory()
	}
	return nil
}

func codecFor(ctx context.Context, contentType string) (Codec, error) {
	media := contentType
	if media == "" {
		media = "application/json"
	}
	if media != "application/json" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, fmt.Errorf("content type %s: %w", quote(contentType), err)
		}
	}
	cs, _ := ctx.Value(codecsKey{}).([]Codec)
	for _, c := range cs {
		if c != nil && strings.EqualFold(c.ContentType(), media) {
			return c, nil
		}
	}
	if media == "application/json" || strings.HasSuffix(media, "+json") {
		return JSON, nil
	}
	return nil, fmt.Errorf("no codec for content type %s; give one in the consumer's options", quote(contentType))
}
