package store

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// never is when a line is due whose first message is dead.
const never = math.MaxInt64

// liteParking implements inbox.Parking. One transaction writes at a time, so that nothing has to be locked.
type liteParking struct {
	*lite
	enter, dead, grow, open, insert, attempt string // Park
	claimable, content, begin, next, waiting string // Claim
	rows, taken, remove, forget, handled     string // and Take
	ours, member, failed, trim               string // Fail
	entered, rest, end                       string // and
	back, keep                               string // Tend
}

func newLiteParking(l *lite) *liteParking {
	fill := l.names.fill
	return &liteParking{lite: l,
		enter: fill("INSERT INTO {{inbox}} (consumer, message, digest, state, attempts, at) VALUES (?1, ?2, ?3, 2, ?4, ?5) ON CONFLICT (consumer, message) DO UPDATE " +
			"SET state = 2, digest = excluded.digest, attempts = excluded.attempts, at = excluded.at WHERE state = 0"),
		dead:      fill("UPDATE {{inbox}} SET state = 3 WHERE consumer = ?1 AND message = ?2"),
		grow:      fill("UPDATE {{line}} SET size = size + 1 WHERE consumer = ?1 AND key = ?2 RETURNING id, size"),
		open:      fill("INSERT INTO {{line}} (consumer, key, due, size) VALUES (?1, ?2, ?3, 1) RETURNING id"),
		insert:    fill("INSERT INTO {{parked}} (line, state, consumer, message, digest, id, source, type, topic, key, attrs, body, damaged, attempts, reason, error, node, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?18) RETURNING n"),
		attempt:   fill("INSERT INTO {{attempt}} (n, attempt, at, node, error) VALUES (?1, ?2, ?3, ?4, ?5)"),
		claimable: fill("SELECT id, coalesce(head, 0), attempts, token IS NOT NULL FROM {{line}} WHERE consumer = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3"),
		content:   fill("SELECT count(*), coalesce(min(n), 0) FROM {{parked}} WHERE line = ?1"),
		begin:     fill("UPDATE {{line}} SET token = ?2, due = ?3, size = ?4, head = ?5, attempts = CASE WHEN ?6 THEN attempts ELSE (SELECT p.attempts FROM {{parked}} p WHERE p.n = ?5) END WHERE id = ?1 RETURNING attempts"),
		end:       fill("DELETE FROM {{line}} WHERE id = ?1"),
		next:      fill("SELECT due FROM {{line}} WHERE consumer = ?1 AND due < 9223372036854775807 AND (token IS NULL OR token <> ?2) ORDER BY due LIMIT 1"),
		waiting:   fill("SELECT coalesce(sum(size), 0) FROM {{line}} WHERE consumer = ?1"),
		rows:      fill("SELECT n, message, id, topic, coalesce(key, ''), attrs, body, body IS NULL, coalesce(damaged, ''), attempts, epoch FROM {{parked}} WHERE line = ?1 ORDER BY n LIMIT ?2"),
		taken: fill("SELECT p.consumer, p.message, CASE WHEN l.head = p.n THEN max(l.attempts, p.attempts + 1) ELSE p.attempts + 1 END FROM {{parked}} p JOIN {{line}} l ON l.id = p.line " +
			"WHERE p.n = ?1 AND l.token = ?2"),
		remove:  fill("DELETE FROM {{parked}} WHERE n = ?1"),
		forget:  fill("DELETE FROM {{attempt}} WHERE n = ?1"),
		handled: fill("UPDATE {{inbox}} SET state = 1, attempts = min(?3, 32767), at = ?4 WHERE consumer = ?1 AND message = ?2 AND state <> 1"),
		member:  fill("SELECT 1 FROM {{parked}} WHERE n = ?1 AND line = ?2"),
		ours:    fill("SELECT key IS NULL FROM {{line}} WHERE id = ?1 AND token = ?2"),
		failed: fill("UPDATE {{parked}} SET attempts = ?2, error = ?3, reason = ?4, node = ?5, last_at = ?6, state = CASE WHEN ?7 THEN 2 ELSE 1 END, " +
			"line = CASE WHEN ?8 THEN NULL ELSE line END WHERE n = ?1 RETURNING consumer, message"),
		trim:    fill("DELETE FROM {{attempt}} WHERE rowid IN (SELECT rowid FROM {{attempt}} WHERE n = ?1 ORDER BY at DESC, attempt DESC LIMIT -1 OFFSET 50)"),
		entered: fill("UPDATE {{inbox}} SET state = CASE WHEN ?3 THEN 3 ELSE state END, attempts = min(?4, 32767) WHERE consumer = ?1 AND message = ?2 AND state = 2"),
		rest:    fill("UPDATE {{line}} SET token = NULL, size = ?2, head = ?3, attempts = ?4, due = ?5 WHERE id = ?1"),
		back:    fill("UPDATE {{line}} SET token = NULL, size = ?2, due = ?4, attempts = attempts - (?5 AND coalesce(head, 0) = ?3 AND attempts > 0) WHERE id = ?1"),
		keep:    fill("UPDATE {{line}} SET due = ?3, attempts = attempts + ?4 WHERE id = ?1 AND token = ?2"),
	}
}

// Park implements inbox.Parking.
func (p *liteParking) Park(ctx context.Context, tx sqltx.Tx, consumer string, items []inbox.Item) ([]bool, error) {
	entered := make([]bool, len(items))
	now := p.now()
	for i := range items {
		it := &items[i]
		if it.Enter {
			n, err := tx.Exec(ctx, p.enter, consumer, it.Message[:], it.Digest[:], min(it.Attempts, math.MaxInt16), now)
			if err != nil {
				return nil, failed("park", err)
			}
			if n == 0 {
				continue
			}
		}
		if err := p.parkOne(ctx, tx, consumer, it, now); err != nil {
			return nil, failed("park", err)
		}
		entered[i] = true
	}
	return entered, nil
}

func (p *liteParking) parkOne(ctx context.Context, tx sqltx.Tx, consumer string, it *inbox.Item, now int64) error {
	state, key := 1, plain(it.Key)
	var line any
	if it.Dead && (it.Loose || key == "") {
		state = 2
	} else {
		id, made, err := p.lineOf(ctx, tx, consumer, key, it, now)
		if err != nil {
			return err
		}
		line = id
		if made && it.Dead {
			state = 2
		}
	}
	attrs := it.Attrs
	if attrs == nil {
		attrs = []byte{}
	}
	var body any
	if it.Body != nil {
		body = it.Body
	}
	n, err := oneInt(ctx, tx, p.insert, line, state, consumer, it.Message[:], it.Digest[:], plain(it.ID), plain(it.Source), plain(it.Type), plain(it.Topic), orNil(key),
		attrs, body, orNil(plain(it.Damaged)), it.Attempts, plain(it.Reason), plain(it.Error), plain(it.Node), now)
	if err != nil {
		return err
	}
	if it.Error != "" {
		if _, err := tx.Exec(ctx, p.attempt, n, it.Attempts, now, plain(it.Node), plain(it.Error)); err != nil {
			return err
		}
	}
	if state == 2 && it.Enter {
		_, err = tx.Exec(ctx, p.dead, consumer, it.Message[:])
	}
	return err
}

// lineOf answers the line that an item goes to, longer by one, and whether it was made.
func (p *liteParking) lineOf(ctx context.Context, tx sqltx.Tx, consumer, key string, it *inbox.Item, now int64) (id int64, made bool, err error) {
	size := 0
	err = tx.Each(ctx, p.grow, []any{consumer, orNil(key)}, func(r sqltx.Rows) error { return r.Scan(&id, &size) })
	switch {
	case err != nil:
		return 0, false, err
	case size > inbox.MaxLine:
		return 0, false, inbox.ErrLineFull
	case size > 0:
		return id, false, nil
	}
	due := now + micros(it.Delay)
	if it.Dead {
		due = never
	}
	id, err = oneInt(ctx, tx, p.open, consumer, orNil(key), due)
	return id, true, err
}

// oneInt answers the number that a statement returns.
func oneInt(ctx context.Context, tx sqltx.Tx, q string, args ...any) (n int64, err error) {
	err = tx.Each(ctx, q, args, func(r sqltx.Rows) error { return r.Scan(&n) })
	return n, err
}

// Claim implements inbox.Parking. It looks before it begins a transaction, which would stop other writers.
func (p *liteParking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	out, err := p.outlook(ctx, consumer, ask, p.db.EachRow)
	if err == nil && out.Next == 0 && ask.Lines > 0 {
		err = p.db.InTx(ctx, func(tx sqltx.Tx) (err error) {
			out, err = p.claim(ctx, tx, consumer, ask)
			return err
		})
	}
	if err != nil {
		return inbox.Claimed{}, failed("claim parked messages", err)
	}
	return out, nil
}

// outlook answers what a claim of nothing does.
func (p *liteParking) outlook(ctx context.Context, consumer string, ask inbox.Ask, each eachRow) (inbox.Claimed, error) {
	out := inbox.Claimed{Next: -1, Waiting: -1}
	var due int64
	err := each(ctx, p.next, []any{consumer, ask.Token}, func(r sqltx.Rows) error {
		err := r.Scan(&due)
		out.Next = max(0, time.Duration(due-p.now())*time.Microsecond)
		return err
	})
	if err == nil && ask.Count {
		err = each(ctx, p.waiting, []any{consumer}, func(r sqltx.Rows) error { return r.Scan(&out.Waiting) })
	}
	return out, err
}

func (p *liteParking) claim(ctx context.Context, tx sqltx.Tx, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	type due struct {
		inbox.Line
		head  int64
		begun int
	}
	now := p.now()
	var all []due
	err := tx.Each(ctx, p.claimable, []any{consumer, now, ask.Lines}, func(r sqltx.Rows) error {
		d := due{Line: inbox.Line{Token: ask.Token}}
		err := r.Scan(&d.ID, &d.head, &d.begun, &d.Suspect)
		all = append(all, d)
		return err
	})
	if err != nil {
		return inbox.Claimed{}, err
	}
	var lines []inbox.Line
	for i := range all {
		d := &all[i]
		size, first, err := p.contentOf(ctx, tx, d.ID)
		if err != nil {
			return inbox.Claimed{}, err
		}
		if size == 0 {
			if _, err := tx.Exec(ctx, p.end, d.ID); err != nil {
				return inbox.Claimed{}, err
			}
			continue
		}
		begun, err := oneInt(ctx, tx, p.begin, d.ID, ask.Token, now+micros(ask.Hold), size, first, first == d.head)
		if err == nil {
			d.Attempts = int(begun)
			d.Rows, err = p.messages(ctx, tx, d.ID, ask.Rows)
		}
		if err != nil {
			return inbox.Claimed{}, err
		}
		lines = append(lines, d.Line)
	}
	out, err := p.outlook(ctx, consumer, ask, tx.Each)
	out.Lines = lines
	return out, err
}

func (p *liteParking) contentOf(ctx context.Context, tx sqltx.Tx, line int64) (size int, first int64, err error) {
	err = tx.Each(ctx, p.content, []any{line}, func(r sqltx.Rows) error { return r.Scan(&size, &first) })
	return size, first, err
}

func (p *liteParking) messages(ctx context.Context, tx sqltx.Tx, line int64, limit int) (all []inbox.Waiting, err error) {
	err = tx.Each(ctx, p.rows, []any{line, limit}, func(r sqltx.Rows) error {
		var w inbox.Waiting
		var message []byte
		var noBody bool
		err := r.Scan(&w.N, &message, &w.ID, &w.Topic, &w.Key, &w.Attrs, &w.Body, &noBody, &w.Damaged, &w.Attempts, &w.Epoch)
		copy(w.Message[:], message)
		if w.Body == nil && !noBody {
			w.Body = []byte{}
		}
		all = append(all, w)
		return err
	})
	return all, err
}

// Take implements inbox.Parking.
func (p *liteParking) Take(ctx context.Context, tx sqltx.Tx, ns []inbox.Ticket) ([]int64, error) {
	var taken []int64
	for _, t := range ns {
		var consumer string
		var message []byte
		count := -1
		err := tx.Each(ctx, p.taken, []any{t.N, t.Token}, func(r sqltx.Rows) error { return r.Scan(&consumer, &message, &count) })
		if err == nil && count < 0 {
			continue
		}
		if err == nil {
			_, err = tx.Exec(ctx, p.remove, t.N)
		}
		if err == nil {
			_, err = tx.Exec(ctx, p.forget, t.N)
		}
		if err == nil {
			_, err = tx.Exec(ctx, p.handled, consumer, message, count, p.now())
		}
		if err != nil {
			return nil, failed("take parked messages", err)
		}
		taken = append(taken, t.N)
	}
	slices.Sort(taken)
	return taken, nil
}

// Fail implements inbox.Parking.
func (p *liteParking) Fail(ctx context.Context, f inbox.Failed) error {
	return failed("put down a failed attempt", p.db.InTx(ctx, func(tx sqltx.Tx) error {
		if err := p.fail(ctx, tx, &f); err != nil || f.Also == nil {
			return err
		}
		return f.Also(ctx, tx)
	}))
}

func (p *liteParking) fail(ctx context.Context, tx sqltx.Tx, f *inbox.Failed) error {
	now := p.now()
	ours, noKey := false, false
	err := tx.Each(ctx, p.ours, []any{f.Line, f.Token}, func(r sqltx.Rows) error {
		ours = true
		return r.Scan(&noKey)
	})
	if err != nil {
		return err
	}
	size, first, err := p.contentOf(ctx, tx, f.Line)
	if err != nil {
		return err
	}
	there, err := exists(ctx, tx, p.member, f.N, f.Line)
	if err != nil {
		return err
	}
	if !ours || !there {
		return inbox.ErrNotOurs
	}
	earlier := first != f.N // was redriven meanwhile
	loose := f.Dead && (f.Loose || noKey)
	dies := loose || f.Dead && !earlier
	var consumer string
	var message []byte
	err = tx.Each(ctx, p.failed, []any{f.N, f.Attempts, plain(f.Error), plain(f.Reason), plain(f.Node), now, dies, loose}, func(r sqltx.Rows) error { return r.Scan(&consumer, &message) })
	if err == nil {
		_, err = tx.Exec(ctx, p.attempt, f.N, f.Attempts, now, plain(f.Node), plain(f.Error))
	}
	if err == nil {
		_, err = tx.Exec(ctx, p.trim, f.N)
	}
	if err == nil {
		_, err = tx.Exec(ctx, p.entered, consumer, message, dies, f.Attempts)
	}
	if err != nil {
		return err
	}
	due := now + micros(f.Delay)
	switch {
	case loose && size == 1:
		_, err = tx.Exec(ctx, p.end, f.Line)
		return err
	case loose:
		size, due = size-1, now
	case earlier:
		due = now
	case dies:
		due = never
	}
	_, err = tx.Exec(ctx, p.rest, f.Line, size, f.N, f.Attempts, due)
	return err
}

// Tend implements inbox.Parking.
func (p *liteParking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) ([]int64, error) {
	if len(keep)+len(back) == 0 {
		return nil, nil
	}
	var kept []int64
	err := p.db.InTx(ctx, func(tx sqltx.Tx) error {
		now := p.now()
		for _, h := range keep {
			n, err := tx.Exec(ctx, p.keep, h.Line, h.Token, now+micros(hold), boolInt(h.Begins))
			if err != nil {
				return err
			}
			if n > 0 {
				kept = append(kept, h.Line)
			}
		}
		for _, r := range back {
			if err := p.giveBack(ctx, tx, r, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed("keep parked messages", err)
	}
	slices.Sort(kept)
	return kept, nil
}

func (p *liteParking) giveBack(ctx context.Context, tx sqltx.Tx, r inbox.Return, now int64) error {
	ours, err := exists(ctx, tx, p.ours, r.Line, r.Token)
	if err != nil || !ours {
		return err
	}
	size, first, err := p.contentOf(ctx, tx, r.Line)
	switch {
	case err != nil:
		return err
	case size == 0:
		_, err = tx.Exec(ctx, p.end, r.Line)
	default:
		_, err = tx.Exec(ctx, p.back, r.Line, size, first, now+micros(r.Delay), boolInt(r.Begins))
	}
	return err
}
