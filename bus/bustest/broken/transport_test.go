package broken

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// transportTwists break the sentences about Transport.
func transportTwists() map[string]func() twist {
	return map[string]func() twist{
		"Transport/ConcurrentUse":        func() twist { return twist{open: oneAtATime()} },
		"Transport/CapabilitiesStay":     capabilitiesChange,
		"Transport/CloseTwice":           func() twist { return twist{close: closeOnce} },
		"Transport/CloseEndsSenders":     func() twist { return twist{wait: closedLooksLikeAnOutage} },
		"Transport/CloseEndsSources":     func() twist { return twist{settle: settlesAfterClose} },
		"Transport/KeepsUsersConnection": func() twist { return twist{close: closesAll} },
		"Open/Refused":                   func() twist { return twist{open: openMaps(bus.ErrRefused, bus.ErrUnavailable)} },
		"Open/Unavailable":               func() twist { return twist{open: openRetries} },
		"Subscribe/Refused":              func() twist { return twist{subscribe: subscribeMapsRefused} },
		"Subscribe/Unavailable":          func() twist { return twist{subscribe: subscribeRetries} },
	}
}

// oneAtATime opens slowly and fails when another does so meanwhile.
func oneAtATime() func(context.Context, *driver) (bus.Sender, error) {
	var mu sync.Mutex
	inside := 0
	return func(ctx context.Context, d *driver) (bus.Sender, error) {
		mu.Lock()
		inside++
		busy := inside > 1
		mu.Unlock()
		defer func() {
			mu.Lock()
			inside--
			mu.Unlock()
		}()
		if busy {
			return nil, errors.New("busy")
		}
		pause(ctx, 5*time.Millisecond)
		return d.open(ctx)
	}
}

// pause waits; in a bubble that costs nothing.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func capabilitiesChange() twist {
	opened := false
	return twist{
		open: func(ctx context.Context, d *driver) (bus.Sender, error) {
			d.locked(func() { opened = true })
			return d.open(ctx)
		},
		capabilities: func(d *driver, c bus.Capabilities) bus.Capabilities {
			d.locked(func() {
				if opened {
					c.Name = "cluster"
				}
			})
			return c
		},
	}
}

func closeOnce(ctx context.Context, d *driver) error {
	if d.isClosed() {
		return errors.New("closed already")
	}
	if d.borrowed {
		return nil
	}
	return d.broker.Close(ctx)
}

func closesAll(ctx context.Context, d *driver) error { return d.broker.Close(ctx) }

func closedLooksLikeAnOutage(ctx context.Context, p *pending) []error {
	return mapErrors(p.wait(ctx), func(_ int, err error) error {
		if errors.Is(err, bus.ErrClosed) {
			return bus.ErrUnavailable
		}
		return err
	})
}

func mapErrors(errs []error, f func(int, error) error) []error {
	for i, err := range errs {
		errs[i] = f(i, err)
	}
	return errs
}

func settlesAfterClose(ctx context.Context, s *source, ss []bus.Settlement) []error {
	if s.d.isClosed() {
		return make([]error, len(ss))
	}
	return s.settle(ctx, ss)
}

func openMaps(from, to error) func(context.Context, *driver) (bus.Sender, error) {
	return func(ctx context.Context, d *driver) (bus.Sender, error) {
		s, err := d.open(ctx)
		if errors.Is(err, from) {
			return nil, to
		}
		return s, err
	}
}

func openRetries(ctx context.Context, d *driver) (bus.Sender, error) {
	for {
		s, err := d.open(ctx)
		if !errors.Is(err, bus.ErrUnavailable) {
			return s, err
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", bus.ErrUnavailable, ctx.Err())
		}
	}
}

func subscribeMapsRefused(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
	src, err := d.subscribe(ctx, s)
	if errors.Is(err, bus.ErrRefused) {
		return nil, bus.ErrUnavailable
	}
	return src, err
}

func subscribeRetries(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error) {
	for {
		src, err := d.subscribe(ctx, s)
		if !errors.Is(err, bus.ErrUnavailable) {
			return src, err
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", bus.ErrUnavailable, ctx.Err())
		}
	}
}
