package request

import (
	"encoding/json"
	"errors"
)

// A Result is what a handler answers where the business may say no: a value, or a rejection, both typed. A rejection is a
// reply like any other, not a fault: the handler worked. A message fixes both types once,
//
//	type QuoteResult = request.Result[Quote, Rejected]
//
// and embeds sixfold.Returns[QuoteResult]. Its JSON is {"value":…} or {"rejection":…}; exactly one of them is there.
type Result[T, E any] struct {
	value     T
	rejection E
	is        verdict
}

type verdict uint8

const (
	undecided verdict = iota
	accepted
	rejected
)

// Accept is the Result of a value: in a handler, "return res.Accept(quote), nil" on its named result.
func (Result[T, E]) Accept(v T) Result[T, E] { return Result[T, E]{value: v, is: accepted} }

// Reject is the Result of a rejection.
func (Result[T, E]) Reject(e E) Result[T, E] { return Result[T, E]{rejection: e, is: rejected} }

// Value answers the value, and whether there is one.
func (r Result[T, E]) Value() (T, bool) { return r.value, r.is == accepted }

// Rejection answers the rejection, and whether there is one.
func (r Result[T, E]) Rejection() (E, bool) { return r.rejection, r.is == rejected }

var errNoVerdict = errors.New("request: a Result has to have one of value and rejection; make it with Accept or Reject")

// MarshalJSON implements json.Marshaler. The zero Result is neither and cannot be encoded.
func (r Result[T, E]) MarshalJSON() ([]byte, error) {
	switch r.is {
	case accepted:
		return json.Marshal(struct {
			Value T `json:"value"`
		}{r.value})
	case rejected:
		return json.Marshal(struct {
			Rejection E `json:"rejection"`
		}{r.rejection})
	}
	return nil, errNoVerdict
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Result[T, E]) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	value, isValue := raw["value"]
	rejection, isRejection := raw["rejection"]
	var next Result[T, E]
	switch {
	case isValue == isRejection:
		return errNoVerdict
	case isValue:
		next.is = accepted
		if err := json.Unmarshal(value, &next.value); err != nil {
			return err
		}
	default:
		next.is = rejected
		if err := json.Unmarshal(rejection, &next.rejection); err != nil {
			return err
		}
	}
	*r = next
	return nil
}
