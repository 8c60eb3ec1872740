package broken

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// pendingTwists break the sentences about Pending and about the errors of sending.
func pendingTwists() map[string]func() twist {
	return map[string]func() twist{
		"Wait/OneErrorEach": func() twist { return twist{wait: failuresFirst} },
		"Wait/EmptyBatch": func() twist {
			return twist{wait: func(ctx context.Context, p *pending) []error {
				if errs := p.wait(ctx); len(errs) > 0 {
					return errs
				}
				return []error{nil}
			}}
		},
		"Wait/NilMeansTaken":    func() twist { return twist{send: losesTheFiftieth} },
		"Wait/BigBatch":         func() twist { return twist{send: refusesBeyond4096} },
		"Wait/Unroutable":       func() twist { return twist{wait: confirmMeansRouted(false)} },
		"Wait/MayMissIsCounted": func() twist { return twist{wait: confirmMeansRouted(true)} },
		"Wait/TooLarge": func() twist {
			return twist{wait: waitMaps(bus.ErrTooLarge, func(err error) error { return fmt.Errorf("%w: %v", bus.ErrRefused, err) })}
		},
		"Wait/TooLargeSaysHowMuch": func() twist {
			return twist{wait: waitMaps(bus.ErrTooLarge, func(error) error { return bus.ErrTooLarge })}
		},
		"Wait/LargestIsTaken": func() twist { return twist{send: refusesTheLargest} },
		"Wait/Refused": func() twist {
			return twist{wait: waitMaps(bus.ErrRefused, func(error) error { return bus.ErrUnroutable })}
		},
		"Wait/Unavailable": func() twist {
			return twist{wait: func(ctx context.Context, p *pending) []error {
				return mapErrors(p.wait(ctx), func(_ int, err error) error {
					if p.sentDown && err != nil {
						return errors.New("EOF")
					}
					return err
				})
			}}
		},
		"Wait/EndedContextIsInDoubt": func() twist {
			return twist{wait: waitMaps(context.DeadlineExceeded, func(error) error { return bus.ErrUnavailable })}
		},
		"Wait/Again":             func() twist { return twist{wait: answersOnce()} },
		"Wait/InOtherGoroutines": func() twist { return twist{wait: oneWaitAtATime()} },
		"Dedup/None":             func() twist { return twist{send: dropsKnownIDs()} },
		"Dedup/Window": func() twist {
			return twist{send: func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
				s.d.locked(func() { clear(s.d.seen) })
				return s.send(ctx, batch)
			}}
		},
	}
}

func waitMaps(from error, to func(error) error) func(context.Context, *pending) []error {
	return func(ctx context.Context, p *pending) []error {
		return mapErrors(p.wait(ctx), func(_ int, err error) error {
			if errors.Is(err, from) {
				return to(err)
			}
			return err
		})
	}
}

// failuresFirst answers the only failure of a larger batch before the rest.
func failuresFirst(ctx context.Context, p *pending) []error {
	errs := p.wait(ctx)
	if n := len(errs); n > 8 && errs[n-1] != nil && errors.Join(errs[:n-1]...) == nil {
		errs[0], errs[n-1] = errs[n-1], nil
	}
	return errs
}

func losesTheFiftieth(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
	if s.sends == 50 {
		return make(answered, len(batch))
	}
	return s.send(ctx, batch)
}

func refusesBeyond4096(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
	const limit = 4096
	if len(batch) <= limit {
		return s.send(ctx, batch)
	}
	errs := answered(s.send(ctx, batch[:limit]).Wait(ctx))
	for range batch[limit:] {
		errs = append(errs, fmt.Errorf("%w: too many", bus.ErrRefused))
	}
	return errs
}

// confirmMeansRouted takes the broker's confirm for an envelope that reached a queue.
func confirmMeansRouted(mayMiss bool) func(context.Context, *pending) []error {
	return func(ctx context.Context, p *pending) []error {
		return mapErrors(p.wait(ctx), func(i int, err error) error {
			if errors.Is(err, bus.ErrUnroutable) && p.batch[i].MayMiss == mayMiss {
				return nil
			}
			return err
		})
	}
}

func refusesTheLargest(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
	for _, o := range batch {
		n := len(o.Body)
		for k, v := range o.Headers {
			n += len(k) + len(v)
		}
		if n == maxBody {
			return answered{fmt.Errorf("%w: %d bytes, the limit is %d", bus.ErrTooLarge, n, maxBody-1)}
		}
	}
	return s.send(ctx, batch)
}

func answersOnce() func(context.Context, *pending) []error {
	var mu sync.Mutex
	complete := make(map[*pending]bool)
	return func(ctx context.Context, p *pending) []error {
		mu.Lock()
		defer mu.Unlock()
		if complete[p] {
			return nil
		}
		errs := p.wait(ctx)
		complete[p] = ctx.Err() == nil
		return errs
	}
}

func oneWaitAtATime() func(context.Context, *pending) []error {
	var mu sync.Mutex
	inside := make(map[*sender]int)
	return func(ctx context.Context, p *pending) []error {
		mu.Lock()
		inside[p.s]++
		busy := inside[p.s] > 1
		mu.Unlock()
		defer func() {
			mu.Lock()
			inside[p.s]--
			mu.Unlock()
		}()
		if busy {
			return []error{errors.New("busy")}
		}
		pause(ctx, 5*time.Millisecond)
		return p.wait(ctx)
	}
}

func dropsKnownIDs() func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		known := false
		s.d.locked(func() {
			for _, o := range batch {
				known = known || s.d.seen[o.ID]
				s.d.seen[o.ID] = true
			}
		})
		if known {
			return make(answered, len(batch))
		}
		return s.send(ctx, batch)
	}
}
