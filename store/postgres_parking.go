package store

import (
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pgParking implements inbox.Parking.
type pgParking struct {
	db                                      sqltx.Runner
	park, claim, take, fail, keep, giveBack string
}

func newPgParking(s *Store) *pgParking {
	fill := s.names.fill
	return &pgParking{
		db: s.db,
		park: fill(`SELECT * FROM {{park}}($1::text, $2::integer, $3::bytea, $4::text::boolean[], $5::text::text[], $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[],
$10::text::text[], $11::text::integer[], $12::text::bigint[], $13::text::boolean[], $14::text::boolean[], $15::text::text[], $16::text::text[], $17::text::text[],
$18::text::integer[], $19::text::integer[], $20::bytea)`),
		claim:    fill("SELECT * FROM {{parked_claim}}($1::text, $2::text::uuid, $3::integer, $4::integer, $5::bigint, $6::boolean)"),
		take:     fill("SELECT * FROM {{parked_take}}($1::text::bigint[], $2::text::uuid[])"),
		fail:     fill("SELECT {{parked_fail}}($1::bigint, $2::text::uuid, $3::bigint, $4::integer, $5::bigint, $6::boolean, $7::boolean, $8::text, $9::text, $10::text)"),
		keep:     fill("SELECT * FROM {{parked_keep}}($1::text::bigint[], $2::text::uuid[], $3::bigint, $4::boolean)"),
		giveBack: fill("SELECT {{parked_give_back}}($1::text::bigint[], $2::text::uuid[], $3::text::bigint[], $4::text::boolean[])"),
	}
}

// Park implements inbox.Parking, in one round trip.
func (p *pgParking) Park(ctx context.Context, tx sqltx.Tx, consumer string, items []inbox.Item) ([]bool, error) {
	entered := make([]bool, len(items))
	if len(items) == 0 {
		return entered, nil
	}
	var i int
	dest := []any{&i}
	err := tx.Each(ctx, p.park, parkArgs(consumer, items), func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		entered[i] = true
		return nil
	})
	switch {
	case sqlState(err) == lineFull:
		return nil, failed("park", inbox.ErrLineFull)
	case err != nil:
		return nil, failed("park", err)
	}
	return entered, nil
}

// lineFull is the SQLSTATE of the function park for a line with as many messages as may wait.
const lineFull = "SXF01"

// parkArgs are the arguments of the function park: one array per column, and the bytes of all items as one parameter, so that
// they are sent as they are, not as hexadecimal text.
func parkArgs(consumer string, items []inbox.Item) []any {
	n, size := len(items), 0
	for i := range items {
		size += len(items[i].Attrs) + len(items[i].Body)
	}
	ids, contents := make([]byte, 0, 32*n), make([]byte, 0, size)
	enter, dead, loose := newArray(6*n), newArray(6*n), newArray(6*n)
	keys, names, sources, types, topics, damaged := newArray(24*n), newArray(39*n), newArray(24*n), newArray(24*n), newArray(24*n), newArray(6*n)
	attempts, delays, reasons, errs, nodes := newArray(3*n), newArray(3*n), newArray(6*n), newArray(6*n), newArray(6*n)
	attrs, bodies := newArray(5*n), newArray(6*n)
	for i := range items {
		it := &items[i]
		ids = append(append(ids, it.Message[:]...), it.Digest[:]...)
		enter.bool(it.Enter)
		dead.bool(it.Dead)
		loose.bool(it.Loose)
		keys.textOrNull(plain(it.Key))
		names.text(plain(it.ID))
		sources.text(plain(it.Source))
		types.text(plain(it.Type))
		topics.text(plain(it.Topic))
		damaged.textOrNull(plain(it.Damaged))
		attempts.int(int64(it.Attempts))
		delays.int(micros(it.Delay))
		reasons.text(plain(it.Reason))
		errs.text(plain(it.Error))
		nodes.text(plain(it.Node))
		attrs.int(int64(len(it.Attrs)))
		if it.Body == nil {
			bodies.null()
		} else {
			bodies.int(int64(len(it.Body)))
		}
		contents = append(append(contents, it.Attrs...), it.Body...)
	}
	return []any{consumer, inbox.MaxLine, ids, enter.String(), keys.String(), names.String(), sources.String(), types.String(), topics.String(), damaged.String(),
		attempts.String(), delays.String(), dead.String(), loose.String(), reasons.String(), errs.String(), nodes.String(), attrs.String(), bodies.String(), contents}
}

// Claim implements inbox.Parking. Where nothing is due it is one statement that looks at an index.
func (p *pgParking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	in := claimScan{out: inbox.Claimed{Next: -1, Waiting: -1}, token: ask.Token}
	args := []any{consumer, ask.Token, max(ask.Lines, 0), max(ask.Rows, 0), micros(ask.Hold), ask.Count}
	if err := p.db.EachRow(ctx, p.claim, args, in.scan); err != nil {
		return inbox.Claimed{}, failed("claim parked messages", err)
	}
	return in.out, nil
}

// claimScan collects what parked_claim answers: a row of its own first, then one for each message.
type claimScan struct {
	out   inbox.Claimed
	token string
}

func (in *claimScan) scan(rows sqltx.Rows) error {
	var line, n *int64
	var suspect, noBody *bool
	var begun, attempts, epoch *int
	var message, attrs, body []byte
	var id, topic, key, damaged *string
	if err := rows.Scan(&line, &suspect, &begun, &n, &message, &id, &topic, &key, &attrs, &body, &noBody, &damaged, &attempts, &epoch); err != nil {
		return err
	}
	if line == nil {
		if n != nil {
			in.out.Next = max(0, time.Duration(*n)*time.Microsecond)
		}
		in.out.Waiting = *attempts
		return nil
	}
	w := inbox.Waiting{N: *n, ID: *id, Topic: *topic, Key: *key, Attrs: attrs, Body: body, Damaged: *damaged, Attempts: *attempts, Epoch: *epoch}
	copy(w.Message[:], message)
	if body == nil && !*noBody {
		w.Body = []byte{} // some libraries read an empty one as nil
	}
	if last := len(in.out.Lines) - 1; last < 0 || in.out.Lines[last].ID != *line {
		in.out.Lines = append(in.out.Lines, inbox.Line{ID: *line, Token: in.token, Suspect: *suspect, Attempts: *begun})
	}
	at := &in.out.Lines[len(in.out.Lines)-1]
	at.Rows = append(at.Rows, w)
	return nil
}

// Take implements inbox.Parking.
func (p *pgParking) Take(ctx context.Context, tx sqltx.Tx, ns []inbox.Ticket) ([]int64, error) {
	if len(ns) == 0 {
		return nil, nil
	}
	numbers, tokens := newArray(12*len(ns)), newArray(39*len(ns))
	for _, t := range ns {
		numbers.int(t.N)
		tokens.text(t.Token)
	}
	var taken []int64
	if err := tx.Each(ctx, p.take, []any{numbers.String(), tokens.String()}, scanInts(&taken)); err != nil {
		return nil, failed("take parked messages", err)
	}
	return taken, nil
}

// Fail implements inbox.Parking. It waits for other transactions that change the line.
func (p *pgParking) Fail(ctx context.Context, f inbox.Failed) error {
	ours := false
	args := []any{f.Line, f.Token, f.N, f.Attempts, micros(f.Delay), f.Dead, f.Loose, plain(f.Reason), plain(f.Error), plain(f.Node)}
	scan := func(rows sqltx.Rows) error { return rows.Scan(&ours) }
	var err error
	if f.Also == nil {
		err = p.db.EachRow(ctx, p.fail, args, scan)
	} else {
		err = p.db.InTx(ctx, func(tx sqltx.Tx) error {
			if err := tx.Each(ctx, p.fail, args, scan); err != nil || !ours {
				return err
			}
			return f.Also(ctx, tx)
		})
	}
	switch {
	case err != nil:
		return failed("put down a failed attempt", err)
	case !ours:
		return failed("put down a failed attempt", inbox.ErrNotOurs)
	}
	return nil
}

// Tend implements inbox.Parking. What is kept is kept first, without waiting for anybody; a line that another transaction
// holds meanwhile counts as ours, and is kept at the next call.
func (p *pgParking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) ([]int64, error) {
	var kept []int64
	for _, begins := range []bool{false, true} {
		ids, tokens, n := newArray(12*len(keep)), newArray(39*len(keep)), 0
		for _, h := range keep {
			if h.Begins == begins {
				ids.int(h.Line)
				tokens.text(h.Token)
				n++
			}
		}
		if n == 0 {
			continue
		}
		if err := p.db.EachRow(ctx, p.keep, []any{ids.String(), tokens.String(), micros(hold), begins}, scanInts(&kept)); err != nil {
			return nil, failed("keep parked messages", err)
		}
	}
	slices.Sort(kept)
	if len(back) > 0 {
		ids, tokens, delays, begun := newArray(12*len(back)), newArray(39*len(back)), newArray(8*len(back)), newArray(6*len(back))
		for _, r := range back {
			ids.int(r.Line)
			tokens.text(r.Token)
			delays.int(micros(r.Delay))
			begun.bool(r.Begins)
		}
		if _, err := p.db.ExecSQL(ctx, p.giveBack, ids.String(), tokens.String(), delays.String(), begun.String()); err != nil {
			return nil, failed("give parked messages back", err)
		}
	}
	return kept, nil
}
