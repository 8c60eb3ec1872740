package memory

import "context"

// UntilBlocked waits until a transaction waits for another.
func (s *Store) UntilBlocked(ctx context.Context) error {
	for {
		someone := make(chan struct{}, 1)
		s.mu.Lock()
		for tx := range s.open {
			if tx.waits != nil {
				s.mu.Unlock()
				return nil
			}
		}
		s.onWait = func() {
			select {
			case someone <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
		select {
		case <-someone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
