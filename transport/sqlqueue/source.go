package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
)

// source is a bus.Source: the feeds of its topics, which it can end while Receive waits.
type source struct {
	t       *Transport
	inner   bus.Source
	topics  []string
	group   string // empty: a copy
	process string
	stop    context.Context // ends with the source
	end     context.CancelFunc

	receiving sync.Mutex
	once      sync.Once
	closing   error
}

// Receive implements bus.Source.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if s.stop.Err() != nil {
		return nil, fmt.Errorf("sqlqueue: receive: %w", bus.ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	ds, err := s.inner.Receive(ctx, max)
	if err != nil && s.stop.Err() != nil {
		return nil, fmt.Errorf("sqlqueue: receive: %w", bus.ErrClosed)
	}
	return ds, err
}

// Settle implements bus.Source.
func (s *source) Settle(ctx context.Context, all []bus.Settlement) []error {
	return s.inner.Settle(ctx, all)
}

// Extend implements bus.Source. The leases are kept by a heartbeat of their own.
func (s *source) Extend(ctx context.Context, ds []*bus.Delivery) error {
	return s.inner.Extend(ctx, ds)
}

// Close implements bus.Source. It wakes a Receive and waits for it. A copy is removed with what waits for it.
func (s *source) Close(ctx context.Context) error {
	s.once.Do(func() {
		s.end()
		s.receiving.Lock()
		defer s.receiving.Unlock()
		s.t.drop(s)
		if err := errors.Join(s.inner.Close(ctx), s.forget(ctx)); err != nil {
			s.closing = fmt.Errorf("sqlqueue: close: %w", err)
		}
	})
	return s.closing
}

// forget removes a copy. One that cannot be removed now goes a minute after its process.
func (s *source) forget(ctx context.Context) error {
	if s.group != "" {
		return nil
	}
	var errs []error
	for _, topic := range s.topics {
		_, err := s.t.store.Detach(ctx, topic, "", s.process)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
