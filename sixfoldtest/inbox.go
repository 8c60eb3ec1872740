package sixfoldtest

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store/memory"
)

// Inbox is the inbox of a Kit's database; inbox.New takes it. As a History it has the dead letters of the consumers with it.
// It is safe for concurrent use.
type Inbox struct{ *memory.Inbox }

// All answers the dead letters, in the order in which they were parked. Their headers say why, as those on a dead topic do.
func (i *Inbox) All(ctx context.Context) (all []Publication, err error) {
	parked, err := i.Parked(ctx)
	if err != nil {
		return nil, err
	}
	for n := range parked {
		if p := &parked[n]; p.Dead {
			env := parkedEnvelope(p)
			headers := maps.Clone(env.Headers)
			if headers == nil {
				headers = make(map[string]string, 5)
			}
			headers[bus.DeadReason], headers[bus.DeadError], headers[bus.DeadAttempts] = p.Reason, p.Error, strconv.Itoa(p.Attempts)
			headers[bus.DeadTopic], headers[bus.DeadConsumer] = p.Topic, p.Consumer
			env.Headers = headers
			all = append(all, Publication{Envelope: env, To: p.Consumer, Local: true})
		}
	}
	return all, nil
}

// parkedEnvelope is the message as it came.
func parkedEnvelope(p *memory.Parked) *sixfold.Envelope {
	env := &sixfold.Envelope{ID: p.ID, Key: p.Key, Body: p.Body}
	if _, err := outbox.DecodeAttrs(p.Attrs, env); err != nil {
		env.Type = p.Type
	}
	return env
}

// open names what waits for another attempt, or behind one. What waits behind a dead letter waits for a person.
func (i *Inbox) open(ctx context.Context) (open []string, err error) {
	parked, err := i.Parked(ctx)
	if err != nil {
		return nil, err
	}
	for n := range parked {
		if p := &parked[n]; !p.Held {
			open = append(open, fmt.Sprintf("%.64s %.64s (key %.64q) parked for consumer %.64s", p.Type, p.ID, p.Key, p.Consumer))
		}
	}
	return open, nil
}
