package store

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myNever is never in a statement.
const myNever = "9223372036854775807"

// myParking implements inbox.Parking. Who changes a line locks its row first, then rows of parked, then of the inbox; several
// lines in the order of their keys. Handlers' transactions do not touch lines: a parked row that is deleted decides by
// itself between an owner and its successor.
type myParking struct {
	*my
	enter, adopt, known, dead                           myStatement // Park
	find, grow, open, insert, attempt, last             myStatement
	claimable, content, begin, end, next, waiting, rows myStatement // Claim
	lock, taken, remove, forget, handled                myStatement // Take
	ours, member, failed, old, trim, entered, rest      myStatement // Fail
	skip, keep, held, ordered, begins, back, locked     myStatement // Tend
}

func newMyParking(m *my) *myParking {
	s := m.statement
	lines := "FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{line}} l FORCE INDEX (PRIMARY) ON l.id = j.n"
	return &myParking{my: m,
		enter:  s("INSERT INTO {{inbox}} (consumer, message, digest, state, attempts, at) VALUES (?1, ?2, ?3, 2, ?4, " + myNow + ")"),
		adopt:  s("UPDATE {{inbox}} SET state = 2, digest = ?3, attempts = ?4, at = " + myNow + " WHERE consumer = ?1 AND message = ?2 AND state = 0"),
		known:  s("SELECT 1 FROM {{inbox}} WHERE consumer = ?1 AND message = ?2 LOCK IN SHARE MODE"),
		dead:   s("UPDATE {{inbox}} SET state = 3 WHERE consumer = ?1 AND message = ?2"),
		find:   s("SELECT id, size FROM {{line}} WHERE consumer = ?1 AND key = ?2 FOR UPDATE"),
		grow:   s("UPDATE {{line}} SET size = size + ?2 WHERE id = ?1"),
		open:   s("INSERT INTO {{line}} (consumer, key, due, size) VALUES (?1, ?2, CASE WHEN ?3 < 0 THEN " + myNever + " ELSE " + myNow + " + ?3 END, ?4)"),
		last:   s("SELECT LAST_INSERT_ID()"),
		insert: s("INSERT INTO {{parked}} (line, state, consumer, message, digest, id, source, type, topic, key, attrs, body, damaged, attempts, reason, error, node, first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, " + myNow + ", " + myNow + ")"),

		attempt:   s("INSERT INTO {{attempt}} (n, attempt, at, node, error) VALUES (?1, ?2, " + myNow + ", ?3, ?4)"),
		claimable: s("SELECT id, coalesce(head, 0), attempts, token IS NOT NULL FROM {{line}} FORCE INDEX ({{bare line_due}}) WHERE consumer = ?1 AND due <= " + myNow + " ORDER BY due, id LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		content: s("SELECT c.size, c.first, coalesce(p.attempts, 0) FROM (SELECT count(*) AS size, coalesce(min(n), 0) AS first FROM {{parked}} FORCE INDEX ({{bare parked_line}}) WHERE line = ?1) c " +
			"LEFT JOIN {{parked}} p ON p.n = c.first"),
		begin:   s("UPDATE {{line}} SET token = ?2, due = " + myNow + " + ?3, size = ?4, head = ?5, attempts = ?6 WHERE id = ?1"),
		end:     s("DELETE FROM {{line}} WHERE id = ?1"),
		next:    s("SELECT due - " + myNow + " FROM {{line}} FORCE INDEX ({{bare line_due}}) WHERE consumer = ?1 AND due < " + myNever + " AND (token IS NULL OR token <> ?2) ORDER BY due LIMIT 1"),
		waiting: s("SELECT coalesce(sum(size), 0) FROM {{line}} WHERE consumer = ?1"),
		rows: s("SELECT n, message, id, topic, coalesce(key, ''), attrs, body, body IS NULL, coalesce(damaged, ''), attempts, epoch FROM {{parked}} FORCE INDEX ({{bare parked_line}}) " +
			"WHERE line = ?1 ORDER BY n LIMIT ?2"),
		lock:    s("SELECT p.n FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{parked}} p FORCE INDEX (PRIMARY) ON p.n = j.n FOR UPDATE"),
		taken:   s("SELECT p.consumer, p.message, CASE WHEN l.head = p.n THEN greatest(l.attempts, p.attempts + 1) ELSE p.attempts + 1 END FROM {{parked}} p JOIN {{line}} l ON l.id = p.line WHERE p.n = ?1 AND l.token = ?2"),
		remove:  s("DELETE FROM {{parked}} WHERE n = ?1"),
		forget:  s("DELETE FROM {{attempt}} WHERE n = ?1"),
		handled: s("UPDATE {{inbox}} SET state = 1, attempts = least(?3, 32767), at = " + myNow + " WHERE consumer = ?1 AND message = ?2 AND state <> 1"),
		ours:    s("SELECT key IS NULL FROM {{line}} WHERE id = ?1 AND token = ?2 FOR UPDATE"),
		member:  s("SELECT consumer, message FROM {{parked}} WHERE n = ?1 AND line = ?2 FOR UPDATE"),
		failed: s("UPDATE {{parked}} SET attempts = ?2, error = ?3, reason = ?4, node = ?5, last_at = " + myNow + ", state = CASE WHEN ?6 THEN 2 ELSE 1 END, " +
			"line = CASE WHEN ?7 THEN NULL ELSE line END WHERE n = ?1"),
		old:     s("SELECT id FROM {{attempt}} WHERE n = ?1 ORDER BY at DESC, attempt DESC LIMIT 1000 OFFSET 50"),
		trim:    s("DELETE FROM {{attempt}} WHERE id = ?1"),
		entered: s("UPDATE {{inbox}} SET state = CASE WHEN ?3 THEN 3 ELSE state END, attempts = least(?4, 32767) WHERE consumer = ?1 AND message = ?2 AND state = 2"),
		rest:    s("UPDATE {{line}} SET token = NULL, size = ?2, head = ?3, attempts = ?4, due = CASE WHEN ?5 < 0 THEN " + myNever + " ELSE " + myNow + " + ?5 END WHERE id = ?1"),
		skip:    s("SELECT l.id, coalesce(l.token, '') " + lines + " FOR UPDATE SKIP LOCKED"),
		keep:    s("UPDATE " + myNumbers("?1") + " STRAIGHT_JOIN {{line}} l FORCE INDEX (PRIMARY) ON l.id = j.n SET l.due = " + myNow + " + ?2"),
		held:    s("SELECT l.id, coalesce(l.token, '') " + lines),
		ordered: s("SELECT l.id, coalesce(l.token, '') " + lines + " ORDER BY l.consumer, l.key, l.id"),
		begins:  s("UPDATE {{line}} SET due = " + myNow + " + ?3, attempts = attempts + 1 WHERE id = ?1 AND token = ?2"),
		locked:  s("SELECT coalesce(head, 0), attempts FROM {{line}} WHERE id = ?1 AND token = ?2 FOR UPDATE"),
		back:    s("UPDATE {{line}} SET token = NULL, size = ?2, due = " + myNow + " + ?3, attempts = ?4 WHERE id = ?1"),
	}
}

// Park implements inbox.Parking.
func (p *myParking) Park(ctx context.Context, tx sqltx.Tx, consumer string, items []inbox.Item) ([]bool, error) {
	entered := make([]bool, len(items))
	recs := make([]inbox.Record, len(items))
	for i := range items {
		recs[i] = items[i].Record
		entered[i] = true
	}
	for _, i := range byMessage(recs) {
		if it := &items[i]; it.Enter {
			ok, err := p.enterOne(ctx, tx, consumer, it)
			if err != nil {
				return nil, failed("park", err)
			}
			entered[i] = ok
		}
	}
	lines, err := p.linesOf(ctx, tx, consumer, items, entered)
	if err != nil {
		return nil, failed("park", err)
	}
	for i := range items {
		if entered[i] {
			if err := p.parkOne(ctx, tx, consumer, &items[i], lines); err != nil {
				return nil, failed("park", err)
			}
		}
	}
	return entered, nil
}

// enterOne reports whether the inbox did not know the message, or counted attempts at most. What is removed between the
// statements is asked again.
func (p *myParking) enterOne(ctx context.Context, tx sqltx.Tx, consumer string, it *inbox.Item) (bool, error) {
	count := min(it.Attempts, math.MaxInt16)
	for range 10 {
		_, err := p.enter.exec(ctx, tx, consumer, it.Message[:], it.Digest[:], count)
		if err == nil {
			return true, nil
		}
		if mysqlCode(err) != myDuplicate {
			return false, err
		}
		n, err := p.adopt.exec(ctx, tx, consumer, it.Message[:], it.Digest[:], count)
		if err != nil || n > 0 {
			return err == nil, err
		}
		if known, err := p.known.found(ctx, tx, consumer, it.Message[:]); err != nil || known {
			return false, err
		}
	}
	return false, nil
}

// myLine is a line that items go to.
type myLine struct {
	id    int64
	fresh bool // made just now, and nothing is in it
}

// linesOf locks the lines of keys in the order of the keys, made where they are missing, and makes them longer.
func (p *myParking) linesOf(ctx context.Context, tx sqltx.Tx, consumer string, items []inbox.Item, entered []bool) (map[string]*myLine, error) {
	more, first := map[string]int{}, map[string]*inbox.Item{}
	var keys []string
	for i := range items {
		it, key := &items[i], plain(items[i].Key)
		if !entered[i] || key == "" || it.Dead && it.Loose {
			continue
		}
		if more[key]++; more[key] == 1 {
			keys, first[key] = append(keys, key), it
		}
	}
	slices.SortFunc(keys, strings.Compare)
	lines := make(map[string]*myLine, len(keys))
	for _, key := range keys {
		for lines[key] == nil {
			line, size := &myLine{}, 0
			err := p.find.each(ctx, tx, func(r sqltx.Rows) error { return r.Scan(&line.id, &size) }, consumer, key)
			if err == nil && line.id == 0 {
				line.fresh = true
				line.id, err = p.openLine(ctx, tx, consumer, key, first[key], more[key])
				if mysqlCode(err) == myDuplicate {
					continue // somebody was faster
				}
			} else if err == nil {
				_, err = p.grow.exec(ctx, tx, line.id, more[key])
			}
			switch {
			case err != nil:
				return nil, err
			case size+more[key] > inbox.MaxLine:
				return nil, inbox.ErrLineFull
			}
			lines[key] = line
		}
	}
	return lines, nil
}

// openLine makes a line whose first message is it.
func (p *myParking) openLine(ctx context.Context, tx sqltx.Tx, consumer, key string, it *inbox.Item, size int) (int64, error) {
	due := micros(it.Delay)
	if it.Dead {
		due = -1
	}
	return p.number(ctx, tx, p.open, consumer, orNil(key), due, size)
}

// number runs an INSERT and answers the number that its row got.
func (p *myParking) number(ctx context.Context, tx sqltx.Tx, s myStatement, values ...any) (n int64, err error) {
	if _, err = s.exec(ctx, tx, values...); err == nil {
		err = p.last.each(ctx, tx, func(r sqltx.Rows) error { return r.Scan(&n) })
	}
	return n, err
}

func (p *myParking) parkOne(ctx context.Context, tx sqltx.Tx, consumer string, it *inbox.Item, lines map[string]*myLine) error {
	state, key := 1, plain(it.Key)
	var line any
	switch {
	case it.Dead && (it.Loose || key == ""):
		state = 2
	case key == "":
		id, err := p.openLine(ctx, tx, consumer, "", it, 1)
		if err != nil {
			return err
		}
		line = id
	default:
		l := lines[key]
		line = l.id
		if l.fresh && it.Dead {
			state = 2
		}
		l.fresh = false
	}
	attrs := it.Attrs
	if attrs == nil {
		attrs = []byte{}
	}
	var body any
	if it.Body != nil {
		body = it.Body
	}
	n, err := p.number(ctx, tx, p.insert, line, state, consumer, it.Message[:], it.Digest[:], plain(it.ID), plain(it.Source), plain(it.Type), plain(it.Topic), orNil(key),
		attrs, body, orNil(plain(it.Damaged)), it.Attempts, plain(it.Reason), plain(it.Error), plain(it.Node))
	if err == nil && it.Error != "" {
		_, err = p.attempt.exec(ctx, tx, n, it.Attempts, plain(it.Node), plain(it.Error))
	}
	if err == nil && state == 2 && it.Enter {
		_, err = p.dead.exec(ctx, tx, consumer, it.Message[:])
	}
	return err
}

// Claim implements inbox.Parking. It looks before it begins a transaction.
func (p *myParking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
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
func (p *myParking) outlook(ctx context.Context, consumer string, ask inbox.Ask, each eachRow) (inbox.Claimed, error) {
	out := inbox.Claimed{Next: -1, Waiting: -1}
	var left int64
	err := each(ctx, p.next.sql, p.next.args([]any{consumer, ask.Token}), func(r sqltx.Rows) error {
		err := r.Scan(&left)
		out.Next = max(0, time.Duration(left)*time.Microsecond)
		return err
	})
	if err == nil && ask.Count {
		err = each(ctx, p.waiting.sql, p.waiting.args([]any{consumer}), func(r sqltx.Rows) error { return r.Scan(&out.Waiting) })
	}
	return out, err
}

func (p *myParking) claim(ctx context.Context, tx sqltx.Tx, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	type due struct {
		inbox.Line
		head int64
	}
	var all []due
	err := p.claimable.each(ctx, tx, func(r sqltx.Rows) error {
		d := due{Line: inbox.Line{Token: ask.Token}}
		err := r.Scan(&d.ID, &d.head, &d.Attempts, &d.Suspect)
		all = append(all, d)
		return err
	}, consumer, ask.Lines)
	if err != nil {
		return inbox.Claimed{}, err
	}
	var lines []inbox.Line
	for i := range all {
		d := &all[i]
		size, first, attempts, err := p.contentOf(ctx, tx, d.ID)
		switch {
		case err != nil:
			return inbox.Claimed{}, err
		case size == 0:
			if _, err := p.end.exec(ctx, tx, d.ID); err != nil {
				return inbox.Claimed{}, err
			}
			continue
		case first != d.head:
			d.Attempts = attempts
		}
		_, err = p.begin.exec(ctx, tx, d.ID, ask.Token, micros(ask.Hold), size, first, d.Attempts)
		if err == nil {
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

// contentOf answers how many messages a line has, its first one, and the attempts of that.
func (p *myParking) contentOf(ctx context.Context, tx sqltx.Tx, line int64) (size int, first int64, attempts int, err error) {
	err = p.content.each(ctx, tx, func(r sqltx.Rows) error { return r.Scan(&size, &first, &attempts) }, line)
	return size, first, attempts, err
}

func (p *myParking) messages(ctx context.Context, tx sqltx.Tx, line int64, limit int) (all []inbox.Waiting, err error) {
	err = p.rows.each(ctx, tx, func(r sqltx.Rows) error {
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
	}, line, limit)
	return all, err
}
