package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupOptions are those of a member of a group.
func (ses *session) groupOptions(opts []kgo.Opt) []kgo.Opt {
	s := ses.s
	o := &s.t.o
	ses.pulse = newPulse(o.SessionTimeout, o.SessionTimeout+o.rebalance(), ses.silent)
	opts = append(opts, kgo.ConsumerGroup(s.sub.Group), kgo.ConsumeTopics(s.sub.Topics...), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(o.SessionTimeout), kgo.HeartbeatInterval(min(o.SessionTimeout/5, 3*time.Second)), kgo.RebalanceTimeout(o.rebalance()),
		kgo.OnPartitionsAssigned(ses.assigned), kgo.OnPartitionsRevoked(ses.revoked), kgo.OnPartitionsLost(ses.taken), kgo.OnOffsetsFetched(ses.told),
		kgo.WithHooks(ses.pulse), kgo.Balancers(kgo.CooperativeStickyBalancer()))
	if o.ServerSide {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	start := kgo.NewOffset().AtStart()
	if o.StartNew {
		start = kgo.NewOffset().AtEnd()
	}
	return append(opts, kgo.ConsumeStartOffset(start))
}

// silent ends a session whose partitions others may have by now. One that has none waits: joining can take as long as the other
// members please, and whoever gave up and joined again would make them wait for somebody who is gone.
func (ses *session) silent() (goOn bool) {
	s := ses.s
	s.mu.Lock()
	goOn = s.ses == ses && len(s.feeds) == 0
	s.mu.Unlock()
	if !goOn {
		ses.end(errSilent)
	}
	return goOn
}

// rebalance is how long a rebalance may take: the drain of a partition, and what it takes to hear of it and to join again. A member
// that died in one can hold the others up for as long.
func (o *Options) rebalance() time.Duration {
	return o.DrainTimeout + min(o.SessionTimeout, 30*time.Second)
}

// assigned makes feeds of partitions that are ours from now on. What the client fetches of them comes only after it.
func (ses *session) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	s := ses.s
	ses.still(func() {
		if ses.over() {
			return
		}
		for topic, partitions := range added {
			for _, p := range partitions {
				s.feeds = append(s.feeds, s.newFeed(topic, p))
			}
		}
	})
}

// told learns what is committed for them.
func (ses *session) told(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range resp.Groups {
		for _, t := range group.Topics {
			for _, p := range t.Partitions {
				if f := s.feedOf(t.Topic, p.Partition); f != nil && p.ErrorCode == 0 && !f.begun {
					metadata := ""
					if p.Metadata != nil {
						metadata = *p.Metadata
					}
					f.learn(p.Offset, metadata)
				}
			}
		}
	}
	return nil
}

// feedOf answers the feed of a partition that is ours. mu is held.
func (s *source) feedOf(topic string, partition int32) *feed {
	i := slices.IndexFunc(s.feeds, func(f *feed) bool { return f.topic == topic && f.partition == partition && !f.dead })
	if i < 0 {
		return nil
	}
	return s.feeds[i]
}

// revoked drains partitions that go to other members: it waits until what was handed out of them is settled, or the drain limit has
// passed; commits; and ends their deliveries.
func (ses *session) revoked(ctx context.Context, _ *kgo.Client, parts map[string][]int32) {
	s := ses.s
	feeds := ses.feedsOf(parts)
	if len(feeds) == 0 || ses.over() { // whoever ended the session commits
		return
	}
	s.mu.Lock()
	for _, f := range feeds {
		f.draining = true
	}
	s.mu.Unlock()
	limit := time.NewTimer(s.t.o.DrainTimeout)
	defer limit.Stop()
	for !ses.isDrained(feeds) {
		select {
		case <-ses.drained:
			continue
		case <-limit.C:
			s.t.o.Logger.Warn("kafka: a partition goes to another member although its handlers run; their contexts end", "group", s.sub.Group, "after", s.t.o.DrainTimeout)
		case <-ctx.Done():
		case <-ses.lost:
		}
		break
	}
	inner, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	ses.commitLast(inner, feeds)
	ses.drop(feeds)
}

// taken ends the deliveries of partitions that went to other members already.
func (ses *session) taken(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	ses.drop(ses.feedsOf(parts))
}

func (ses *session) feedsOf(parts map[string][]int32) (feeds []*feed) {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range parts {
		for _, p := range partitions {
			if f := s.feedOf(topic, p); f != nil {
				feeds = append(feeds, f)
			}
		}
	}
	return feeds
}

func (ses *session) isDrained(feeds []*feed) bool {
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	return !slices.ContainsFunc(feeds, func(f *feed) bool { return f.held > 0 })
}

// drop loses partitions.
func (ses *session) drop(feeds []*feed) {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range feeds {
		f.end()
	}
	s.feeds = slices.DeleteFunc(s.feeds, func(f *feed) bool { return f.dead })
	s.bell.Ring()
	signal(ses.hungry)
}
