package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"maps"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// bindAll is the key of a group's binding: a topic exchange takes it for everything, a fanout for nothing special.
const bindAll = "#"

// Declare makes the exchanges of topics, and those of their dead letters (bus.DeadSuffix) with a queue that keeps them,
// where they are not there; exchanges that are there are used as they are. With Options.Require it creates nothing, and
// fails for a topic without an exchange. A topic has no place for messages before a group has subscribed, or a queue was bound
// by hand. Errors wrap those of package bus and name every topic that failed.
func (t *Transport) Declare(ctx context.Context, topics ...string) error {
	var errs []error
	for _, topic := range topics {
		if err := t.declare(ctx, topic); err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: declare %s: %w", driver.Quote(topic), err))
		}
	}
	return errors.Join(errs...)
}

// DeclareTopology makes what is not there, and fails with bus.ErrRefused where something has other properties. With
// Options.Require it only looks for exchanges and queues.
func (t *Transport) DeclareTopology(ctx context.Context, topology *Topology) error {
	err := t.manage(ctx, func(l *link) error {
		var errs []error
		for _, part := range topology.Parts() {
			if err := l.on(func(ch *amqp.Channel) error { return t.declarePart(ch, part) }); err != nil {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("rabbitmq: declare the topology: %w", err)
	}
	return nil
}

// DeclareGroups makes the topics, queues and bindings of groups, as their first members would, so that messages wait for them.
func (t *Transport) DeclareGroups(ctx context.Context, groups ...bus.Subscription) error {
	var errs []error
	for _, sub := range groups {
		if err := t.declareGroup(ctx, sub); err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: declare group %s: %w", driver.Quote(sub.Group), err))
		}
	}
	return errors.Join(errs...)
}

// GroupQueues answers the queues of a group, one for each of its topics in their order, as DeclareGroups makes them.
func (t *Transport) GroupQueues(sub bus.Subscription) ([]Queue, error) {
	qs := make([]Queue, len(sub.Topics))
	for i, topic := range sub.Topics {
		q, err := t.queueOf(topic, sub.Group, sub.Ordered)
		if err != nil {
			return nil, fmt.Errorf("rabbitmq: group %s: topic %s: %w", driver.Quote(sub.Group), driver.Quote(topic), err)
		}
		qs[i] = q
	}
	return qs, nil
}

// manage runs requests on the connection for them.
func (t *Transport) manage(ctx context.Context, f func(l *link) error) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	l, err := t.controlLink(ctx)
	if err != nil {
		return err
	}
	return l.asking(ctx, func() error { return f(l) })
}

// declareOptions declares Options.Topology and Options.Topics, once.
func (t *Transport) declareOptions(ctx context.Context) error {
	t.mu.Lock()
	done := t.declared
	t.mu.Unlock()
	if done {
		return nil
	}
	if t.o.Topology != nil {
		if err := t.DeclareTopology(ctx, t.o.Topology); err != nil {
			return err
		}
	}
	if err := t.Declare(ctx, t.o.Topics...); err != nil {
		return err
	}
	if err := t.DeclareGroups(ctx, t.o.Groups...); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.declared = true
	return nil
}

// declareGroup makes what a member would make.
func (t *Transport) declareGroup(ctx context.Context, sub bus.Subscription) error {
	for _, topic := range sub.Topics {
		if err := t.declare(ctx, topic); err != nil {
			return fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
		q, err := t.queueOf(topic, sub.Group, sub.Ordered)
		if err == nil {
			err = t.manage(ctx, func(l *link) error { return t.bindQueue(l, topic, q) })
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
	}
	return nil
}

// bindQueue makes a queue where it is not there, and binds it to its topic.
func (t *Transport) bindQueue(l *link, topic string, q Queue) error {
	return l.on(func(ch *amqp.Channel) error {
		if err := t.declarePart(ch, q); err != nil {
			return err
		}
		return t.declarePart(ch, Binding{From: topic, To: q.Name, Key: bindAll})
	})
}

func (t *Transport) declare(ctx context.Context, topic string) error {
	if err := t.declareExchange(ctx, topic); err != nil {
		return err
	}
	dead := topic + bus.DeadSuffix
	err := t.declareExchange(ctx, dead)
	if err != nil && t.o.Require {
		t.o.Logger.Warn("rabbitmq: there is no exchange for dead letters; messages that cannot be handled will block", "topic", dead)
		return nil
	}
	if err == nil && !t.o.Require {
		err = t.declareDeadQueue(ctx, dead)
	}
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

// declareExchange makes the exchange of a topic where it is not there.
func (t *Transport) declareExchange(ctx context.Context, topic string) error {
	err := t.route(ctx, topic)
	if errors.Is(err, bus.ErrUnroutable) { // perhaps by a look that is a moment old
		t.routes.Forget(topic)
		err = t.route(ctx, topic)
	}
	if !errors.Is(err, bus.ErrUnroutable) {
		return err
	}
	e := Exchange{Name: topic}
	if t.o.Exchange != nil {
		t.o.Exchange(topic, &e)
	}
	if t.o.Require {
		return fmt.Errorf("%w: there is no exchange %s, and Options.Require forbids to create one; declare it, durable and of the kind fanout", bus.ErrRefused, driver.Quote(topic))
	}
	if e.Name != topic {
		return fmt.Errorf("%w: Options.Exchange changed the name to %s; leave it", bus.ErrRefused, driver.Quote(e.Name))
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: Options.Exchange: %w", bus.ErrRefused, err)
	}
	defer t.routes.Forget(topic)
	return t.manage(ctx, func(l *link) error {
		return l.on(func(ch *amqp.Channel) error { return t.declarePart(ch, e) })
	})
}

// declareDeadQueue makes the queue in which dead letters wait for people.
func (t *Transport) declareDeadQueue(ctx context.Context, dead string) error {
	q, err := t.queueOf(dead, "", false)
	if err != nil {
		return err
	}
	return t.manage(ctx, func(l *link) error { return t.bindQueue(l, dead, q) })
}

// queueOf describes the queue of a group, or that of a dead topic.
func (t *Transport) queueOf(topic, group string, ordered bool) (Queue, error) {
	q := Queue{Name: queueName(topic, group), Classic: t.o.Classic, SingleActive: ordered}
	if group == "" {
		q.Name = topic
	}
	if !q.Classic {
		q.DeliveryLimit = t.o.DeliveryLimit
	}
	if t.o.Queue != nil {
		t.o.Queue(topic, group, &q)
	}
	err := q.check()
	switch {
	case err == nil && q.SingleActive != ordered:
		err = errors.New("it changed SingleActive; leave it to the subscription's Ordered")
	case err == nil && q.refuses() && !t.o.OnePerKey:
		err = errors.New("the queue refuses messages when it is full, and can take the next one; set OnePerKey too")
	}
	if err != nil {
		return q, fmt.Errorf("%w: Options.Queue: queue %s: %w", bus.ErrRefused, driver.Quote(q.Name), err)
	}
	return q, nil
}

// declarePart makes one part, or looks for it. An error of the node's closes the channel.
func (t *Transport) declarePart(ch *amqp.Channel, p Part) error {
	var err error
	var what string
	switch p := p.(type) {
	case Exchange:
		what = "exchange " + driver.Quote(p.Name)
		if p.Kind == "" {
			p.Kind = "fanout"
		}
		if p.Existing || t.o.Require {
			err = ch.ExchangeDeclarePassive(p.Name, p.Kind, !p.Transient, p.AutoDelete, p.Internal, false, p.Args)
		} else {
			err = ch.ExchangeDeclare(p.Name, p.Kind, !p.Transient, p.AutoDelete, p.Internal, false, p.Args)
		}
	case Queue:
		what = "queue " + driver.Quote(p.Name)
		if p.Existing || t.o.Require {
			_, err = ch.QueueDeclarePassive(p.Name, !p.Transient, p.AutoDelete, false, false, p.arguments())
		} else {
			_, err = ch.QueueDeclare(p.Name, !p.Transient, p.AutoDelete, false, false, p.arguments())
		}
	case Binding:
		what = "binding from " + driver.Quote(p.From) + " to " + driver.Quote(p.To+p.ToExchange)
		switch {
		case t.o.Require: // bindings cannot be looked for
		case p.ToExchange != "":
			err = ch.ExchangeBind(p.ToExchange, p.Key, p.From, false, p.Args)
		default:
			err = ch.QueueBind(p.To, p.Key, p.From, false, p.Args)
		}
	}
	if code := codeOf(err); code == amqp.NotFound && t.o.Require {
		return fmt.Errorf("%w: %s is not there, and Options.Require forbids to create it; declare it: %w", bus.ErrRefused, what, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, classify(err))
	}
	return nil
}

// arguments are those of the queue's declaration.
func (q Queue) arguments() amqp.Table {
	args := maps.Clone(q.Args)
	if args == nil {
		args = amqp.Table{}
	}
	if q.SingleActive {
		args["x-single-active-consumer"] = true
	}
	if q.Classic {
		args["x-queue-type"] = "classic"
		return args
	}
	args["x-queue-type"] = "quorum"
	limit := q.DeliveryLimit
	if limit == 0 {
		limit = 1_000_000
	}
	args["x-delivery-limit"] = int64(limit)
	return args
}
