package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
)

// Payloads of acknowledgements.
var (
	ackAck     = []byte("+ACK")
	ackNak     = []byte("-NAK")
	inProgress = []byte("+WPI")
)

var errLost = fmt.Errorf("nats: settle: %w: it was settled, its lease or AckWait passed, or the connection was lost", bus.ErrLost)

// message is an acknowledgement on its way. With a feed, the server is to confirm it.
type message struct {
	subject string
	payload []byte
	confirm *feed
}

// Settle implements bus.Source. An acknowledgement is confirmed by the server; in an ordered group only as far as nothing
// before it in its lane is unsettled, so that others may come again after a death.
func (s *source) Settle(ctx context.Context, settlements []bus.Settlement) []error {
	errs := make([]error, len(settlements))
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		for i := range errs {
			errs[i] = fmt.Errorf("nats: settle: %w", errSourceClosed)
		}
		return errs
	}
	of := make([]*feed, len(settlements)) // whose confirm an acknowledgement waits for
	var out []message
	for i := range settlements {
		h := s.own(settlements[i].Delivery)
		if h == nil {
			errs[i] = errLost
			continue
		}
		out = s.settleOne(h, settlements[i].Release, out)
		if !settlements[i].Release {
			of[i] = h.f
		}
	}
	out = s.confirming(out)
	ses := s.ses
	var wait *confirms
	if ses != nil && len(out) > 0 {
		wait = ses.expect(out)
	}
	pulls := s.pulls()
	s.bell.Ring() // there is room below MaxInFlight
	s.mu.Unlock()
	if ses == nil {
		return errs
	}
	if len(out) > 0 {
		lost := ses.confirm(ctx, out, wait)
		for i, f := range of {
			if err := lost[f]; f != nil && err != nil {
				errs[i] = err
			}
		}
	}
	ses.pull(pulls)
	return errs
}

// settleOne notes one settlement, and adds what the server must hear of it at once. mu is held.
func (s *source) settleOne(h *held, release bool, out []message) []message {
	f := h.f
	f.drop(h)
	switch {
	case s.kind == shared && release:
		return append(out, message{h.ack, ackNak, nil})
	case s.kind == shared:
		return append(out, message{h.ack, ackAck, f})
	case release:
		f.putBack(h)
	case s.kind == laned:
		h.settled = true
		f.raise()
	}
	if s.kind == laned && f.draining && f.held == 0 {
		s.ses.wake()
	}
	return out
}

// confirming lets the server confirm one acknowledgement of each feed: it takes those of one consumer in their order, so
// that the last one stands for all. Lanes whose floor moved add theirs.
func (s *source) confirming(out []message) []message {
	if s.kind == laned {
		for _, f := range s.feeds {
			if f.moved && f.ackFloor != "" {
				f.moved = false
				out = append(out, message{f.ackFloor, ackAck, f})
			}
		}
		return out
	}
	last := make(map[*feed]bool, len(s.feeds))
	for i := len(out) - 1; i >= 0; i-- {
		if f := out[i].confirm; f != nil && last[f] {
			out[i].confirm = nil
		} else if f != nil {
			last[f] = true
		}
	}
	return out
}

// confirms is what one Settle waits for.
type confirms struct {
	number uint64
	left   int
	done   chan struct{}
	lost   map[*feed]error
}

// expect prepares for the confirms of out; nil when there are none. The source's mu is held.
func (ses *session) expect(out []message) *confirms {
	n := 0
	for _, m := range out {
		if m.confirm != nil {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	ses.confirmed++
	c := &confirms{number: ses.confirmed, left: n, done: make(chan struct{}), lost: make(map[*feed]error)}
	ses.confirms[c.number] = c
	return c
}

// confirm sends acknowledgements and waits for their confirms. It answers what became of the feeds for which none came.
func (ses *session) confirm(ctx context.Context, out []message, c *confirms) map[*feed]error {
	for _, m := range out {
		var err error
		if m.confirm != nil {
			err = ses.nc.PublishRequest(m.subject, ses.ackSubject(c.number, m.confirm.index), m.payload)
		} else {
			err = ses.nc.Publish(m.subject, m.payload)
		}
		if err != nil {
			ses.end(err)
			break
		}
	}
	if c == nil {
		return nil
	}
	limit := time.NewTimer(requestLimit)
	defer limit.Stop()
	var why error
	select {
	case <-c.done:
	case <-ses.lost:
		why = errLost
	case <-limit.C:
		why = errLost
		ses.end(errors.New("the server did not confirm acknowledgements in time"))
	case <-ctx.Done():
		why = fmt.Errorf("nats: settle: the acknowledgement is in doubt: %w", ctx.Err())
	}
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(ses.confirms, c.number)
	if why != nil {
		for _, m := range out {
			if m.confirm != nil && c.lost[m.confirm] != errConfirmed {
				c.lost[m.confirm] = why
			}
		}
	}
	for f, err := range c.lost {
		if err == errConfirmed {
			delete(c.lost, f)
		}
	}
	return c.lost
}

// errConfirmed marks a feed whose confirm has come.
var errConfirmed = errors.New("confirmed")

// acked takes the confirm of an acknowledgement. Without a consumer that could have taken it, the feed is lost.
func (ses *session) acked(m *natsgo.Msg) {
	number, index, ok := ses.parseAckSubject(m.Subject)
	if !ok {
		return
	}
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c := ses.confirms[number]
	if c == nil || index >= len(ses.feeds) {
		return
	}
	f := ses.feeds[index]
	if c.lost[f] != nil {
		return
	}
	c.lost[f] = errConfirmed
	if m.Header.Get("Status") == "503" {
		c.lost[f] = errLost
		ses.loseFeed(f)
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}
