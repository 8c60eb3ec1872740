package store

import (
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Take implements inbox.Parking. Whoever comes second waits for the rows; the tokens are looked at afterwards, so that one
// which waited through a take-over is refused too.
func (p *myParking) Take(ctx context.Context, tx sqltx.Tx, ns []inbox.Ticket) ([]int64, error) {
	if len(ns) == 0 {
		return nil, nil
	}
	tickets := slices.Clone(ns)
	slices.SortFunc(tickets, func(a, b inbox.Ticket) int { return int(min(1, max(-1, a.N-b.N))) })
	numbers := make([]int64, len(tickets))
	for i, t := range tickets {
		numbers[i] = t.N
	}
	if err := p.lock.each(ctx, tx, scanInts(new([]int64)), jsonInts(numbers)); err != nil {
		return nil, failed("take parked messages", err)
	}
	var taken []int64
	for _, t := range tickets {
		var consumer string
		var message []byte
		count := -1
		err := p.taken.each(ctx, tx, func(r sqltx.Rows) error { return r.Scan(&consumer, &message, &count) }, t.N, t.Token)
		if err == nil && count < 0 {
			continue
		}
		if err == nil {
			_, err = p.remove.exec(ctx, tx, t.N)
		}
		if err == nil {
			_, err = p.forget.exec(ctx, tx, t.N)
		}
		if err == nil {
			_, err = p.handled.exec(ctx, tx, consumer, message, count)
		}
		if err != nil {
			return nil, failed("take parked messages", err)
		}
		taken = append(taken, t.N)
	}
	return taken, nil
}

// Fail implements inbox.Parking. It waits for other transactions that change the line.
func (p *myParking) Fail(ctx context.Context, f inbox.Failed) error {
	return failed("put down a failed attempt", p.db.InTx(ctx, func(tx sqltx.Tx) error {
		if err := p.fail(ctx, tx, &f); err != nil || f.Also == nil {
			return err
		}
		return f.Also(ctx, tx)
	}))
}

func (p *myParking) fail(ctx context.Context, tx sqltx.Tx, f *inbox.Failed) error {
	ours, noKey, there := false, false, false
	err := p.ours.each(ctx, tx, func(r sqltx.Rows) error { ours = true; return r.Scan(&noKey) }, f.Line, f.Token)
	if err != nil || !ours {
		return orNotOurs(err)
	}
	var consumer string
	var message []byte
	err = p.member.each(ctx, tx, func(r sqltx.Rows) error { there = true; return r.Scan(&consumer, &message) }, f.N, f.Line)
	if err != nil || !there {
		return orNotOurs(err)
	}
	size, first, _, err := p.contentOf(ctx, tx, f.Line)
	if err != nil {
		return err
	}
	earlier := first != f.N // was redriven meanwhile
	loose := f.Dead && (f.Loose || noKey)
	dies := loose || f.Dead && !earlier
	_, err = p.failed.exec(ctx, tx, f.N, f.Attempts, plain(f.Error), plain(f.Reason), plain(f.Node), dies, loose)
	if err == nil {
		_, err = p.attempt.exec(ctx, tx, f.N, f.Attempts, plain(f.Node), plain(f.Error))
	}
	if err == nil {
		err = p.trimAttempts(ctx, tx, f.N)
	}
	if err == nil {
		_, err = p.entered.exec(ctx, tx, consumer, message, dies, f.Attempts)
	}
	if err != nil {
		return err
	}
	due := micros(f.Delay)
	switch {
	case loose && size == 1:
		_, err = p.end.exec(ctx, tx, f.Line)
		return err
	case loose:
		size, due = size-1, 0
	case earlier:
		due = 0
	case dies:
		due = -1
	}
	_, err = p.rest.exec(ctx, tx, f.Line, size, f.N, f.Attempts, due)
	return err
}

func orNotOurs(err error) error {
	if err != nil {
		return err
	}
	return inbox.ErrNotOurs
}

// trimAttempts keeps the newest 50.
func (p *myParking) trimAttempts(ctx context.Context, tx sqltx.Tx, n int64) error {
	var old []int64
	err := p.old.each(ctx, tx, scanInts(&old), n)
	for _, id := range old {
		if err == nil {
			_, err = p.trim.exec(ctx, tx, id)
		}
	}
	return err
}

// Tend implements inbox.Parking. What is kept is kept first, without waiting for anybody.
func (p *myParking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) ([]int64, error) {
	var kept []int64
	tokens, begins := map[int64]string{}, map[int64]string{}
	for _, h := range keep {
		if h.Begins {
			begins[h.Line] = h.Token
		} else {
			tokens[h.Line] = h.Token
		}
	}
	if len(tokens) > 0 {
		if err := p.db.InTx(ctx, func(tx sqltx.Tx) (err error) { kept, err = p.keepAll(ctx, tx, tokens, hold); return err }); err != nil {
			return nil, failed("keep parked messages", err)
		}
	}
	if len(begins) > 0 {
		var more []int64
		if err := p.db.InTx(ctx, func(tx sqltx.Tx) (err error) { more, err = p.beginAll(ctx, tx, begins, hold); return err }); err != nil {
			return nil, failed("keep parked messages", err)
		}
		kept = append(kept, more...)
	}
	slices.Sort(kept)
	if len(back) > 0 {
		if err := p.db.InTx(ctx, func(tx sqltx.Tx) error { return p.giveBack(ctx, tx, back) }); err != nil {
			return nil, failed("give parked messages back", err)
		}
	}
	return kept, nil
}

func idsOfLines(tokens map[int64]string) string {
	ids := make([]int64, 0, len(tokens))
	for id := range tokens {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return jsonInts(ids)
}

// matching runs a statement that answers lines with their tokens, and answers those that are ours, in its order.
func matching(ctx context.Context, tx sqltx.Tx, s myStatement, tokens map[int64]string) (ids []int64, err error) {
	err = s.each(ctx, tx, func(r sqltx.Rows) error {
		var id int64
		var token string
		err := r.Scan(&id, &token)
		if err == nil && tokens[id] == token {
			ids = append(ids, id)
		}
		return err
	}, idsOfLines(tokens))
	return ids, err
}

// keepAll keeps lines that nobody holds, and answers all that are ours.
func (p *myParking) keepAll(ctx context.Context, tx sqltx.Tx, tokens map[int64]string, hold time.Duration) ([]int64, error) {
	free, err := matching(ctx, tx, p.skip, tokens)
	if err == nil && len(free) > 0 {
		_, err = p.keep.exec(ctx, tx, jsonInts(free), micros(hold))
	}
	if err != nil {
		return nil, err
	}
	return matching(ctx, tx, p.held, tokens)
}

// beginAll keeps lines and counts an attempt, in the order in which everybody locks lines.
func (p *myParking) beginAll(ctx context.Context, tx sqltx.Tx, tokens map[int64]string, hold time.Duration) (kept []int64, err error) {
	ids, err := matching(ctx, tx, p.ordered, tokens)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		n, err := p.begins.exec(ctx, tx, id, tokens[id], micros(hold))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			kept = append(kept, id)
		}
	}
	return kept, nil
}

// giveBack gives lines back, and ends those without messages. Each is locked before it is asked by another statement whether
// messages are left.
func (p *myParking) giveBack(ctx context.Context, tx sqltx.Tx, back []inbox.Return) error {
	tokens, of := map[int64]string{}, map[int64]inbox.Return{}
	for _, r := range back {
		tokens[r.Line], of[r.Line] = r.Token, r
	}
	ids, err := matching(ctx, tx, p.ordered, tokens)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, ours, head, begun := of[id], false, int64(0), 0
		err := p.locked.each(ctx, tx, func(rows sqltx.Rows) error { ours = true; return rows.Scan(&head, &begun) }, id, r.Token)
		if err != nil {
			return err
		}
		if !ours {
			continue
		}
		size, first, _, err := p.contentOf(ctx, tx, id)
		if err != nil {
			return err
		}
		if size == 0 {
			_, err = p.end.exec(ctx, tx, id)
		} else {
			if r.Begins && head == first && begun > 0 {
				begun--
			}
			_, err = p.back.exec(ctx, tx, id, size, micros(r.Delay), begun)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
