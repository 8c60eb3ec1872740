package cli

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// rabbitTopology is what a topology file says for RabbitMQ alone.
type rabbitTopology struct {
	Exchanges []struct {
		Name       string         `toml:"name"`
		Kind       string         `toml:"kind"`
		Transient  bool           `toml:"transient"`
		AutoDelete bool           `toml:"auto_delete"`
		Internal   bool           `toml:"internal"`
		Existing   bool           `toml:"existing"`
		Args       map[string]any `toml:"args"`
	} `toml:"exchange"`
	Queues []struct {
		Name          string         `toml:"name"`
		Classic       bool           `toml:"classic"`
		Transient     bool           `toml:"transient"`
		AutoDelete    bool           `toml:"auto_delete"`
		SingleActive  bool           `toml:"single_active"`
		DeliveryLimit int            `toml:"delivery_limit"`
		Existing      bool           `toml:"existing"`
		Args          map[string]any `toml:"args"`
	} `toml:"queue"`
	Bindings []struct {
		From       string         `toml:"from"`
		To         string         `toml:"to"`
		ToExchange string         `toml:"to_exchange"`
		Key        string         `toml:"key"`
		Args       map[string]any `toml:"args"`
	} `toml:"binding"`
}

// typed is the driver's topology.
func (t *rabbitTopology) typed() (*rabbitmq.Topology, error) {
	var parts []rabbitmq.Part
	for _, e := range t.Exchanges {
		parts = append(parts, rabbitmq.Exchange{Name: e.Name, Kind: e.Kind, Transient: e.Transient, AutoDelete: e.AutoDelete, Internal: e.Internal, Existing: e.Existing, Args: amqp.Table(e.Args)})
	}
	for _, q := range t.Queues {
		parts = append(parts, rabbitmq.Queue{Name: q.Name, Classic: q.Classic, Transient: q.Transient, AutoDelete: q.AutoDelete, SingleActive: q.SingleActive, DeliveryLimit: q.DeliveryLimit, Existing: q.Existing, Args: amqp.Table(q.Args)})
	}
	for _, b := range t.Bindings {
		parts = append(parts, rabbitmq.Binding{From: b.From, To: b.To, ToExchange: b.ToExchange, Key: b.Key, Args: amqp.Table(b.Args)})
	}
	return rabbitmq.NewTopology(parts...)
}

// check implements section.
func (t *rabbitTopology) check([]topic) error {
	_, err := t.typed()
	return err
}

// compare implements broker: the queues of groups, and what the file has below rabbitmq.
func (b *rabbitBroker) compare(ctx context.Context, t *topology) ([]bus.Part, error) {
	var parts []bus.Part
	for _, sub := range t.groups() {
		qs, err := b.t.GroupQueues(sub)
		if err != nil {
			return parts, err
		}
		of, err := rabbitmq.NewTopology(qs[0])
		if err != nil {
			return parts, err
		}
		found, err := b.t.CheckTopology(ctx, of)
		if err != nil {
			return parts, b.failed("look at queue "+quote(qs[0].Name), err)
		}
		parts = append(parts, found...)
	}
	own, err := t.RabbitMQ.typed()
	if err != nil {
		return parts, err
	}
	found, err := b.t.CheckTopology(ctx, own)
	if err != nil {
		return parts, b.failed("compare the topology", err)
	}
	return append(parts, found...), nil
}

// complete implements broker.
func (b *rabbitBroker) complete(ctx context.Context, t *topology) error {
	maker, err := rabbitmq.NewConn(b.conn, nil)
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	own, err := t.RabbitMQ.typed()
	if err != nil {
		return err
	}
	found, err := maker.CheckTopology(ctx, own)
	if err != nil {
		return b.failed("compare the topology", err)
	}
	var parts []rabbitmq.Part
	for i, p := range own.Parts() {
		if found[i].State == bus.Differs { // it is left alone, and its bindings still need it
			switch old := p.(type) {
			case rabbitmq.Exchange:
				p = rabbitmq.Exchange{Name: old.Name, Kind: old.Kind, Existing: true}
			case rabbitmq.Queue:
				p = rabbitmq.Queue{Name: old.Name, Existing: true}
			}
		}
		parts = append(parts, p)
	}
	rest, err := rabbitmq.NewTopology(parts...)
	if err == nil {
		err = maker.DeclareTopology(ctx, rest)
	}
	// The queue of a group that differs is refused by the node, and reported by compare.
	if groups := maker.DeclareGroups(ctx, t.groups()...); err == nil && !errors.Is(groups, bus.ErrRefused) {
		err = groups
	}
	if err != nil {
		return b.failed("make the topology", err)
	}
	return nil
}
