package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/schedule"
)

// ErrDeadline is the outcome of a request whose deadline passed before a reply was handled. It is not known whether its handler ran.
var ErrDeadline = errors.New("durable: the deadline passed before a reply came; it is not known whether the handler ran, and the reply may still come")

func isInvalid(err error) bool { return errors.Is(err, sixfold.ErrInvalid) }

// An Outcome is what came of a request C: its answer R, a fault, or that the deadline passed.
type Outcome[C sixfold.Command[R], R any] struct {
	// Request is the id that Ask answered.
	Request string
	// Late says that the deadline had been told before this reply came.
	Late bool

	value R
	err   error
}

// Value answers the answer; or a *request.Fault, where the responder has none; or ErrDeadline.
func (o Outcome[C, R]) Value() (R, error) { return o.value, o.err }

// On makes the route by which the outcomes of requests of the type C come to their requester, in the transaction of its inbox.
// For each request the handler is told of the reply or the fault, whenever it comes, once; and, where the request has a deadline
// that passed before, of that, once, and first. What is told twice by others is dropped. An answer without a
// cause, which belongs to no request, and one that does not fit R become dead letters.
//
// What is known of a request is kept as long as the inbox remembers: a second reply that comes after its Retention is told.
func On[X any, C sixfold.Command[R], R any](s *Service[X], h func(ctx context.Context, tx X, o Outcome[C, R]) error) sixfold.Route {
	route, err := outcomesOf[C]()
	if err != nil {
		return route.Refuse(err)
	}
	if s == nil {
		return route.Refuse(invalid("route %s: the service is nil; make one with durable.New, and look at its error", route.Name))
	}
	if h == nil {
		return route.Refuse(invalid("route %s: the handler is nil; pass a func(context.Context, %s, %s) error", route.Name, reflect.TypeFor[X](), reflect.TypeFor[Outcome[C, R]]()))
	}
	return inbox.OnEnvelope(s.box, route, func(ctx context.Context, x X, env *sixfold.Envelope) error {
		var o Outcome[C, R]
		var tell bool
		var err error
		if strings.HasSuffix(env.Type, deadlineSuffix) {
			o.Request, tell, err = s.deadline(ctx, x, env)
			o.err = ErrDeadline
		} else {
			o.Request = env.CausationID
			o.Late, tell, err = s.replied(ctx, x, env)
		}
		if err != nil || !tell {
			return err
		}
		if o.err == nil {
			if o.err, err = s.read(env, &o.value); err != nil {
				return err
			}
		}
		return h(ctx, x, o)
	})
}

// outcomesOf is a route for the outcomes of a request, without a handler, and what is wrong with the request.
func outcomesOf[C sixfold.Message]() (sixfold.Route, error) {
	of := sixfold.RouteOf[C]()
	route := sixfold.Route{Name: of.Name + replySuffix, Former: []string{of.Name + faultSuffix, of.Name + deadlineSuffix}}
	for _, name := range of.Former {
		route.Former = append(route.Former, name+replySuffix, name+faultSuffix, name+deadlineSuffix)
	}
	of.Handle = func(context.Context, *sixfold.Envelope) error { return nil } // it is not the route that is asked about
	return route, of.Err()
}

// withSuffix is a route with those of its names that have a suffix.
func withSuffix(r sixfold.Route, suffix string) sixfold.Route {
	names := slices.DeleteFunc(append([]string{r.Name}, r.Former...), func(name string) bool { return !strings.HasSuffix(name, suffix) })
	return sixfold.Route{Name: names[0], Former: names[1:]}
}

// deadline reports whether the passing of a deadline is to be told: unless a reply was first.
func (s *Service[X]) deadline(ctx context.Context, x X, env *sixfold.Envelope) (id string, tell bool, err error) {
	var v verdict
	if err := json.Unmarshal(env.Body, &v); err != nil || v.Request == "" {
		return "", false, sixfold.Permanent(fmt.Errorf("durable: %.64q: %w: it names no request", env.Type, sixfold.ErrUndecodable))
	}
	tell, err = s.box.Mark(ctx, x, deadlineMark+v.Request)
	return v.Request, tell, err
}

// The marks of a request. The first who enters deadlineMark decides whether its deadline is told, or did not pass.
const (
	deadlineMark = "durable.deadline\x00"
	replyMark    = "durable.reply\x00"
)

// replied reports whether a reply is to be told, and whether it is late. The deadline of one that is not is called off.
func (s *Service[X]) replied(ctx context.Context, x X, env *sixfold.Envelope) (late, tell bool, err error) {
	id := env.CausationID
	if id == "" {
		return false, false, sixfold.Permanent(fmt.Errorf("durable: %.64q: %w: it has no causation id, so it answers nothing; let the responder set it to the id of the request", env.Type, sixfold.ErrUndecodable))
	}
	if tell, err = s.box.Mark(ctx, x, replyMark+id); err != nil {
		return false, false, err
	}
	if !tell {
		s.o.Logger.Warn("durable: a request was answered again, which is dropped", "message", env.Type, "request", id)
		return false, false, nil
	}
	inTime, err := s.box.Mark(ctx, x, deadlineMark+id)
	if err != nil || !inTime || s.o.Scheduler == nil {
		return !inTime, true, err
	}
	err = s.o.Scheduler.Cancel(ctx, s.box.Tx(x), deadlineID(id))
	if errors.Is(err, schedule.ErrUnknown) || errors.Is(err, schedule.ErrPromoted) { // it had none, or will find the mark
		err = nil
	}
	return false, true, err
}

// read makes the answer of a reply, or the fault.
func (s *Service[X]) read(env *sixfold.Envelope, value any) (fault, err error) {
	if name, ok := strings.CutSuffix(env.Type, faultSuffix); ok {
		var v verdict
		if err := json.Unmarshal(env.Body, &v); err != nil {
			return nil, sixfold.Permanent(fmt.Errorf("durable: %.64q: %w: its body is no fault", env.Type, sixfold.ErrUndecodable))
		}
		return &request.Fault{Category: request.KnownCategory(v.Category), Request: env.CausationID, Message: name}, nil
	}
	if err := sixfold.JSON.Unmarshal(env.Body, value); err != nil {
		return nil, sixfold.Permanent(fmt.Errorf("durable: %.64q: %w: %w", env.Type, sixfold.ErrUndecodable, err))
	}
	return nil, nil
}
