package rabbitmq

import (
	"errors"
	"time"
)

const (
	lookEvery = 10 * time.Millisecond
	// settleTime is how long nothing arrives before a run counts as complete, once the queue has nothing more, where the user
	// may not have the queue for a mark, which would prove it.
	settleTime = 25 * time.Millisecond
	// mostHold is how long nothing arrives before a run is handed out although the queue has more.
	mostHold = 5 * time.Second
)

// look ends runs that are complete, and reports whether any is left. The queue delivers what comes again before
// everything else, so a run is complete when something new has come, when it is as long as a consumer may hold, or when the
// queue has nothing more to deliver.
func (ses *session) look() (left bool) {
	s := ses.s
	for _, f := range s.feeds {
		s.mu.Lock()
		holds, queue, came := len(f.run) > 0, f.queue, f.came
		s.mu.Unlock()
		if !holds {
			continue
		}
		more, err := ses.hasMore(queue)
		if err != nil {
			ses.end(err)
			return false
		}
		if !more && !ses.markless {
			tag, err := ses.mark()
			if err != nil {
				ses.end(err)
				return false
			}
			if tag > 0 {
				ses.await(tag)
				s.mu.Lock()
				if s.ses == ses && len(f.run) > 0 {
					f.settleRun()
					s.bell.Ring()
				}
				s.mu.Unlock()
				continue
			}
			ses.markless = true
		}
		quiet := settleTime
		if more {
			quiet = mostHold
		}
		left = !ses.settles(f, came, quiet) || left
	}
	return left
}

// hasMore asks the node on the channel of the consumer, so that what it has delivered before its answer was read here
// before it. Twice, since it may answer the first time while deliveries wait in the channel's process.
func (ses *session) hasMore(queue string) (more bool, err error) {
	err = ses.link.asking(ses.owned, func() error {
		for range 2 {
			q, err := ses.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
			if err != nil {
				return errors.Join(errors.New("the node did not say how long a queue is"), err)
			}
			more = more || q.Messages > 0
		}
		return nil
	})
	return more, err
}

// settles waits for a while, and ends the run if nothing has arrived since came was read.
func (ses *session) settles(f *feed, came int, quiet time.Duration) bool {
	s := ses.s
	t := time.NewTimer(quiet)
	defer t.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		over := false
		select {
		case <-t.C:
			over = true
		case <-tick.C:
		case <-ses.lost:
			return true
		case <-s.gone:
			return true
		}
		s.mu.Lock()
		switch {
		case s.ses != ses || len(f.run) == 0 || ses.ch.IsClosed():
			s.mu.Unlock()
			return true
		case f.came != came:
			s.mu.Unlock()
			return false
		case over:
			if quiet == mostHold {
				s.t.o.Logger.Warn("rabbitmq: what a queue delivers again stays incomplete; its order may be wrong", "group", s.sub.Group, "topic", f.topic, "messages", len(f.run))
			}
			f.settleRun()
			s.bell.Ring()
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
	}
}
