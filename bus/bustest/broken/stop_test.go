package broken

import (
	"context"
	"sync/atomic"

	"github.com/sixfold-go/sixfold/bus"
)

// stopTwists break the sentences about a planned stop.
func stopTwists() map[string]func() twist {
	return map[string]func() twist{
		"Stop/SettledStaysSettled": acknowledgesLater(true),
		"Stop/KeepsOrder":          givenBackAfterFresh,
	}
}

// givenBackAfterFresh hands what a closed member gave back to the next one behind what nobody had.
func givenBackAfterFresh() twist {
	var stops atomic.Int32
	return twist{
		closeSource: func(ctx context.Context, s *source) error {
			if s.sub.Ordered && len(s.unsettled(true)) > 0 {
				stops.Add(1)
			}
			return s.inner.Close(ctx)
		},
		receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
			ds, err := s.receive(ctx, max)
			if s.d.deaths() == 0 && stops.Load() >= 2 {
				redeliveredLast(ds)
			}
			return ds, err
		},
	}
}
