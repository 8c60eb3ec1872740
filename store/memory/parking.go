package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type lineKey struct{ consumer, key string }

// line is a key whose messages wait, or one message without a key.
type line struct {
	lineKey
	due      time.Time
	blocked  bool   // its first message is dead
	token    string // of who claimed it
	head     int64  // attempts were begun at it
	attempts int
	size     int
}

// parked is a message in a line, or a dead letter without one.
type parked struct {
	inbox.Item
	consumer string
	line     int64
	dead     bool
	relay    bool // a row that no broker takes; consumer is its class
}

// maxDelay is the longest delay that is kept; a longer one ends then.
const maxDelay = 100 * 365 * 24 * time.Hour

// parking implements inbox.Parking.
type parking struct{ st *Store }

// isParked reports whether the message of a record is there.
func (s *Store) isParked(key recordKey) bool {
	for _, c := range s.parked {
		if c.now != nil && c.now.consumer == key.consumer && c.now.Message == key.message {
			return true
		}
	}
	return false
}

// draw answers a number that is higher than all before.
func (s *Store) draw() int64 {
	s.numbers++
	return s.numbers
}

// left answers the messages of a line as tx sees them.
func (s *Store) left(tx *Tx, of int64) (ns []int64) {
	for _, n := range s.members[of] {
		if p := s.parked.seen(tx, n); p != nil && p.line == of {
			ns = append(ns, n)
		}
	}
	return ns
}

// end removes a line, which tx holds.
func (s *Store) end(tx *Tx, of int64, l *line) {
	s.lines.put(tx, of, nil)
	if l.key != "" {
		s.lineOf.put(tx, l.lineKey, nil)
	}
}

// Park implements inbox.Parking.
func (p parking) Park(ctx context.Context, t sqltx.Tx, consumer string, items []inbox.Item) ([]bool, error) {
	const what = "park"
	tx, err := p.st.own(t, what)
	if err != nil {
		return nil, err
	}
	entered := make([]bool, len(items))
	err = tx.do(ctx, what, func() error {
		if err := p.enter(ctx, tx, consumer, items, entered); err != nil {
			return err
		}
		made, err := p.linesOf(ctx, tx, consumer, items, entered)
		if err != nil {
			return err
		}
		for i := range items {
			if entered[i] {
				p.put(tx, consumer, &items[i], made)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entered, nil
}

// enter says which of items are entered, and enters them in the inbox where they are to be.
func (p parking) enter(ctx context.Context, tx *Tx, consumer string, items []inbox.Item, entered []bool) error {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(items[a].Message[:], items[b].Message[:]) })
	for _, i := range order {
		it, key := &items[i], recordKey{consumer, items[i].Message}
		if entered[i] = !it.Enter; !it.Enter {
			continue
		}
		if err := p.st.records.free(ctx, tx, key); err != nil {
			return err
		}
		if have := p.st.records.seen(tx, key); have == nil || have.state == suspected {
			entered[i] = true
			p.st.records.put(tx, key, &record{digest: it.Digest, state: waiting, attempts: min(it.Attempts, math.MaxInt16), at: p.st.clock()})
		}
	}
	return nil
}

// linesOf makes the lines of items longer, in the order of their keys, and answers those that it made.
func (p parking) linesOf(ctx context.Context, tx *Tx, consumer string, items []inbox.Item, entered []bool) (map[int64]bool, error) {
	more := map[string]int{}
	for i := range items {
		if it := &items[i]; entered[i] && it.Key != "" && !(it.Dead && it.Loose) {
			more[it.Key]++
		}
	}
	made := map[int64]bool{}
	for _, key := range sortedKeys(more) {
		at := lineKey{consumer, key}
		for {
			if err := p.st.lineOf.free(ctx, tx, at); err != nil {
				return nil, err
			}
			id := p.st.lineOf.seen(tx, at)
			if id == nil {
				n := p.st.draw()
				made[n] = true
				p.st.lineOf.put(tx, at, &n)
				p.st.lines.put(tx, n, &line{lineKey: at, due: p.st.clock(), size: more[key]})
				break
			}
			if p.st.lines.held(tx, *id) { // whoever holds it may be ending it
				if err := p.st.lines.free(ctx, tx, *id); err != nil {
					return nil, err
				}
				continue
			}
			l := *p.st.lines.seen(tx, *id)
			l.size += more[key]
			p.st.lines.put(tx, *id, &l)
			break
		}
		if id := *p.st.lineOf.seen(tx, at); p.st.lines.seen(tx, id).size > inbox.MaxLine {
			tx.failed = inbox.ErrLineFull
			return nil, inbox.ErrLineFull
		}
	}
	return made, nil
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// put enters one message into its line.
func (p parking) put(tx *Tx, consumer string, it *inbox.Item, made map[int64]bool) {
	s := p.st
	row := &parked{Item: *it, consumer: consumer}
	row.Attrs, row.Body = bytes.Clone(it.Attrs), bytes.Clone(it.Body)
	switch {
	case it.Dead && (it.Loose || it.Key == ""):
		row.dead = true
	case it.Key == "":
		row.line = s.draw()
		s.lines.put(tx, row.line, &line{lineKey: lineKey{consumer: consumer}, due: s.clock().Add(delay(it.Delay)), size: 1})
	default:
		row.line = *s.lineOf.seen(tx, lineKey{consumer, it.Key})
		if made[row.line] { // the first one says when it is due
			delete(made, row.line)
			l := *s.lines.seen(tx, row.line)
			l.due, l.blocked = s.clock().Add(delay(it.Delay)), it.Dead
			s.lines.put(tx, row.line, &l)
			row.dead = it.Dead
		}
	}
	if row.dead && it.Enter {
		key := recordKey{consumer, it.Message}
		have := *s.records.seen(tx, key)
		have.state = dead
		s.records.put(tx, key, &have)
	}
	n := s.draw()
	s.parked.put(tx, n, row)
	if row.line != 0 {
		s.members[row.line] = append(s.members[row.line], n)
	}
}

func delay(d time.Duration) time.Duration { return min(max(d, 0), maxDelay) }

// Claim implements inbox.Parking.
func (p parking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (out inbox.Claimed, err error) {
	s := p.st
	err = s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "claim parked messages", func() error {
			now := s.clock()
			maps.DeleteFunc(s.members, func(id int64, _ []int64) bool { return s.lines[id] == nil }) // of lines that have ended
			out = inbox.Claimed{Next: -1, Waiting: -1}
			for _, id := range s.dueLines(tx, consumer, now, ask.Lines) {
				l := *s.lines.seen(tx, id)
				ns := s.left(tx, id)
				s.members[id] = slices.DeleteFunc(s.members[id], func(n int64) bool { return s.parked[n] == nil })
				if len(ns) == 0 {
					s.end(tx, id, &l)
					continue
				}
				expired := l.token != ""
				if l.head != ns[0] {
					l.head, l.attempts = ns[0], s.parked.seen(tx, ns[0]).Attempts
				}
				l.token, l.due, l.size = ask.Token, now.Add(delay(ask.Hold)), len(ns)
				s.lines.put(tx, id, &l)
				got := inbox.Line{ID: id, Token: ask.Token, Suspect: expired, Attempts: l.attempts}
				for _, n := range ns[:min(len(ns), max(ask.Rows, 0))] {
					r := s.parked.seen(tx, n)
					got.Rows = append(got.Rows, inbox.Waiting{N: n, Message: r.Message, ID: r.ID, Topic: r.Topic, Key: r.Key,
						Attrs: bytes.Clone(r.Attrs), Body: bytes.Clone(r.Body), Damaged: r.Damaged, Attempts: r.Attempts})
				}
				out.Lines = append(out.Lines, got)
			}
			all := 0
			for id := range s.lines {
				l := s.lines.seen(tx, id)
				if l == nil || l.consumer != consumer {
					continue
				}
				all += l.size
				if wait := max(0, l.due.Sub(now)); !l.blocked && l.token != ask.Token && (out.Next < 0 || wait < out.Next) {
					out.Next = wait
				}
			}
			if ask.Count {
				out.Waiting = all
			}
			return nil
		})
	})
	if err != nil {
		return inbox.Claimed{}, err
	}
	return out, nil
}

// dueLines answers up to limit lines that are due and held by no other transaction, those that are due first in front.
func (s *Store) dueLines(tx *Tx, consumer string, now time.Time, limit int) (ids []int64) {
	for id := range s.lines {
		l := s.lines.seen(tx, id)
		if l != nil && l.consumer == consumer && !l.blocked && !l.due.After(now) && !s.lines.held(tx, id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int {
		return cmp.Or(s.lines.seen(tx, a).due.Compare(s.lines.seen(tx, b).due), cmp.Compare(a, b))
	})
	return ids[:min(len(ids), max(limit, 0))]
}

// Take implements inbox.Parking.
func (p parking) Take(ctx context.Context, t sqltx.Tx, ns []inbox.Ticket) (taken []int64, err error) {
	const what = "take parked messages"
	s := p.st
	tx, err := s.own(t, what)
	if err != nil {
		return nil, err
	}
	ns = slices.Clone(ns)
	slices.SortFunc(ns, func(a, b inbox.Ticket) int { return cmp.Compare(a.N, b.N) })
	err = tx.do(ctx, what, func() error {
		for _, ticket := range ns {
			if err := s.parked.free(ctx, tx, ticket.N); err != nil {
				return err
			}
			r := s.parked.seen(tx, ticket.N)
			if r == nil {
				continue
			}
			l := s.lines.seen(tx, r.line)
			if l == nil || l.token != ticket.Token {
				continue
			}
			count := r.Attempts + 1
			if l.head == ticket.N {
				count = max(count, l.attempts)
			}
			s.parked.put(tx, ticket.N, nil)
			taken = append(taken, ticket.N)
			if err := p.record(ctx, tx, r, handled, count); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// record puts down in the inbox, where the message is there, what became of it.
func (p parking) record(ctx context.Context, tx *Tx, r *parked, to state, attempts int) error {
	key := recordKey{r.consumer, r.Message}
	if err := p.st.records.free(ctx, tx, key); err != nil {
		return err
	}
	if have := p.st.records.seen(tx, key); have != nil && have.state != handled {
		p.st.records.put(tx, key, &record{digest: have.digest, state: to, attempts: min(attempts, math.MaxInt16), at: p.st.clock()})
	}
	return nil
}

// Fail implements inbox.Parking.
func (p parking) Fail(ctx context.Context, f inbox.Failed) error {
	s := p.st
	return s.run(ctx, func(tx *Tx) error {
		err := tx.do(ctx, "put down a failed attempt", func() error {
			if err := s.lines.free(ctx, tx, f.Line); err != nil {
				return err
			}
			held := s.lines.seen(tx, f.Line)
			if held == nil || held.token != f.Token {
				return inbox.ErrNotOurs
			}
			s.lines.put(tx, f.Line, held) // nobody else takes it while this waits
			if err := s.parked.free(ctx, tx, f.N); err != nil {
				return err
			}
			ns := s.left(tx, f.Line)
			if !slices.Contains(ns, f.N) {
				return inbox.ErrNotOurs
			}
			earlier := ns[0] != f.N // was redriven meanwhile
			l, r := *held, *s.parked.seen(tx, f.N)
			loose := f.Dead && (f.Loose || l.key == "")
			dies := loose || f.Dead && !earlier
			r.Attempts, r.Error, r.Reason, r.Node, r.dead = f.Attempts, f.Error, f.Reason, f.Node, dies
			l.token, l.head, l.attempts, l.size = "", f.N, f.Attempts, len(ns)
			l.due, l.blocked = s.clock().Add(delay(f.Delay)), dies
			to := waiting
			if dies {
				to = dead
			}
			if earlier {
				l.due = s.clock()
			}
			if loose {
				r.line, l.blocked, l.due, l.size = 0, false, s.clock(), len(ns)-1
			}
			s.parked.put(tx, f.N, &r)
			if l.size == 0 {
				s.end(tx, f.Line, &l)
			} else {
				s.lines.put(tx, f.Line, &l)
			}
			return p.record(ctx, tx, &r, to, f.Attempts)
		})
		if err != nil || f.Also == nil {
			return err
		}
		return f.Also(ctx, sqltx.Native(tx))
	})
}

// Tend implements inbox.Parking.
func (p parking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) (kept []int64, err error) {
	s := p.st
	err = s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "keep parked messages", func() error {
			for _, h := range keep {
				l := s.lines.seen(tx, h.Line)
				if l == nil || l.token != h.Token {
					continue
				}
				kept = append(kept, h.Line)
				if h.Begins {
					if err := s.lines.free(ctx, tx, h.Line); err != nil {
						return err
					}
					if l = s.lines.seen(tx, h.Line); l == nil || l.token != h.Token {
						kept = kept[:len(kept)-1]
						continue
					}
				}
				if !s.lines.held(tx, h.Line) { // else it is kept at the next call
					longer := *l
					longer.due = s.clock().Add(delay(hold))
					if h.Begins {
						longer.attempts++
					}
					s.lines.put(tx, h.Line, &longer)
				}
			}
			return nil
		})
	})
	for i := 0; i < len(back) && err == nil; i++ {
		err = p.giveBack(ctx, back[i])
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(kept)
	return kept, nil
}

func (p parking) giveBack(ctx context.Context, r inbox.Return) error {
	s := p.st
	return s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "give parked messages back", func() error {
			if err := s.lines.free(ctx, tx, r.Line); err != nil {
				return err
			}
			held := s.lines.seen(tx, r.Line)
			if held == nil || held.token != r.Token {
				return nil
			}
			l, ns := *held, s.left(tx, r.Line)
			if len(ns) == 0 {
				s.end(tx, r.Line, &l)
				return nil
			}
			if r.Begins && l.head == ns[0] && l.attempts > 0 {
				l.attempts--
			}
			l.token, l.due, l.size = "", s.clock().Add(delay(r.Delay)), len(ns)
			s.lines.put(tx, r.Line, &l)
			return nil
		})
	})
}
