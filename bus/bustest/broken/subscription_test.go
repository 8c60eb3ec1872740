package broken

import (
	"context"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
)

// subscriptionTwists break the sentences about who gets what.
func subscriptionTwists() map[string]func() twist {
	return map[string]func() twist{
		"Group/Divides":        secondMemberApart,
		"Group/EachGetsAll":    oneQueuePerTopic,
		"Group/WaitsWhileAway": groupEndsWithItsLastMember,
		"Group/SeveralTopics": func() twist {
			return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
				s.Topics = s.Topics[:min(1, len(s.Topics))]
				return d.subscribe(ctx, s)
			}}
		},
		"Copy/EachGetsAll":      onlyFirstCopyGets,
		"Copy/BeginsNow":        copyFromTheBeginning,
		"Copy/NothingWhileAway": copyStaysAtTheBroker,
		"InFlight/Bounded": func() twist {
			return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
				if s.MaxInFlight > 0 {
					s.MaxInFlight++
				}
				return d.subscribe(ctx, s)
			}}
		},
		"InFlight/GoesOn": func() twist { return twist{receive: staysAtTheBound} },
		"InFlight/Default": func() twist {
			return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
				if s.MaxInFlight == 0 {
					s.MaxInFlight = 2000
				}
				return d.subscribe(ctx, s)
			}}
		},
		"Copy/RefusedWithoutIt": func() twist {
			return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
				return d.subscribe(ctx, s)
			}}
		},
		"Order/RefusedWithoutIt": func() twist {
			return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
				return d.subscribe(ctx, s)
			}}
		},
	}
}

// members counts the living members of each subscription.
type members struct {
	mu    sync.Mutex
	alive map[string]int
}

func subscriptionKey(s bus.Subscription) string { return fmt.Sprint(s.Topics, s.Group) }

func (m *members) add(s bus.Subscription, n int) (before int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alive == nil {
		m.alive = make(map[string]int)
	}
	before = m.alive[subscriptionKey(s)]
	m.alive[subscriptionKey(s)] += n
	return before
}

// secondMemberApart gives a member of an unordered group that has one already a queue of its own.
func secondMemberApart() twist {
	var living members
	asked := make(map[*source]bus.Subscription)
	leave := func(s *source) {
		s.d.mu.Lock()
		sub, ok := asked[s]
		delete(asked, s)
		s.d.mu.Unlock()
		if ok {
			living.add(sub, -1)
		}
	}
	return twist{
		subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
			as := s
			if before := living.add(s, 1); before > 0 && s.Group != "" && !s.Ordered {
				as.Group = fmt.Sprintf("%s-%d", s.Group, before)
			}
			src, err := d.subscribe(ctx, as)
			if err == nil {
				d.locked(func() { asked[src.(*source)] = s })
			}
			return src, err
		},
		kill: leave,
		closeSource: func(ctx context.Context, s *source) error {
			leave(s)
			return s.inner.Close(ctx)
		},
	}
}

// oneQueuePerTopic forgets the group in the queue's name.
func oneQueuePerTopic() twist {
	first := make(map[string]string)
	return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
		if s.Group != "" {
			d.locked(func() {
				if first[s.Topics[0]] == "" {
					first[s.Topics[0]] = s.Group
				}
				s.Group = first[s.Topics[0]]
			})
		}
		return d.subscribe(ctx, s)
	}}
}

// groupEndsWithItsLastMember is a queue that the broker deletes with its last subscriber, if nothing is in it.
func groupEndsWithItsLastMember() twist {
	ended := make(map[string]int)
	return twist{
		subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
			d.locked(func() {
				if n := ended[s.Topics[0]]; n > 0 && s.Group != "" {
					s.Group = fmt.Sprintf("%s-%d", s.Group, n)
				}
			})
			return d.subscribe(ctx, s)
		},
		closeSource: func(ctx context.Context, s *source) error {
			if len(s.unsettled(false)) == 0 {
				s.d.locked(func() { ended[s.sub.Topics[0]]++ })
			}
			return s.inner.Close(ctx)
		},
	}
}

// onlyFirstCopyGets lets a second living copy of a topic listen to nothing.
func onlyFirstCopyGets() twist {
	var living members
	return twist{
		subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
			if s.Group == "" && living.add(s, 1) > 0 {
				s.Topics = []string{"hidden"}
			}
			return d.subscribe(ctx, s)
		},
		closeSource: func(ctx context.Context, s *source) error {
			if s.sub.Group == "" {
				living.add(s.sub, -1)
			}
			return s.inner.Close(ctx)
		},
	}
}

// copyFromTheBeginning is a new group instead of a copy, which finds what was sent before.
func copyFromTheBeginning() twist {
	n := 0
	return twist{subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
		if s.Group == "" {
			d.locked(func() {
				n++
				s.Group = fmt.Sprintf("copy-%d", n)
			})
		}
		return d.subscribe(ctx, s)
	}}
}

// copyStaysAtTheBroker keeps the queue of a closed copy and takes it up again.
func copyStaysAtTheBroker() twist {
	left := make(map[string]bus.Source)
	return twist{
		subscribe: func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
			if s.Group == "" {
				var kept bus.Source
				d.locked(func() { kept = left[s.Topics[0]] })
				if kept != nil {
					return kept, nil
				}
			}
			return d.subscribe(ctx, s)
		},
		closeSource: func(ctx context.Context, s *source) error {
			if s.sub.Group == "" && !s.d.isClosed() {
				if kept, err := s.d.subscribe(ctx, s.sub); err == nil {
					s.d.locked(func() { left[s.sub.Topics[0]] = kept })
				}
			}
			return s.inner.Close(ctx)
		},
	}
}

// staysAtTheBound looks at MaxInFlight when Receive begins, and never again.
func staysAtTheBound(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	full := false
	s.locked(func() { full = s.sub.MaxInFlight > 0 && len(s.held) >= s.sub.MaxInFlight })
	if full {
		<-ctx.Done()
	}
	return s.receive(ctx, max)
}
