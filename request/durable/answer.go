package durable

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Answer makes a route of a function that answers a request in the transaction of its effect: the record that the request was
// handled, what the function writes and the reply commit together, so each request takes effect and is answered once. A request
// that asks for no reply is handled as well.
//
// What the function answers is the reply, also where the business refuses (request.Result). An error that trying again would not
// change, since it is sixfold.Permanent or marked with request.Fail, rolls the function's writes back, and the reply is a fault; so
// is that of a request whose body cannot be decoded. Any other error is tried again as the consumer's policy says, and
// becomes a dead letter in the end, of which the requester hears by its deadline only: redrive it, and it is answered.
func Answer[X any, C sixfold.Command[R], R any](s *Service[X], h func(ctx context.Context, tx X, c C) (R, error)) sixfold.Route {
	route := sixfold.RouteOf[C]()
	if s == nil {
		return route.Refuse(invalid("route %s: the service is nil; make one with durable.New, and look at its error", route.Name))
	}
	if h == nil {
		return route.Refuse(invalid("route %s: the handler is nil; pass a func(context.Context, %s, %s) (%s, error)", route.Name, reflect.TypeFor[X](), reflect.TypeFor[C](), reflect.TypeFor[R]()))
	}
	return inbox.OnEnvelope(s.box, route, func(ctx context.Context, x X, env *sixfold.Envelope) error {
		if err := s.mayReply(env); err != nil {
			return err
		}
		tx := s.box.Tx(x)
		err := tx.Savepoint(ctx, func(sqltx.Tx) error {
			c, err := sixfold.Decode[C](ctx, env)
			if err != nil {
				return err
			}
			result, err := h(ctx, x, c)
			if err != nil || env.ReplyTo == "" {
				return err
			}
			return s.reply(ctx, tx, env, result)
		})
		if err == nil || env.ReplyTo == "" {
			return err
		}
		category, final := request.Decided(ctx, err)
		if !final {
			return err
		}
		s.o.Logger.Error("durable: a request failed, and is answered with a fault", "message", env.Type, "request", env.ID, "category", string(category), "err", err)
		return s.publish(ctx, tx, env, verdict{name: env.Type + faultSuffix, Request: env.ID, Category: string(category)})
	})
}

// mayReply refuses a request whose address for the reply is no topic for replies.
func (s *Service[X]) mayReply(env *sixfold.Envelope) error {
	if env.ReplyTo == "" || s.o.Allow(env.ReplyTo) && sixfold.CheckTopic(env.ReplyTo) == nil {
		return nil
	}
	return sixfold.Permanent(fmt.Errorf("durable: request %.64q: its address for the reply, %.64q, is no topic for replies; let it end with %q, or set Options.Allow", env.ID, env.ReplyTo, Suffix))
}

// reply publishes an answer.
func (s *Service[X]) reply(ctx context.Context, tx sqltx.Tx, asked *sixfold.Envelope, result any) error {
	body, err := json.Marshal(result)
	if err != nil {
		return request.Fail(request.Internal, fmt.Errorf("durable: answer %.64q: the result cannot be encoded: %w", asked.Type, err))
	}
	err = s.publish(ctx, tx, asked, encoded{asked.Type + replySuffix, body})
	if err != nil && isInvalid(err) { // for example too large; the same the next time
		return request.Fail(request.Internal, err)
	}
	return err
}

// publish sends m to where asked wants the reply. The reply's cause is the request, by which its requester knows it.
func (s *Service[X]) publish(ctx context.Context, tx sqltx.Tx, asked *sixfold.Envelope, m sixfold.Message) error {
	if _, err := s.ob.Publish(ctx, tx, m, outbox.Topic(asked.ReplyTo), outbox.Key(asked.Key)); err != nil {
		return fmt.Errorf("durable: answer %.64q: %w", asked.Type, err)
	}
	return nil
}

// encoded is an answer as a message.
type encoded struct {
	name string
	body json.RawMessage
}

// MessageName implements sixfold.Message.
func (e encoded) MessageName() string { return e.name }

// MarshalJSON implements json.Marshaler.
func (e encoded) MarshalJSON() ([]byte, error) { return e.body, nil }
