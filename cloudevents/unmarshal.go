package cloudevents

import (
	"fmt"

	"github.com/sixfold-go/sixfold"
)

const tooDeep = "there are more than 64 levels in an event"

// Unmarshal reads one event in the JSON Event Format (structured mode). The body shares memory with data, so nobody may
// change data afterwards. An error wraps sixfold.ErrInvalid, says which rule was broken where, and never shows a byte of
// the body.
//
// Data of a JSON content type, or without one, becomes the body exactly as its bytes stand in the text; without a content
// type the envelope gets "application/json", which the format implies. Data of another content type must be a string,
// whose text becomes the body.
func Unmarshal(data []byte) (*sixfold.Envelope, error) {
	env := new(sixfold.Envelope)
	if err := unmarshal(env, data); err != nil {
		return nil, err
	}
	return env, nil
}

// unmarshal is Unmarshal into a fresh envelope.
func unmarshal(env *sixfold.Envelope, data []byte) error {
	s := &scanner{data: data}
	err := s.begin()
	if err == nil {
		err = s.event(env)
	}
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return fmt.Errorf("cloudevents: read event: %w", err)
	}
	return nil
}

// UnmarshalBatch reads the JSON Batch Format: up to MaxBatch events, possibly none. It answers all of them or an error,
// which wraps sixfold.ErrInvalid. Bodies share memory with data.
func UnmarshalBatch(data []byte) ([]*sixfold.Envelope, error) {
	s := &scanner{data: data}
	envs, err := s.batch()
	if err != nil {
		return nil, fmt.Errorf("cloudevents: read batch: %w", err)
	}
	return envs, nil
}

func (s *scanner) batch() ([]*sixfold.Envelope, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	if c := s.peek(); c != '[' {
		return nil, s.kindError(c, "a batch is an array of events")
	}
	s.pos++
	envs := []*sixfold.Envelope{}
	for first := true; ; first = false {
		more, err := s.more(first, ']')
		if err != nil {
			return nil, err
		}
		if !more {
			return envs, s.end()
		}
		if len(envs) == MaxBatch {
			return nil, invalid("batch: it has more than %d events; send smaller ones", MaxBatch)
		}
		env := new(sixfold.Envelope)
		if err := s.event(env); err != nil {
			return nil, fmt.Errorf("event %d: %w", len(envs)+1, err)
		}
		envs = append(envs, env)
	}
}

// event reads the object that comes next.
func (s *scanner) event(env *sixfold.Envelope) error {
	if c := s.peek(); c != '{' {
		return s.kindError(c, "an event is an object")
	}
	s.pos++
	r := &jsonReader{reader: reader{env: env}}
	for first := true; ; first = false {
		more, err := s.more(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := r.member(s); err != nil {
			return err
		}
	}
	if err := r.finish(); err != nil {
		return err
	}
	return r.body()
}

// kindError says what came instead of what should have.
func (s *scanner) kindError(c byte, want string) error {
	kind := ""
	switch {
	case c == '{':
		kind = "an object"
	case c == '[':
		kind = "an array"
	case c == '"':
		kind = "a string"
	case c == 'n':
		kind = "null"
	case c == 't' || c == 'f':
		kind = "a boolean"
	case c == '-' || '0' <= c && c <= '9':
		kind = "a number"
	default:
		return s.fail("a value is missing")
	}
	return invalid("JSON at byte %d of %d: there is %s, but %s", s.pos, len(s.data), kind, want)
}
