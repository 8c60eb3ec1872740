package broken

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// orderTwists break the sentences about the order of an Ordered subscription.
func orderTwists() map[string]func() twist {
	return map[string]func() twist{
		"Order/ReleasedBeforeLater": releasedAfterFresh,
		"Order/OneOwner":            twoOwners,
		"Order/DeathKeepsOrder":     func() twist { return twist{receive: redeliveredAfterFresh} },
		"Order/TwoDeathsKeepOrder":  func() twist { return twist{receive: redeliveredInOrderOfReturn} },
	}
}

// releasedAfterFresh gives several released deliveries back after the next Receive.
func releasedAfterFresh() twist {
	var mu sync.Mutex
	kept := make(map[*source][]bus.Settlement)
	return twist{
		settle: func(ctx context.Context, s *source, ss []bus.Settlement) []error {
			released := slices.DeleteFunc(slices.Clone(ss), func(st bus.Settlement) bool { return !st.Release })
			if !s.sub.Ordered || len(released) < 2 {
				return s.settle(ctx, ss)
			}
			mu.Lock()
			defer mu.Unlock()
			kept[s] = released
			return make([]error, len(ss))
		},
		receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
			mu.Lock()
			back := kept[s]
			delete(kept, s)
			mu.Unlock()
			if back == nil {
				return s.receive(ctx, max)
			}
			short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			ds, err := s.receive(short, max)
			cancel()
			s.settle(ctx, back)
			if err != nil {
				return s.receive(ctx, max)
			}
			return ds, nil
		},
	}
}

// twoOwners hands every second message of a key to whichever other member of the group receives.
func twoOwners() twist {
	var mu sync.Mutex
	living := make(map[*source]bool)
	type handed struct {
		*bus.Delivery
		from *source
	}
	var pool []handed
	leave := func(s *source) {
		mu.Lock()
		defer mu.Unlock()
		delete(living, s)
	}
	return twist{
		subscribe: func(ctx context.Context, d *driver, sub bus.Subscription) (bus.Source, error) {
			src, err := d.subscribe(ctx, sub)
			if err == nil && sub.Ordered {
				mu.Lock()
				defer mu.Unlock()
				living[src.(*source)] = true
			}
			return src, err
		},
		kill: leave,
		closeSource: func(ctx context.Context, s *source) error {
			leave(s)
			return s.inner.Close(ctx)
		},
		receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
			var own []*bus.Delivery
			mu.Lock()
			pool = slices.DeleteFunc(pool, func(h handed) bool {
				if h.from != s {
					own = append(own, h.Delivery)
				}
				return h.from != s
			})
			shared := living[s] && len(living) > 1
			mu.Unlock()
			if len(own) > 0 {
				return own, nil
			}
			ds, err := s.receive(ctx, max)
			if !shared {
				return ds, err
			}
			seen := make(map[string]bool)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range ds {
				if seen[d.Key] {
					pool = append(pool, handed{d, s})
				} else {
					own = append(own, d)
				}
				seen[d.Key] = true
			}
			return own, err
		},
	}
}

func (d *driver) deaths() (n int) {
	d.locked(func() { n = d.kills })
	return n
}

// redeliveredAfterFresh is JetStream's way: the dead owner's messages come when their time is up.
func redeliveredAfterFresh(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	ds, err := s.receive(ctx, max)
	if s.d.deaths() == 1 {
		redeliveredLast(ds)
	}
	return ds, err
}

func redeliveredLast(ds []*bus.Delivery) {
	slices.SortStableFunc(ds, func(a, b *bus.Delivery) int {
		switch {
		case a.Redelivered == b.Redelivered:
			return 0
		case a.Redelivered:
			return 1
		}
		return -1
	})
}

// redeliveredInOrderOfReturn is RabbitMQ's way: after the second death the last returned comes first.
func redeliveredInOrderOfReturn(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	ds, err := s.receive(ctx, max)
	if s.d.deaths() >= 2 {
		n := 0
		for n < len(ds) && ds[n].Redelivered {
			n++
		}
		slices.Reverse(ds[:n])
	}
	return ds, err
}
