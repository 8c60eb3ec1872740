package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
)

// defaultMaxMessage is max.message.bytes where the brokers do not say: Kafka's own default.
const defaultMaxMessage = 1048588

// place is what a topic has at the brokers.
type place struct {
	leaders     []int32 // by partition; -1: none now
	replication int
	maxMessage  int  // bytes of a batch of records
	compacted   bool // each message needs a key
}

// same reports whether messages go where they went before.
func (p *place) same(q *place) bool { return slices.Equal(p.leaders, q.leaders) }

// lookUp asks for a topic's partitions; never makes it. It answers bus.ErrUnroutable for one that is not there.
func lookUp(ctx context.Context, c *kgo.Client, topic string) (*place, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, c)
	if err != nil {
		return nil, classify(err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("%w: the broker said nothing about the topic", bus.ErrUnavailable)
	}
	found := resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil && !errors.Is(err, kerr.LeaderNotAvailable) {
		return nil, classify(err)
	}
	slices.SortFunc(found.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	p := &place{maxMessage: defaultMaxMessage}
	for i, part := range found.Partitions {
		if int(part.Partition) != i {
			return nil, fmt.Errorf("%w: the broker does not know partition %d of the topic yet", bus.ErrUnavailable, i)
		}
		p.leaders = append(p.leaders, part.Leader)
		p.replication = len(part.Replicas)
	}
	if len(p.leaders) == 0 {
		return nil, fmt.Errorf("%w: the topic has no partitions yet", bus.ErrUnavailable)
	}
	return p, nil
}

// limits adds what the topic's configuration says. Who may not see it gets Kafka's defaults.
func (p *place) limits(ctx context.Context, c *kgo.Client, topic string) {
	configs, err := kadm.NewClient(c).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return
	}
	config, err := configs.On(topic, nil)
	if err != nil || config.Err != nil {
		return
	}
	for _, entry := range config.Configs {
		switch entry.Key {
		case "max.message.bytes":
			if n, err := strconv.Atoi(entry.MaybeValue()); err == nil && n > 0 {
				p.maxMessage = n
			}
		case "cleanup.policy":
			p.compacted = strings.Contains(entry.MaybeValue(), "compact")
		}
	}
}
