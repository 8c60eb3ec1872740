package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// kafkaBroker is Kafka, whose topics keep what was read.
type kafkaBroker struct {
	t     *kafka.Transport
	url   string
	where string
}

func (a *app) openKafka(ctx context.Context, url string) (broker, error) {
	_, hosts, _ := strings.Cut(url, "://")
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		hosts = hosts[i+1:]
	}
	hosts, _, _ = strings.Cut(hosts, "?")
	b := &kafkaBroker{url: url, where: strings.TrimSuffix(hosts, "/")}
	var err error
	if b.t, err = kafka.New(url, &kafka.Options{Require: true}); err != nil { // which never shows the address
		return nil, usage("the URL of the broker cannot be used: "+safe(err.Error()), "write kafka://host:9092, or kafka://user:password@host:9093?tls=true&sasl=scram-sha-512")
	}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err = b.t.Ping(limited)
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, bus.ErrRefused):
		err = cannotConnect("Kafka at "+b.where+" refused: "+safe(err.Error()), "look at user, password, mechanism (sasl=) and TLS (tls=true) of the URL")
	default:
		err = cannotConnect("Kafka at "+b.where+" cannot be reached: "+safe(err.Error()), "look at host and port of the URL, and whether the brokers' advertised addresses are reached from here")
	}
	b.close()
	return nil, err
}

func (b *kafkaBroker) transport() bus.Transport { return b.t }

func (b *kafkaBroker) close() { _ = b.t.Close(context.Background()) }

func (b *kafkaBroker) check(ctx context.Context) (text, fix string, err error) {
	err = b.on(ctx, "list its brokers", func(c *kgo.Client) error {
		brokers, err := kadm.NewClient(c).ListBrokers(ctx)
		text = fmt.Sprintf("Kafka at %s, %d brokers", b.where, len(brokers))
		return err
	})
	return text, "", err
}

func (b *kafkaBroker) failed(what string, err error) error {
	return failedWith("Kafka at "+b.where+" could not "+what+": "+safe(err.Error()), "look at the rights of the user, and at the log of the brokers")
}

// on runs fn with a client of franz-go's.
func (b *kafkaBroker) on(ctx context.Context, what string, fn func(c *kgo.Client) error, opts ...kgo.Opt) error {
	c, err := b.t.Client(opts...)
	if err == nil {
		defer c.Close()
		err = fn(c)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return b.failed(what, err)
	}
	return nil
}

func (b *kafkaBroker) find(ctx context.Context, topic string) (text string, err error) {
	err = b.on(ctx, "look for topic "+quote(topic), func(c *kgo.Client) error {
		topics, err := kadm.NewClient(c).ListTopics(ctx, topic)
		if err == nil && topics.Has(topic) {
			text = fmt.Sprintf("topic %s with %d partitions", topic, len(topics[topic].Partitions))
		}
		return err
	})
	return text, err
}

func (b *kafkaBroker) declare(ctx context.Context, t topic) error {
	if t.Dedup != 0 {
		return usage("topic "+quote(t.Name)+" has dedup, which Kafka has not", "leave it out")
	}
	maker, err := kafka.New(b.url, &kafka.Options{Partitions: t.Lanes, Replication: t.Replicas})
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	return maker.Declare(ctx, t.Name)
}

func (b *kafkaBroker) peekCost() string {
	return "Kafka: nothing was changed, no group's position moved. What was read and is still kept is shown too."
}

// peek reads from where the topic begins now, one partition after the other.
func (b *kafkaBroker) peek(ctx context.Context, topic string, most int) (list []peeked, total uint64, err error) {
	parts := map[int32]kgo.Offset{}
	ends := map[int32]int64{}
	err = b.on(ctx, "look at topic "+quote(topic), func(c *kgo.Client) error {
		admin := kadm.NewClient(c)
		first, err := admin.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		last, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		if err := errors.Join(first.Error(), last.Error()); err != nil {
			return err
		}
		first.Each(func(o kadm.ListedOffset) {
			end, _ := last.Lookup(topic, o.Partition)
			if n := end.Offset - o.Offset; n > 0 {
				total += uint64(n)
				parts[o.Partition], ends[o.Partition] = kgo.NewOffset().At(o.Offset), end.Offset
			}
		})
		return nil
	})
	if err != nil || len(parts) == 0 || most < 1 {
		return nil, total, err
	}
	err = b.on(ctx, "show messages of "+quote(topic), func(c *kgo.Client) error {
		binding := cloudevents.Kafka()
		for len(list) < most && len(ends) > 0 {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				end, open := ends[r.Partition]
				if open && r.Offset+1 >= end {
					delete(ends, r.Partition)
				}
				if !open || len(list) >= most || r.Attrs.IsControl() {
					return
				}
				p := peeked{at: fmt.Sprintf("%s/%d/%d", topic, r.Partition, r.Offset)}
				p.damaged = binding.Read(&p.env, headersOf(r), r.Value)
				list = append(list, p)
			})
		}
		return nil
	}, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: parts}), kgo.KeepControlRecords()) // whose ends may be controls
	return list, total, err
}

func (b *kafkaBroker) purge(context.Context, string) (uint64, error) {
	return 0, refused("Kafka keeps messages for all groups, and purging would take them from each of them", "set retention.ms of the topic for a while, or move a group with kafka-consumer-groups.sh --reset-offsets")
}
