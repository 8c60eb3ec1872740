package broken

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// senderTwists break the sentences about Sender.
func senderTwists() map[string]func() twist {
	return map[string]func() twist{
		"Sender/KeepsCallOrder": func() twist { return twist{send: thirdSendComesLate()} },
		"Sender/PrefixInOneBatch": func() twist {
			return twist{send: behindFailedGoesOn(func(inBatch bool) bool { return inBatch })}
		},
		"Sender/PrefixForLife": func() twist {
			return twist{send: behindFailedGoesOn(func(inBatch bool) bool { return !inBatch })}
		},
		"Sender/BeginsAgain":            func() twist { return twist{send: transportRemembersKeys()} },
		"Sender/OtherKeysGoOn":          func() twist { return twist{send: failureSpreads(true)} },
		"Sender/UnkeyedStandsForItself": func() twist { return twist{send: failureSpreads(false)} },
		"Sender/MayMissGoesOn":          func() twist { return twist{send: mustReach} },
		"Sender/LostForGood":            func() twist { return twist{send: reconnects} },
		"Sender/NeverRepeats":           repeatsInFlight,
		"Sender/CloseFailsUnconfirmed":  func() twist { return twist{wait: closeConfirms} },
		"Sender/BatchesFollowEachOther": func() twist { return twist{send: stopAndWait()} },
		"Sender/SliceIsTheCallers":      func() twist { return twist{wait: readsTheSliceAgain} },
		"Sender/EnvelopeIsFreeAfterWait": func() twist {
			return sharesEnvelopes()
		},
		"Sender/OnlyReads": func() twist {
			return twist{send: func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
				p := s.send(ctx, batch)
				for _, o := range batch {
					if o.Envelope != nil {
						o.CorrelationID += "!"
					}
				}
				return p
			}}
		},
	}
}

// late is a batch that is sent when somebody asks for it.
type late struct {
	once sync.Once
	send func() bus.Pending
	p    bus.Pending
}

func (l *late) now() { l.once.Do(func() { l.p = l.send() }) }

// Wait implements bus.Pending.
func (l *late) Wait(ctx context.Context) []error {
	l.now()
	return l.p.Wait(ctx)
}

// thirdSendComesLate lets the fourth batch of a sender overtake the third.
func thirdSendComesLate() func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	var mu sync.Mutex
	waiting := make(map[*sender]*late)
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		if s.sends == 3 {
			own := append([]bus.Outgoing(nil), batch...)
			l := &late{send: func() bus.Pending { return s.send(context.WithoutCancel(ctx), own) }}
			mu.Lock()
			defer mu.Unlock()
			waiting[s] = l
			return l
		}
		p := s.send(ctx, batch)
		mu.Lock()
		l := waiting[s]
		mu.Unlock()
		if l != nil {
			l.now()
		}
		return p
	}
}

// behindFailedGoesOn sends envelopes behind a failed one all the same, depending on whether that one is of their batch.
func behindFailedGoesOn(goesOn func(inBatch bool) bool) func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		p := s.send(ctx, batch)
		known := p.(*pending).now()
		failed := make(map[string]bool)
		again := false
		for i, err := range known {
			behind := errors.Is(err, bus.ErrBehindFailed)
			if behind && goesOn(failed[batch[i].Key]) {
				again = true
				known[i] = s.d.sendAlone(ctx, batch[i])
			} else if err != nil && !behind {
				failed[batch[i].Key] = true
			}
		}
		if again {
			return answered(known)
		}
		return p
	}
}

// sendAlone sends with a sender of its own, that knows of no failures.
func (d *driver) sendAlone(ctx context.Context, o bus.Outgoing) error {
	inner, err := d.broker.Open(ctx)
	if err != nil {
		return err
	}
	defer inner.Close(ctx)
	return inner.Send(ctx, []bus.Outgoing{o}).Wait(ctx)[0]
}

// own reports a failure that is the envelope's, not the connection's.
func own(o bus.Outgoing, err error) bool {
	return err != nil && !errors.Is(err, bus.ErrUnavailable) && !errors.Is(err, bus.ErrClosed) &&
		!errors.Is(err, context.Canceled) && !(o.MayMiss && errors.Is(err, bus.ErrUnroutable))
}

// transportRemembersKeys keeps failed keys where they outlive the sender.
func transportRemembersKeys() func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	failedIn := make(map[string]*sender)
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		for _, o := range batch {
			if in := failedIn[o.Key]; in != nil && in != s {
				errs := make(answered, len(batch))
				for i := range errs {
					errs[i] = bus.ErrBehindFailed
				}
				return errs
			}
		}
		p := s.send(ctx, batch)
		for i, err := range p.(*pending).now() {
			if o := batch[min(i, len(batch)-1)]; o.Key != "" && own(o, err) {
				failedIn[o.Key] = s
			}
		}
		return p
	}
}

// failureSpreads fails what comes behind a failed envelope although it is of another key (keyed), or of none.
func failureSpreads(keyed bool) func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	failed := make(map[*sender]string) // the envelope's id
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		if failed[s] != "" {
			var errs answered
			for _, o := range batch {
				if (o.Key != "") == keyed && o.Key != failed[s] {
					errs = append(errs, bus.ErrBehindFailed)
				} else {
					errs = append(errs, s.send(ctx, []bus.Outgoing{o}).Wait(ctx)...)
				}
			}
			return errs
		}
		p := s.send(ctx, batch)
		for i, err := range p.(*pending).now() {
			if o := batch[min(i, len(batch)-1)]; (o.Key != "") == keyed && own(o, err) {
				failed[s] = o.ID
				if keyed {
					failed[s] = o.Key
				}
			}
		}
		return p
	}
}

func mustReach(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
	batch = append([]bus.Outgoing(nil), batch...)
	for i := range batch {
		batch[i].MayMiss = false
	}
	return s.send(ctx, batch)
}

// reconnects opens another connection under the same sender.
func reconnects(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
	p := s.send(ctx, batch)
	for _, err := range p.(*pending).now() {
		if !errors.Is(err, bus.ErrUnavailable) {
			continue
		}
		if inner, err := s.d.broker.Open(ctx); err == nil {
			s.mu.Lock()
			s.inner = inner
			s.mu.Unlock()
			return s.send(ctx, batch)
		}
	}
	return p
}

// repeatsInFlight sends again, on the next connection, what had no confirm on the last.
func repeatsInFlight() twist {
	var repeat []bus.Outgoing
	inFlight := make(map[*pending]bool)
	return twist{
		send: func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
			p := s.send(ctx, batch).(*pending)
			for _, err := range p.now() {
				if errors.Is(err, context.Canceled) {
					s.d.locked(func() { inFlight[p] = true })
				}
			}
			return p
		},
		wait: func(ctx context.Context, p *pending) []error {
			errs := p.wait(ctx)
			p.s.d.locked(func() {
				if inFlight[p] && len(errs) > 0 && errors.Is(errs[0], bus.ErrUnavailable) {
					repeat = append(repeat, p.batch...)
					delete(inFlight, p)
				}
			})
			return errs
		},
		open: func(ctx context.Context, d *driver) (bus.Sender, error) {
			s, err := d.open(ctx)
			if err == nil {
				d.locked(func() {
					s.(*sender).inner.Send(ctx, repeat)
					repeat = nil
				})
			}
			return s, err
		},
	}
}

func closeConfirms(ctx context.Context, p *pending) []error {
	return mapErrors(p.wait(ctx), func(_ int, err error) error {
		if p.s.isClosed() && errors.Is(err, bus.ErrUnavailable) {
			return nil
		}
		return err
	})
}

// stopAndWait has one batch in flight.
func stopAndWait() func(context.Context, *sender, []bus.Outgoing) bus.Pending {
	last := make(map[*sender]bus.Pending)
	return func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
		if p := last[s]; p != nil {
			p.Wait(ctx)
		}
		last[s] = s.send(ctx, batch)
		return last[s]
	}
}

func readsTheSliceAgain(ctx context.Context, p *pending) []error {
	return mapErrors(p.wait(ctx), func(i int, err error) error {
		if i < len(p.callers) && p.callers[i].Envelope == nil {
			return fmt.Errorf("%w: no envelope", bus.ErrRefused)
		}
		return err
	})
}

// sharesEnvelopes lets deliveries point into what the sender's caller gave.
func sharesEnvelopes() twist {
	given := make(map[string]*sixfold.Envelope)
	return twist{
		send: func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending {
			s.d.locked(func() {
				for _, o := range batch {
					given[o.ID] = o.Envelope
				}
			})
			return s.send(ctx, batch)
		},
		receive: func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error) {
			ds, err := s.receive(ctx, max)
			s.d.locked(func() {
				for _, d := range ds {
					if e := given[d.ID]; e != nil {
						d.Body, d.Headers = e.Body, e.Headers
					}
				}
			})
			return ds, err
		},
	}
}
