package durable

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/saga"
)

// AskFrom is Ask for a step of a saga: the request is one of its effects, and its outcome comes to the step that SagaOn made for
// requests of that type, of this very instance. It goes under the instance's key, also where it states one of its own, since the reply
// comes back under it; so the saga's consumer takes ReplyTo.
//
// When within has passed before a reply came, the step is told so by ErrDeadline, and what comes after that is dropped; a scheduler has to
// run, as for all timers. within 0 is no deadline.
func (s *Service[X]) AskFrom(fx *saga.Effects, m sixfold.Message, within time.Duration, opts ...outbox.Option) (id string) {
	if err := s.checkAsk(m, within); err != nil {
		fx.Refuse(err)
		return ""
	}
	own := append(opts[:len(opts):len(opts)], outbox.Key(fx.Instance().Key), outbox.ReplyTo(s.o.ReplyTo))
	if within > 0 {
		own = append(own, outbox.Expires(within))
	}
	if id = fx.Send(m, own...); id == "" {
		return ""
	}
	over := verdict{name: m.MessageName() + deadlineSuffix, Request: id}
	if within == 0 {
		fx.Await(deadlineID(id), over.name)
	} else {
		fx.After(within, over, outbox.Topic(s.o.ReplyTo), outbox.DerivedID(deadlineID(id)))
	}
	return id
}

// SagaOn makes the step of a saga that hears of the outcomes of requests C which the instance has asked with AskFrom: of each once, of its
// reply or fault, or that the deadline has passed. Replies to what this instance did not ask, or does not wait for any more, are dropped and
// counted. h is as in saga.On.
func SagaOn[X, S any, C sixfold.Command[R], R any](s *Service[X], h func(ctx context.Context, tx X, st *S, o Outcome[C, R], fx *saga.Effects) error) saga.Step[X, S] {
	names, err := outcomesOf[C]()
	m := saga.Awaited{Route: names, Timer: withSuffix(names, deadlineSuffix).Name, Err: err}
	switch {
	case s == nil:
		m.Err = invalid("step %s: the service is nil; make one with durable.New, and look at its error", names.Name)
	case h == nil:
		m.Err = invalid("step %s: the handler is nil; pass a func(context.Context, %s, *%s, %s, *saga.Effects) error", names.Name, reflect.TypeFor[X](), reflect.TypeFor[S](), reflect.TypeFor[Outcome[C, R]]())
	case err == nil && s.o.ReplyTo == "":
		m.Err = invalid("step %s: there is no topic for replies; set Options.ReplyTo", names.Name)
	}
	m.Of = func(env *sixfold.Envelope) string {
		if strings.HasSuffix(env.Type, deadlineSuffix) {
			return env.ID
		}
		return deadlineID(env.CausationID)
	}
	return saga.OnAwaited(m, func(ctx context.Context, tx X, st *S, env *sixfold.Envelope, fx *saga.Effects) error {
		var o Outcome[C, R]
		if strings.HasSuffix(env.Type, deadlineSuffix) {
			var v verdict
			if err := json.Unmarshal(env.Body, &v); err != nil {
				return sixfold.Permanent(fmt.Errorf("durable: %.64q: %w: it names no request", env.Type, sixfold.ErrUndecodable))
			}
			o.Request, o.err = v.Request, ErrDeadline
			return h(ctx, tx, st, o, fx)
		}
		o.Request = env.CausationID
		var err error
		if o.err, err = s.read(env, &o.value); err != nil {
			return err
		}
		return h(ctx, tx, st, o, fx)
	})
}

// Asked is a request that a saga has begun with, or hears of, and answers now or later: a value for its state, kept as JSON. The zero value is
// a message that wants no reply.
type Asked[C sixfold.Message] struct {
	Request     string `json:"request,omitempty"`
	Name        string `json:"name,omitempty"`
	ReplyTo     string `json:"replyTo,omitempty"`
	Key         string `json:"key,omitempty"`
	Correlation string `json:"correlation,omitempty"`
}

// AskedIn answers the request at hand, whose message is m: ctx is that of the step's function. Its address for the reply is its sender's
// word, so an address that Options.Allow does not take is an error, by which the message becomes a dead letter.
func AskedIn[X any, C sixfold.Message](ctx context.Context, s *Service[X], m C) (Asked[C], error) {
	info := sixfold.InfoFrom(ctx)
	if info == nil || info.Envelope == nil {
		return Asked[C]{}, invalid("request %.64q: no message is at hand; pass the context of the step's function", m.MessageName())
	}
	env := info.Envelope
	if env.ReplyTo == "" {
		return Asked[C]{}, nil
	}
	if err := s.mayReply(env); err != nil {
		return Asked[C]{}, err
	}
	return Asked[C]{Request: env.ID, Name: env.Type, ReplyTo: env.ReplyTo, Key: env.Key, Correlation: env.CorrelationID}, nil
}

// ReplyFrom has a step of a saga answer a request, in this or a former step: what commits with the step is its one reply. A request that wants no
// reply gets none.
func ReplyFrom[C sixfold.Command[R], R any](fx *saga.Effects, to Asked[C], result R) {
	body, err := json.Marshal(result)
	if err != nil {
		fx.Refuse(fmt.Errorf("durable: answer %.64q: the result cannot be encoded: %w", to.Name, err))
		return
	}
	replyFrom(fx, to, encoded{to.Name + replySuffix, body})
}

// FaultFrom is ReplyFrom for a saga that has no answer: the requester is told a *request.Fault.
func FaultFrom[C sixfold.Message](fx *saga.Effects, to Asked[C], category request.Category) {
	replyFrom(fx, to, verdict{name: to.Name + faultSuffix, Request: to.Request, Category: string(request.KnownCategory(string(category)))})
}

func replyFrom[C sixfold.Message](fx *saga.Effects, to Asked[C], m sixfold.Message) {
	if to.ReplyTo == "" {
		return
	}
	opts := []outbox.Option{outbox.Topic(to.ReplyTo), outbox.Key(to.Key), outbox.Causation(to.Request)}
	if to.Correlation != "" {
		opts = append(opts, outbox.Correlation(to.Correlation))
	}
	fx.Reply(m, opts...)
}
