package broken

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/bus"
)

// settleTwists break the sentences about Settle and Extend.
func settleTwists() map[string]func() twist {
	return map[string]func() twist{
		"Settle/AcknowledgedIsGone":      acknowledgesLater(false),
		"Settle/OneErrorEach":            func() twist { return twist{settle: joinsErrors} },
		"Settle/SettledIsLost":           func() twist { return twist{settle: lostIsFine(true)} },
		"Settle/RevokedIsLost":           func() twist { return twist{settle: lostIsFine(false)} },
		"Settle/ReleasedComesAgain":      func() twist { return twist{settle: dropsReleased} },
		"Settle/ReleasedSaysRedelivered": redeliveredOnlyWhere(false),
		"Extend/KeepsOurs": func() twist {
			return twist{extend: func(context.Context, *source, []*bus.Delivery) error { return nil }}
		},
	}
}

// acknowledgesLater buffers acknowledgements until the next call, and Close does not flush them: those of everything that is in
// hand, or, with gap, those that leave something unsettled.
func acknowledgesLater(gap bool) func() twist {
	return func() twist { return bufferedAcks(gap) }
}

func bufferedAcks(gap bool) twist {
	buffered := make(map[*source][]bus.Settlement)
	flush := func(s *source) {
		var ss []bus.Settlement
		s.d.locked(func() {
			ss = buffered[s]
			delete(buffered, s)
		})
		if len(ss) > 0 {
			s.inner.Settle(context.Background(), ss)
		}
	}
	return twist{
		settle: func(ctx context.Context, s *source, ss []bus.Settlement) []error {
			flush(s)
			ours := true
			s.locked(func() {
				for _, st := range ss {
					ours = ours && s.held[st.Delivery] && !st.Release && !s.closed && (st.Owned == nil || st.Owned.Err() == nil)
				}
				ours = ours && gap == (len(s.held) > len(ss))
				for _, st := range ss {
					if ours {
						delete(s.held, st.Delivery)
					}
				}
			})
			if !ours || s.d.isClosed() {
				return s.settle(ctx, ss)
			}
			s.d.locked(func() { buffered[s] = append([]bus.Settlement(nil), ss...) })
			return make([]error, len(ss))
		},
		receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
			flush(s)
			return s.receive(ctx, max)
		},
		kill: flush,
	}
}

// joinsErrors answers one error for several settlements.
func joinsErrors(ctx context.Context, s *source, ss []bus.Settlement) []error {
	errs := s.settle(ctx, ss)
	if err := errors.Join(errs...); err != nil && len(ss) > 2 {
		return []error{err}
	}
	return errs
}

// lostIsFine answers nil for what it settled before (or for what was taken away).
func lostIsFine(settled bool) func(context.Context, *source, []bus.Settlement) []error {
	return func(ctx context.Context, s *source, ss []bus.Settlement) []error {
		return mapErrors(s.settle(ctx, ss), func(i int, err error) error {
			s.locked(func() {
				if errors.Is(err, bus.ErrLost) && s.done[ss[i].Delivery] == settled {
					err = nil
				}
			})
			return err
		})
	}
}

// dropsReleased acknowledges a delivery that is released alone.
func dropsReleased(ctx context.Context, s *source, ss []bus.Settlement) []error {
	if len(ss) == 1 && ss[0].Release {
		return s.settle(ctx, []bus.Settlement{{Delivery: ss[0].Delivery}})
	}
	return s.settle(ctx, ss)
}
