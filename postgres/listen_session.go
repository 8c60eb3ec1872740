package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold/outbox"
)

// news is what this process has to tell the others. It outlives connections, so that what could not be told is told
// when there is one again.
type news struct {
	every time.Duration
	rings [3]<-chan outbox.Ring // of spokenOf
	tell  [3]bool
	due   time.Time // when it is told; zero: there is nothing
	told  time.Time
}

// note takes a ring. What was committed is told at once, but not sooner than every after the last time; what may not be
// committed yet waits for that long, since a look that comes too early is for nothing.
func (n *news) note(i int, r outbox.Ring, now time.Time) {
	if r == outbox.Heard { // it came from another process: to tell it on would go round for ever
		return
	}
	n.tell[i] = true
	due := n.told.Add(n.every)
	if r == outbox.Soon || due.Before(now) {
		due = now
	}
	if r == outbox.Soon {
		due = due.Add(n.every)
	}
	if n.due.IsZero() || due.Before(n.due) {
		n.due = due
	}
}

// drain notes what was rung and not looked at yet.
func (n *news) drain() {
	for i := range n.rings {
		select {
		case r := <-n.rings[i]:
			n.note(i, r, time.Now())
		default:
		}
	}
}

// payload says which tables there is something new in.
func (n *news) payload() string {
	var words []string
	for i, t := range spokenOf() {
		if n.tell[i] {
			words = append(words, t.String())
		}
	}
	return strings.Join(words, " ")
}

// A session is one connection of a Listener. It waits for notifications, and is interrupted to send one.
type session struct {
	*Listener
	conn    *pgx.Conn
	news    *news
	checked time.Time // when the connection was last known to live
}

// heard is how a wait ended.
type heard struct {
	n   *pgconn.Notification
	err error
}

func (s *session) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.wait(ctx); err != nil {
			return err
		}
		if err := s.act(ctx); err != nil {
			return err
		}
	}
	s.news.drain()
	if s.news.due.IsZero() {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return s.notify(last)
}

// wait returns when a notification has come and was passed on, or when there is something to do.
func (s *session) wait(ctx context.Context) error {
	waiting, interrupt := context.WithCancel(ctx)
	defer interrupt()
	ended := make(chan heard, 1)
	go func() { // ends at the latest with the interrupt, for which the select below or the line behind it waits
		n, err := s.conn.WaitForNotification(waiting)
		ended <- heard{n, err}
	}()
	h, ok := s.await(ctx, ended)
	if !ok {
		interrupt()
		h = <-ended
	}
	if h.n != nil {
		s.hear(h.n)
	}
	if s.conn.IsClosed() || ok && h.err != nil && ctx.Err() == nil {
		return fmt.Errorf("postgres: listen: the connection was lost: %w", h.err)
	}
	return nil
}

// await collects rings until a wait ends, or, with false, until there is something to do.
func (s *session) await(ctx context.Context, ended <-chan heard) (heard, bool) {
	timer := time.NewTimer(time.Until(s.next()))
	defer timer.Stop()
	for {
		select {
		case h := <-ended:
			return h, true
		case r := <-s.news.rings[0]:
			s.news.note(0, r, time.Now())
		case r := <-s.news.rings[1]:
			s.news.note(1, r, time.Now())
		case r := <-s.news.rings[2]:
			s.news.note(2, r, time.Now())
		case <-timer.C:
			return heard{}, false
		case <-ctx.Done():
			return heard{}, false
		}
		timer.Reset(time.Until(s.next()))
	}
}

// next is when there is something to do at the latest.
func (s *session) next() time.Time {
	check := s.checked.Add(s.opts.Check)
	if !s.news.due.IsZero() && s.news.due.Before(check) {
		return s.news.due
	}
	return check
}

// act does what is due.
func (s *session) act(ctx context.Context) error {
	now := time.Now()
	switch {
	case ctx.Err() != nil:
		return nil
	case !s.news.due.IsZero() && !now.Before(s.news.due):
		return s.notify(ctx)
	case now.Sub(s.checked) >= s.opts.Check:
		limited, cancel := context.WithTimeout(ctx, min(listenLimit, s.opts.Check))
		defer cancel()
		if err := s.conn.Ping(limited); err != nil {
			return fmt.Errorf("postgres: listen: the connection does not answer: %w", err)
		}
		s.checked = now
	}
	return nil
}

// notify tells the others, in a transaction of its own.
func (s *session) notify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listenLimit)
	defer cancel()
	now := time.Now()
	// Nothing is prepared: there may be a pooler in between.
	_, err := s.conn.Exec(ctx, "select pg_catalog.pg_notify($1, $2)", pgx.QueryExecModeExec, s.channel, s.news.payload())
	if err != nil {
		return fmt.Errorf("postgres: notify: %w", err)
	}
	s.checked, s.news.told = now, now
	s.news.tell, s.news.due = [3]bool{}, time.Time{}
	return nil
}

// hear rings the bells of this process for what another one has told.
func (s *session) hear(n *pgconn.Notification) {
	if n.Channel != s.channel || n.PID == s.conn.PgConn().PID() { // our own: the bell was rung before it was told
		return
	}
	s.checked = time.Now()
	for _, t := range spokenOf() {
		if said(n.Payload, t) {
			s.outbox.Bell(t).Ring(outbox.Heard)
		}
	}
}
