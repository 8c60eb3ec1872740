package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// CheckTopology says of every topic what the brokers have, and makes nothing: bus.There, bus.Missing, or bus.Differs with
// everything in which they differ. Partitions, copies and properties that are not declared are not looked at. Who may not
// see a topic's properties gets bus.Unknown where some are declared.
func (t *Transport) CheckTopology(ctx context.Context, topology *Topology) ([]bus.Part, error) {
	var parts []bus.Part
	for _, topic := range topology.Topics() {
		err := t.manage(ctx, func(ctx context.Context, c *kgo.Client) error {
			part, err := compare(ctx, c, topic)
			parts = append(parts, part)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("kafka: check the topology: topic %s: %w", driver.Quote(topic.Name), err)
		}
	}
	return parts, nil
}

func compare(ctx context.Context, c *kgo.Client, topic Topic) (bus.Part, error) {
	part := bus.Part{Name: "topic " + topic.Name, State: bus.There}
	found, err := lookUp(ctx, c, topic.Name)
	if errors.Is(err, bus.ErrUnroutable) {
		part.State = bus.Missing
		return part, nil
	}
	if err != nil {
		return part, err
	}
	var differs []string
	number := func(what string, want, have int) {
		if want > 0 && want != have {
			differs = append(differs, fmt.Sprintf("it has %d %s, declared are %d", have, what, want))
		}
	}
	number("partitions", topic.Partitions, len(found.leaders))
	number("copies", topic.Replication, found.replication)
	have, err := properties(ctx, c, topic)
	if err != nil {
		part.State, part.Text = bus.Unknown, "its properties cannot be seen: "+err.Error()
	}
	for _, k := range slices.Sorted(maps.Keys(topic.Config)) {
		if want := topic.Config[k]; err == nil && have[k] != want {
			differs = append(differs, fmt.Sprintf("its %s is %s, declared is %s", k, driver.Quote(have[k]), driver.Quote(want)))
		}
	}
	if len(differs) > 0 {
		part.State, part.Text = bus.Differs, strings.Join(differs, "; ")
	}
	return part, nil
}

// properties answers those of a topic, if any are declared.
func properties(ctx context.Context, c *kgo.Client, topic Topic) (map[string]string, error) {
	if len(topic.Config) == 0 {
		return nil, nil
	}
	configs, err := kadm.NewClient(c).DescribeTopicConfigs(ctx, topic.Name)
	if err != nil {
		return nil, classify(err)
	}
	config, err := configs.On(topic.Name, nil)
	if err = errors.Join(err, config.Err); err != nil {
		return nil, classify(err)
	}
	have := make(map[string]string, len(config.Configs))
	for _, entry := range config.Configs {
		have[entry.Key] = entry.MaybeValue()
	}
	return have, nil
}
