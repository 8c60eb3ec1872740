package saga

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Evolved is a state that had other forms in the past, as sixfold.Evolved is a message that had. A state without it has version 1.
type Evolved interface {
	// StateHistory lists the former forms, oldest first, without a gap. The present form has the version after the last one's.
	// Forms of which no instance is left may be taken away from the front.
	StateHistory() []Former
}

// Former is one past form of a state.
type Former struct {
	// Version it had, 1 or more.
	Version int
	// Upcast turns a state of this form, as JSON, into the next one. It must not modify state. Nil means that encoding/json reads
	// it as it is.
	Upcast func(state []byte) ([]byte, error)
}

// schema is what is known of the forms of a state.
type schema struct {
	version int // the present one
	history []Former
}

// schemaOf reads the history of S, from its zero value.
func schemaOf[S any]() (sc schema, err error) {
	t := reflect.TypeFor[S]()
	if t.Kind() != reflect.Struct {
		return sc, invalid("state %s: it is not a plain struct; give the steps a func(ctx, tx, s *State, m, fx) whose State is one", t)
	}
	defer func() {
		if p := recover(); p != nil {
			err = invalid("state %s: its zero value cannot tell its history (panic: %v); let StateHistory answer the same for every value", t, p)
		}
	}()
	sc.version = 1
	var zero S
	e, ok := any(zero).(Evolved)
	if !ok {
		if e, ok = any(&zero).(Evolved); !ok {
			return sc, nil
		}
	}
	sc.history = e.StateHistory()
	var errs []error
	for i, f := range sc.history {
		if f.Version < 1 || i > 0 && f.Version != sc.history[i-1].Version+1 {
			errs = append(errs, invalid("state %s: number %d of its history has version %d; begin with 1 or more and count up by one", t, i+1, f.Version))
		}
		sc.version = f.Version + 1
	}
	return sc, errors.Join(errs...)
}

// decode reads the state of an instance into s.
func (sc *schema) decode(in *Instance, s any) error {
	state := in.State
	if in.Schema != sc.version {
		known := false
		for _, f := range sc.history {
			known = known || f.Version == in.Schema
			if !known || f.Upcast == nil {
				continue
			}
			var err error
			if state, err = f.Upcast(state); err != nil {
				return fmt.Errorf("saga: read the state of %s %s: upcast from version %d: %w", in.Saga, quote(in.Key), f.Version, hidden{err})
			}
		}
		if !known {
			return fmt.Errorf("%w: %s %s has version %d, and this program knows %s; deploy a program with that version, or declare it in StateHistory",
				ErrSchema, in.Saga, quote(in.Key), in.Schema, sc.known())
		}
	}
	if err := json.Unmarshal(state, s); err != nil {
		return fmt.Errorf("saga: read the state of %s %s, version %d: %w; give a form that JSON reads otherwise a version of its own", in.Saga, quote(in.Key), in.Schema, hidden{err})
	}
	return nil
}

// known names the versions that can be read.
func (sc *schema) known() string {
	if len(sc.history) == 0 {
		return fmt.Sprintf("version %d only", sc.version)
	}
	return fmt.Sprintf("versions %d to %d", sc.history[0].Version, sc.version)
}

// hidden is an error about a state whose text may quote it.
type hidden struct{ err error }

func (h hidden) Error() string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(h.err, &syntax):
		return fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset)
	case errors.As(h.err, &kind):
		return fmt.Sprintf("field %s cannot hold what is there", quote(kind.Field))
	}
	return fmt.Sprintf("a %T, whose text may quote the state", h.err)
}

func (h hidden) Unwrap() error { return h.err }

// encode is the state as it is kept.
func encode(s any) ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("saga: write the state: it cannot be encoded: %w; use a plain struct", hidden{err})
	}
	if len(b) > MaxState {
		return nil, fmt.Errorf("saga: write the state: it has %d bytes, the limit is %d; keep the data in tables of your own", len(b), MaxState)
	}
	return b, nil
}

// MaxState is the most bytes that a state may have as JSON. It is read and written by every step.
const MaxState = 1 << 20
