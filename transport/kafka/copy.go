package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitionsEvery is how often a copy looks for new partitions.
const partitionsEvery = 30 * time.Second

// copyOptions are those of a subscription without a group: every partition, from where it ends now. It stays with a copy over
// connections, so nothing is missed while the brokers are away.
func (ses *session) copyOptions(ctx context.Context, opts []kgo.Opt) ([]kgo.Opt, error) {
	s := ses.s
	parts := make(map[string]map[int32]kgo.Offset)
	err := s.t.manage(ctx, func(ctx context.Context, c *kgo.Client) error {
		ends, err := kadm.NewClient(c).ListEndOffsets(ctx, s.sub.Topics...)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return classify(err)
		}
		ends.Each(func(o kadm.ListedOffset) {
			if parts[o.Topic] == nil {
				parts[o.Topic] = make(map[int32]kgo.Offset)
			}
			parts[o.Topic][o.Partition] = kgo.NewOffset().At(o.Offset)
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ps := range parts {
		for p := range ps {
			s.feeds = append(s.feeds, s.newFeed(topic, p))
		}
	}
	ses.wg.Go(ses.grow)
	return append(opts, kgo.ConsumePartitions(parts)), nil
}

// grow takes up partitions that were added since.
func (ses *session) grow() {
	s := ses.s
	tick := time.NewTicker(partitionsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ses.lost:
			return
		}
		added := make(map[string]map[int32]kgo.Offset)
		_ = s.t.manage(context.Background(), func(ctx context.Context, c *kgo.Client) error { // what failed is asked again
			for _, topic := range s.sub.Topics {
				found, err := lookUp(ctx, c, topic)
				if err != nil {
					return err
				}
				s.mu.Lock()
				for p := range found.leaders {
					if s.feedOf(topic, int32(p)) == nil {
						if added[topic] == nil {
							added[topic] = make(map[int32]kgo.Offset)
						}
						added[topic][int32(p)] = kgo.NewOffset().At(0)
						s.feeds = append(s.feeds, s.newFeed(topic, int32(p)))
					}
				}
				s.mu.Unlock()
			}
			return nil
		})
		if len(added) > 0 && !ses.over() {
			ses.cl.AddConsumePartitions(added)
		}
	}
}
