package broken

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// sourceTwists break the sentences about Receive, Close, deaths and ownership.
func sourceTwists() map[string]func() twist {
	return map[string]func() twist{
		"Receive/Blocks": func() twist { return twist{receive: answersEmpty} },
		"Receive/AtMostMax": func() twist {
			return twist{receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
				if max < 10 {
					max++
				}
				return s.receive(ctx, max)
			}}
		},
		"Receive/EndsWithContext": func() twist {
			return twist{receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
				ds, err := s.receive(ctx, max)
				if err != nil && ctx.Err() != nil {
					err = errors.New("timeout")
				}
				return ds, err
			}}
		},
		"Receive/BesideSettle": func() twist { return twist{settle: settlesAfterReceive} },
		"Receive/BlocksWhileAway": func() twist {
			return twist{receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
				if s.d.isDown() {
					return nil, bus.ErrUnavailable
				}
				return s.receive(ctx, max)
			}}
		},
		"Receive/Damaged":       func() twist { return twist{receive: skipsDamaged} },
		"Source/CloseGivesBack": func() twist { return twist{closeSource: acknowledgesAtClose} },
		"Source/CloseEndsIt":    func() twist { return twist{receive: closedIsEOF} },
		"Death/ComesAgain":      func() twist { return twist{kill: prefetchIsLost} },
		"Death/SaysRedelivered": redeliveredOnlyWhere(true),
		"Owned/EndsWhenRevoked": func() twist {
			return twist{receive: changes(func(_ *source, d *bus.Delivery) { d.Owned = nil })}
		},
		"Owned/LastsWhileOurs": func() twist {
			return twist{receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				return changes(func(_ *source, d *bus.Delivery) { d.Owned = ctx })(ctx, s, max)
			}}
		},
	}
}

type receive = func(context.Context, *source, int) ([]*bus.Delivery, error)

// changes twists each delivery.
func changes(f func(*source, *bus.Delivery)) receive {
	return func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
		ds, err := s.receive(ctx, max)
		for _, d := range ds {
			f(s, d)
		}
		return ds, err
	}
}

func answersEmpty(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	poll, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	ds, err := s.receive(poll, max)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return ds, err
}

// settlesAfterReceive is what one mutex over both does, which is held while Receive asks the broker (and not while it
// waits at the bound of MaxInFlight, which is another case).
func settlesAfterReceive(ctx context.Context, s *source, ss []bus.Settlement) []error {
	for busy := true; busy; {
		s.locked(func() { busy = s.receiving > 0 && (s.sub.MaxInFlight == 0 || len(s.held) < s.sub.MaxInFlight) })
		if busy {
			pause(ctx, 5*time.Millisecond)
		}
		if ctx.Err() != nil {
			return []error{ctx.Err()}
		}
	}
	return s.settle(ctx, ss)
}

func skipsDamaged(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	for {
		ds, err := s.receive(ctx, max)
		good := slices.DeleteFunc(slices.Clone(ds), func(d *bus.Delivery) bool {
			if d.Damaged != nil {
				s.settle(ctx, []bus.Settlement{{Delivery: d}})
			}
			return d.Damaged != nil
		})
		if len(good) > 0 || err != nil {
			return good, err
		}
	}
}

func acknowledgesAtClose(ctx context.Context, s *source) error {
	s.settle(ctx, s.unsettled(false))
	return s.inner.Close(ctx)
}

func closedIsEOF(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
	ds, err := s.receive(ctx, max)
	if errors.Is(err, bus.ErrClosed) && !s.d.isClosed() {
		return nil, io.EOF
	}
	return ds, err
}

// prefetchIsLost acknowledges on arrival what is prefetched beyond two, where nobody asked for order.
func prefetchIsLost(s *source) {
	if ss := s.unsettled(false); !s.sub.Ordered && len(ss) > 2 {
		s.settle(context.Background(), ss[2:])
	}
}

// redeliveredOnlyWhere forgets the mark on what was released (or on the rest: deaths, lost leases).
func redeliveredOnlyWhere(released bool) func() twist {
	return func() twist {
		was := make(map[string]bool)
		return twist{
			settle: func(ctx context.Context, s *source, ss []bus.Settlement) []error {
				s.d.locked(func() {
					for _, st := range ss {
						was[st.ID] = was[st.ID] || st.Release
					}
				})
				return s.settle(ctx, ss)
			},
			receive: changes(func(s *source, d *bus.Delivery) {
				s.d.locked(func() { d.Redelivered = d.Redelivered && was[d.ID] == released })
			}),
		}
	}
}
