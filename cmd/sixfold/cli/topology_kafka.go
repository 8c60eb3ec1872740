package cli

import (
	"context"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// kafkaTopology is what a topology file says for Kafka alone.
type kafkaTopology struct {
	Topics []struct {
		Name        string            `toml:"name"`
		Partitions  int               `toml:"partitions"`
		Replication int               `toml:"replication"`
		Config      map[string]string `toml:"config"`
	} `toml:"topic"`
}

// typed is the driver's topology, with the topics that say how they should be: their lanes are partitions.
func (t *kafkaTopology) typed(topics []topic) (*kafka.Topology, error) {
	var all []kafka.Topic
	for _, x := range topics {
		if x.Lanes > 0 || x.Replicas > 0 {
			all = append(all, kafka.Topic{Name: x.Name, Partitions: x.Lanes, Replication: x.Replicas})
		}
	}
	for _, x := range t.Topics {
		all = append(all, kafka.Topic{Name: x.Name, Partitions: x.Partitions, Replication: x.Replication, Config: x.Config})
	}
	return kafka.NewTopology(all...)
}

// check implements section.
func (t *kafkaTopology) check(topics []topic) error {
	_, err := t.typed(topics)
	return err
}

// compare implements broker. Groups need nothing before their first members come: a topic keeps its messages for all of them.
func (b *kafkaBroker) compare(ctx context.Context, t *topology) ([]bus.Part, error) {
	own, err := t.Kafka.typed(t.Topics)
	if err != nil {
		return nil, err
	}
	if len(own.Topics()) == 0 {
		return nil, nil
	}
	parts, err := b.t.CheckTopology(ctx, own)
	if err != nil {
		return nil, b.failed("compare the topology", err)
	}
	return parts, nil
}

// complete implements broker.
func (b *kafkaBroker) complete(ctx context.Context, t *topology) error {
	own, err := t.Kafka.typed(nil) // the other topics are made by declare
	if err != nil || len(own.Topics()) == 0 {
		return err
	}
	maker, err := kafka.New(b.url, nil)
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	if err := maker.DeclareTopology(ctx, own); err != nil {
		return b.failed("make the topology", err)
	}
	return nil
}
