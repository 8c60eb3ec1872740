package cli

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// sqsTopology is what a topology file says for SQS and SNS alone. Names are those at AWS.
type sqsTopology struct {
	Queues []struct {
		Name        string            `toml:"name"`
		Retention   duration          `toml:"retention"`
		DeadQueue   string            `toml:"dead_queue"`
		MaxReceives int               `toml:"max_receives"`
		Existing    bool              `toml:"existing"`
		Attributes  map[string]string `toml:"attributes"`
		Tags        map[string]string `toml:"tags"`
	} `toml:"queue"`
	Topics []struct {
		Name       string            `toml:"name"`
		Existing   bool              `toml:"existing"`
		Attributes map[string]string `toml:"attributes"`
		Tags       map[string]string `toml:"tags"`
	} `toml:"topic"`
	Subscriptions []struct {
		Topic      string            `toml:"topic"`
		Queue      string            `toml:"queue"`
		Attributes map[string]string `toml:"attributes"`
	} `toml:"subscription"`
}

// typed is the driver's topology.
func (t *sqsTopology) typed() (*sqs.Topology, error) {
	var parts []sqs.Part
	for _, q := range t.Queues {
		parts = append(parts, sqs.Queue{Name: q.Name, Retention: time.Duration(q.Retention), DeadQueue: q.DeadQueue, MaxReceives: q.MaxReceives, Existing: q.Existing, Attributes: q.Attributes, Tags: q.Tags})
	}
	for _, o := range t.Topics {
		parts = append(parts, sqs.Topic{Name: o.Name, Existing: o.Existing, Attributes: o.Attributes, Tags: o.Tags})
	}
	for _, s := range t.Subscriptions {
		parts = append(parts, sqs.Subscription{Topic: s.Topic, Queue: s.Queue, Attributes: s.Attributes})
	}
	return sqs.NewTopology(parts...)
}

// check implements section.
func (t *sqsTopology) check([]topic) error {
	_, err := t.typed()
	return err
}

// compare implements broker: what groups consist of, and what the file has below sqs.
func (b *sqsBroker) compare(ctx context.Context, t *topology) ([]bus.Part, error) {
	own, err := t.SQS.typed()
	if err != nil {
		return nil, err
	}
	of, err := b.t.Describe(nil, t.groups()...)
	if err != nil {
		return nil, err
	}
	var parts []bus.Part
	for _, some := range []*sqs.Topology{of, own} {
		if len(some.Parts()) == 0 {
			continue
		}
		found, err := b.t.CheckTopology(ctx, some)
		if err != nil {
			return nil, b.failed("compare the topology", err)
		}
		parts = append(parts, found...)
	}
	return parts, nil
}

// complete implements broker.
func (b *sqsBroker) complete(ctx context.Context, t *topology) error {
	own, err := t.SQS.typed()
	if err != nil {
		return err
	}
	if err := b.maker.DeclareGroups(ctx, t.groups()...); err != nil {
		return b.failed("make what groups consist of", err)
	}
	if len(own.Parts()) == 0 {
		return nil
	}
	if err := b.maker.DeclareTopology(ctx, own); err != nil {
		return b.failed("make the topology", err)
	}
	return nil
}
