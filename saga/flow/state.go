package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// member is where the progress of an instance is, among the fields of the user's state.
const member = "$flow"

// kept is what is stored for an instance: the user's state, which is a JSON object, with one member more.
type kept[S any] struct {
	state S
	flow  progress
}

// progress is how far an instance has come.
type progress struct {
	flowplan.State
	// Why it turned round.
	Why string `json:"why,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (k kept[S]) MarshalJSON() ([]byte, error) {
	state, err := json.Marshal(k.state)
	if err != nil {
		return nil, err
	}
	return splice(state, k.flow)
}

// splice puts the progress into an object.
func splice(state []byte, flow any) ([]byte, error) {
	state = bytes.TrimSpace(state)
	if len(state) < 2 || state[0] != '{' {
		return nil, errors.New("flow: the state is no JSON object; use a plain struct")
	}
	own, err := json.Marshal(flow)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), state[:len(state)-1]...)
	if len(bytes.TrimSpace(out)) > 1 {
		out = append(out, ',')
	}
	out = fmt.Appendf(out, "%q:", member)
	return append(append(out, own...), '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *kept[S]) UnmarshalJSON(data []byte) error {
	var own struct {
		Flow progress `json:"$flow"`
	}
	if err := json.Unmarshal(data, &own); err != nil {
		return err
	}
	k.flow = own.Flow
	return json.Unmarshal(data, &k.state)
}

// StateHistory implements saga.Evolved: that of the user's state, whose upcasts never see the progress.
func (k kept[S]) StateHistory() []saga.Former {
	e, ok := any(k.state).(saga.Evolved)
	if !ok {
		if e, ok = any(&k.state).(saga.Evolved); !ok {
			return nil
		}
	}
	var out []saga.Former
	for _, f := range e.StateHistory() {
		if upcast := f.Upcast; upcast != nil {
			f.Upcast = func(data []byte) ([]byte, error) { return apart(data, upcast) }
		}
		out = append(out, f)
	}
	return out
}

// apart has the user's state upcast without the progress.
func apart(data []byte, upcast func([]byte) ([]byte, error)) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	flow := fields[member]
	delete(fields, member)
	state, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if state, err = upcast(state); err != nil {
		return nil, err
	}
	if flow == nil {
		flow = json.RawMessage("{}")
	}
	return splice(state, flow)
}
