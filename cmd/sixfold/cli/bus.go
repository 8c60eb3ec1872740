package cli

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
)

func (a *app) busCommand() *cobra.Command {
	return a.group("bus", "make topics of a broker, look at their messages, remove them, send and follow",
		a.busDeclare(), a.busPeek(), a.busPurge(), a.busPublish(), a.busTail())
}

// checkTopicName is sixfold.CheckTopic as a usage error.
func checkTopicName(name string) error {
	if err := sixfold.CheckTopic(name); err != nil {
		f := asFailure(err)
		return usage(f.Message, f.Hint)
	}
	return nil
}

// shownMessage is a message of a broker for JSON.
type shownMessage struct {
	At         string            `json:"at,omitempty"`
	Topic      string            `json:"topic"`
	ID         string            `json:"id"`
	Type       string            `json:"type"`
	Key        string            `json:"key,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	BodyBytes  int               `json:"body_bytes"`
	Unreadable string            `json:"unreadable,omitempty"`
	payload
}

// message prints one message on one line, or as JSON.
func (a *app) message(at, topic string, env *sixfold.Envelope, damaged error, body bool) error {
	if a.format == "json" {
		m := shownMessage{At: at, Topic: topic, ID: env.ID, Type: env.Type, Key: env.Key, Attributes: attributes(env), Headers: env.Headers, BodyBytes: len(env.Body)}
		if body {
			m.payload = payloadOf(env.Body)
		}
		if damaged != nil {
			m.Unreadable = damaged.Error()
		}
		return a.json(m)
	}
	when := "-"
	if !env.Time.IsZero() {
		when = env.Time.Format(time.RFC3339)
	}
	text := fmt.Sprintf("%s %s %s id=%s key=%s", when, safe(topic), orDash(env.Type), orDash(env.ID), orDash(env.Key))
	for _, name := range slices.Sorted(maps.Keys(env.Headers)) {
		text += " " + safe(name) + "=" + quote(env.Headers[name])
	}
	if damaged != nil {
		text += " (unreadable: " + safe(damaged.Error()) + ")"
	}
	if body {
		text += " " + bodyText(env.Body)
	} else {
		text += fmt.Sprintf(" %d bytes", len(env.Body))
	}
	return a.line("%s", text)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return safe(s)
}
