package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
)

// CheckTopology says of every part what the node has, and makes nothing: bus.There, bus.Missing, or bus.Differs with the first
// property in which they differ, as the node names it. AMQP cannot look for a binding, so that each of these is bus.Unknown unless
// its exchange or queue is missing. Comparing properties needs the right to configure; without it a part that is there is Unknown.
func (t *Transport) CheckTopology(ctx context.Context, topology *Topology) ([]bus.Part, error) {
	var parts []bus.Part
	err := t.manage(ctx, func(l *link) error {
		parts = parts[:0]
		missing := make(map[string]bool)
		for _, p := range topology.Parts() {
			part, err := checkPart(l, p, missing)
			if err != nil {
				return err
			}
			parts = append(parts, part)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: check the topology: %w", err)
	}
	return parts, nil
}

// inequivalent is how the node says what differs.
var inequivalent = regexp.MustCompile(`inequivalent arg ('[^']*').*: received (.*) but current is (.*)`)

// checkPart looks for one part; missing collects the names of those that are not there.
func checkPart(l *link, p Part, missing map[string]bool) (bus.Part, error) {
	part := bus.Part{State: bus.There}
	var look, compare func(ch *amqp.Channel) error
	switch p := p.(type) {
	case Exchange:
		part.Name = "exchange " + p.Name
		kind := p.Kind
		if kind == "" {
			kind = "fanout"
		}
		look = func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(p.Name, kind, !p.Transient, p.AutoDelete, p.Internal, false, p.Args)
		}
		if !p.Existing {
			compare = func(ch *amqp.Channel) error {
				return ch.ExchangeDeclare(p.Name, kind, !p.Transient, p.AutoDelete, p.Internal, false, p.Args)
			}
		}
	case Queue:
		part.Name = "queue " + p.Name
		look = func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(p.Name, !p.Transient, p.AutoDelete, false, false, p.arguments())
			return err
		}
		if !p.Existing {
			compare = func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclare(p.Name, !p.Transient, p.AutoDelete, false, false, p.arguments())
				return err
			}
		}
	case Binding:
		to := "queue " + p.To
		if p.To == "" {
			to = "exchange " + p.ToExchange
		}
		part.Name = "binding from " + p.From + " to " + p.To + p.ToExchange
		part.State, part.Text = bus.Unknown, "AMQP cannot look for bindings"
		for _, end := range []string{"exchange " + p.From, to} {
			if missing[end] {
				part.State, part.Text = bus.Missing, ""
			}
		}
		return part, nil
	}
	err := l.on(look)
	switch code := codeOf(err); {
	case code == amqp.NotFound:
		missing[part.Name] = true
		part.State = bus.Missing
		return part, nil
	case code == amqp.AccessRefused:
		part.State, part.Text = bus.Unknown, "the user may not look at it"
		return part, nil
	case err != nil:
		return part, classify(err)
	case compare == nil:
		return part, nil
	}
	// It is there, so that declaring it changes nothing; the node compares.
	err = l.on(compare)
	switch code := codeOf(err); {
	case code == amqp.PreconditionFailed:
		part.State, part.Text = bus.Differs, whatDiffers(err)
	case code == amqp.AccessRefused:
		part.State, part.Text = bus.Unknown, "it is there, and the user may not compare its properties"
	case err != nil:
		return part, classify(err)
	}
	return part, nil
}

func whatDiffers(err error) string {
	var node *amqp.Error
	if !errors.As(err, &node) {
		return err.Error()
	}
	if m := inequivalent.FindStringSubmatch(node.Reason); m != nil {
		return m[1] + " should be " + m[2] + " and is " + m[3]
	}
	return node.Reason
}
