package flow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// timer is the message by which a flow waits. It is the one message of flows whose name belongs to the value: each flow has
// one of its own, so that each has a route of its own.
type timer struct {
	flow string
	flowplan.Ref
	Again bool `json:"again,omitempty"`
}

// Timer is the message by which the flow of that name waits, for the outbox's routes: those of a flow whose steps have time limits or
// several attempts need one to the consumer that takes the flow's routes.
//
//	outbox.ToConsumer("orders", flow.Timer("fulfilment"))
func Timer(flow string) sixfold.Message { return timer{flow: flow} }

// MessageName is "<flow>.flow-timer".
func (t timer) MessageName() string { return t.flow + ".flow-timer" }

// heardTimer is the timer as package saga hears of it.
func heardTimer(flow string) saga.Heard {
	t := timer{flow: flow}
	h := saga.Heard{Route: sixfold.Route{Name: t.MessageName()}, Sample: t, Err: sixfold.CheckMessageName(t.MessageName())}
	h.Decode = func(ctx context.Context, env *sixfold.Envelope) (any, error) {
		var t timer
		if err := json.Unmarshal(env.Body, &t); err != nil {
			return nil, sixfold.Permanent(fmt.Errorf("flow: timer of %s: %w: it is no JSON; let the outbox use its default codec for timers", flow, sixfold.ErrUndecodable))
		}
		return t, nil
	}
	return h
}
