package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// lot is a database that keeps failed messages, by the rules of bus.Parking. Its clock is the bubble's.
type lot struct {
	box
	mu      sync.Mutex
	lines   map[string]*lotLine
	handled map[string]bool
	dead    []string // id:reason
	parks   []string // id:attempts
	down    error
	most    int           // messages of a line; 0: any number
	slow    chan struct{} // Park waits for it, if it is there
	claims  int
	claimed chan struct{} // Claim waits for it when it has claimed something, if it is there
}

type lotLine struct {
	key      string
	ds       []*bus.Delivery
	attempts int // at the first one
	due      time.Time
	held     bool // claimed
	blocked  bool
	epoch    int
}

// lotToken is the token of a claimed line, and of its deliveries.
type lotToken struct {
	ln    *lotLine
	epoch int
}

func newLot() *lot { return &lot{lines: map[string]*lotLine{}, handled: map[string]bool{}} }

func (l *lot) Parking() bus.Parking { return l }

func lotKey(d *bus.Delivery) string {
	if d.Key == "" {
		return "/" + d.ID
	}
	return d.Key
}

func (l *lot) Park(ctx context.Context, _ string, f bus.Failure) error {
	if l.slow != nil {
		select {
		case <-l.slow:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		return l.down
	}
	ln := l.lines[lotKey(f.Delivery)]
	if tok, ok := f.Token.(lotToken); ok {
		if ln == nil || ln != tok.ln || ln.epoch != tok.epoch {
			return bus.ErrLost
		}
	} else if ln != nil {
		return l.join(ln, f.Delivery)
	} else {
		ln = &lotLine{key: lotKey(f.Delivery), ds: []*bus.Delivery{f.Delivery}}
		l.lines[ln.key] = ln
	}
	l.parks = append(l.parks, fmt.Sprint(f.ID, ":", f.Attempts))
	ln.held, ln.attempts, ln.due = false, f.Attempts, time.Now().Add(f.Delay)
	ln.epoch++
	if f.Dead != "" {
		l.dead = append(l.dead, f.ID+":"+f.Dead)
		if ln.blocked = !f.GoOn && f.Key != ""; !ln.blocked {
			l.leave(ln)
		}
	}
	return nil
}

// join puts a message behind others.
func (l *lot) join(ln *lotLine, d *bus.Delivery) error {
	if l.most > 0 && len(ln.ds) >= l.most {
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, bus.ErrParkingFull)
	}
	ln.ds = append(ln.ds, d)
	return nil
}

// leave takes the first message out of its line.
func (l *lot) leave(ln *lotLine) {
	ln.ds, ln.attempts = ln.ds[1:], 0
	if len(ln.ds) == 0 && !ln.held {
		delete(l.lines, ln.key)
	}
}

func (l *lot) Admit(_ context.Context, _ string, d *bus.Delivery) (func(context.Context) error, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if tok, ok := d.Token.(lotToken); ok {
		return func(context.Context) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if tok.ln.epoch == tok.epoch && len(tok.ln.ds) > 0 && tok.ln.ds[0].ID == d.ID {
				l.handled[d.ID] = true
				l.leave(tok.ln)
			}
			return nil
		}, true, nil
	}
	if l.handled[d.ID] {
		return nil, false, nil
	}
	if ln := l.lines[d.Key]; ln != nil {
		return nil, false, l.join(ln, d)
	}
	return nil, true, nil
}

func (l *lot) Claim(ctx context.Context, consumer string, ask bus.ParkedAsk) (bus.ParkedWork, error) {
	work, err := l.claim(ask)
	if l.claimed != nil && len(work.Lines) > 0 {
		<-l.claimed
	}
	return work, err
}

func (l *lot) claim(ask bus.ParkedAsk) (bus.ParkedWork, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims++
	work := bus.ParkedWork{Next: -1}
	if l.down != nil {
		return work, l.down
	}
	now := time.Now()
	var all []*lotLine
	for _, ln := range l.lines {
		work.Waiting += len(ln.ds)
		if !ln.blocked {
			all = append(all, ln)
		}
	}
	slices.SortFunc(all, func(a, b *lotLine) int {
		if c := a.due.Compare(b.due); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	for _, ln := range all {
		if ln.due.After(now) || len(work.Lines) == ask.Lines {
			work.Next = max(ln.due.Sub(now), 0)
			break
		}
		out := &bus.ParkedLine{Attempts: ln.attempts, Suspect: ln.held}
		ln.epoch++
		ln.held, ln.due = true, now.Add(ask.Hold)
		tok := lotToken{ln, ln.epoch}
		for _, d := range ln.ds[:min(len(ln.ds), ask.Rows)] {
			again := &bus.Delivery{Envelope: d.Envelope, Topic: d.Topic, Token: tok, Claims: lotClaims{}}
			out.Deliveries = append(out.Deliveries, again)
		}
		out.Token = tok
		work.Lines = append(work.Lines, out)
	}
	return work, nil
}

type lotClaims struct{}

func (lotClaims) Claim(context.Context, sqltx.Tx, []*bus.Delivery) ([]bus.Found, error) {
	return nil, nil
}

func (l *lot) Tend(_ context.Context, keep []*bus.ParkedLine, hold time.Duration, back []*bus.ParkedLine) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		return nil, l.down
	}
	ours := make([]bool, len(keep))
	for i, pl := range keep {
		tok := pl.Token.(lotToken)
		if ours[i] = tok.ln.epoch == tok.epoch; ours[i] {
			tok.ln.due = time.Now().Add(hold)
		}
	}
	for _, pl := range back {
		tok := pl.Token.(lotToken)
		ln := tok.ln
		if ln.epoch != tok.epoch {
			continue
		}
		ln.epoch++
		ln.held, ln.due = false, time.Now()
		if pl.Begun && len(ln.ds) > 0 && ln.ds[0].ID == pl.Deliveries[0].ID {
			ln.attempts--
		}
		if len(ln.ds) == 0 {
			delete(l.lines, ln.key)
		}
	}
	return ours, nil
}

func (l *lot) Begin(_ context.Context, pl *bus.ParkedLine, hold time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tok := pl.Token.(lotToken)
	if l.down != nil || tok.ln.epoch != tok.epoch {
		return false, l.down
	}
	tok.ln.attempts++
	tok.ln.due = time.Now().Add(hold)
	return true, nil
}

// waits answers the ids that wait, by key.
func (l *lot) waits(key string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	if ln := l.lines[key]; ln != nil {
		for _, d := range ln.ds {
			ids = append(ids, d.ID)
		}
	}
	return strings.Join(ids, " ")
}

// steal is another process that takes a line over and handles nothing of it.
func (l *lot) steal(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lines[key]
	ln.epoch++
	ln.held, ln.due = true, time.Now().Add(time.Hour)
}
