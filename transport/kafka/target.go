package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// target answers where messages of a topic go. It asks the brokers at most every 30 seconds, and again soon where the
// topic was not there. Only the goroutine that sends calls it.
func (s *sender) target(ctx context.Context, topic string, now time.Time) (*target, error) {
	to := s.topics[topic]
	if to != nil && now.Before(to.until) && !s.isStale(topic) {
		return to, to.err
	}
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	inner, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	found, err := lookUp(inner, s.cl, topic)
	switch {
	case errors.Is(err, bus.ErrUnroutable):
		if to == nil || to.place == nil {
			s.remember(topic, &target{err: err, until: now.Add(driver.BelieveMissing)})
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	found.limits(inner, s.cl, topic)
	if to == nil || to.place == nil {
		to = &target{}
		s.remember(topic, to)
	} else if !to.same(found) {
		// Where a key goes has changed: what is in flight comes first.
		s.mu.Lock()
		err := s.await(ctx, func() bool { return s.inFlight == 0 })
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	if to.place == nil || !to.same(found) {
		to.parts = s.partitions(topic, to.parts, found)
	}
	to.place, to.err, to.until = found, nil, now.Add(driver.BelieveFound)
	s.mu.Lock()
	delete(s.stale, topic)
	for _, p := range to.parts {
		if p != nil {
			p.most = min(found.maxMessage, max(mostBatch, 1))
		}
	}
	s.mu.Unlock()
	return to, nil
}

// mostTopics bounds what a sender remembers of topics.
const mostTopics = 10_000

func (s *sender) remember(topic string, to *target) {
	if len(s.topics) >= mostTopics {
		for name, other := range s.topics { // one that is in nobody's way
			if other.place == nil {
				delete(s.topics, name)
				break
			}
		}
	}
	s.topics[topic] = to
}

// partitions answers those of a topic, each with the line to its leader. Those that were there keep their numbers.
func (s *sender) partitions(topic string, before []*partition, found *place) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := make([]*partition, len(found.leaders))
	for i, node := range found.leaders {
		if node < 0 {
			continue
		}
		l := s.lines[node]
		if l == nil && s.cause == nil {
			l = &line{s: s, node: node, poke: make(chan struct{}, 1), wrote: make(chan struct{}, 1)}
			s.lines[node] = l
			s.wg.Add(1)
			go l.run()
		}
		p := &partition{topic: topic, number: int32(i)}
		if i < len(before) && before[i] != nil {
			p = before[i]
		}
		if p.line != l { // another broker may not know what this producer has sent
			p.proven = false
		}
		p.line = l
		parts[i] = p
	}
	return parts
}

func (s *sender) isStale(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stale[topic]
}

// forget has a topic looked up again. mu is held.
func (s *sender) forget(topic string) { s.stale[topic] = true }
