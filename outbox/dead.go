package outbox

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/process"
)

// deadLetter parks, as dead letters, the rows that are due for another try, and goes on with their keys. It runs between
// senders, so nothing is in flight. While the database is away they stay where they are.
func (p *pump) deadLetter(ctx context.Context, n *tenure) error {
	p.mu.Lock()
	trials, failed := p.blocks.trials(), map[int64]FailedRow{}
	for _, f := range p.blocks.by {
		failed[f.Seq] = *f
	}
	p.mu.Unlock()
	for _, seq := range trials {
		// Not LookUp, which answers nothing where gaps never fill.
		found, err := p.reader.queue.Read(ctx, seq-1, 1, n.own)
		if err != nil || len(found) == 0 || found[0].Seq != seq || found[0].Foreign || !n.valid() || ctx.Err() != nil {
			continue // the ordinary way tries it once more
		}
		f := failed[seq]
		b := backoff{log: p.log, what: "outbox relay cannot park a dead letter"}
		if !p.bury(ctx, n, deadRow(&found[0], f), &b) {
			return nil
		}
		p.mu.Lock()
		delete(p.doubtful, seq)
		p.blocks.settled(outRow{seq: seq, out: bus.Outgoing{Envelope: &sixfold.Envelope{Key: f.Key}}})
		p.mu.Unlock()
		p.log.Error("outbox relay: a message became a dead letter", "id", f.ID, "topic", f.Topic, "type", f.Type, "reason", f.refusal)
	}
	return nil
}

// bury parks a row, whatever it takes, until ctx ends or the node is lost (false).
func (p *pump) bury(ctx context.Context, n *tenure, row DeadRow, b *backoff) bool {
	for ctx.Err() == nil && !n.lost() {
		_, err := p.reader.queue.Bury(ctx, n.node, []DeadRow{row})
		switch {
		case err == nil:
			b.over()
			return true
		case errors.Is(err, ErrFenced):
			n.fence()
			return false
		}
		b.wait(ctx, err)
	}
	return false
}

// deadRow says why a row is dead.
func deadRow(r *Row, f FailedRow) DeadRow {
	env := &sixfold.Envelope{}
	_, _ = fill(env, r) // of an unreadable row, what can be read
	return DeadRow{Seq: r.Seq, ID: r.ID, Type: env.Type, Source: env.Source, Reason: f.code, Error: clean(f.refusal), Node: process.Name(), Attempts: f.Attempts}
}

// codeOf names, as bus.DeadReason does, why a row is not taken.
func codeOf(err error) string {
	switch {
	case errors.Is(err, bus.ErrUnroutable):
		return "unroutable"
	case errors.Is(err, bus.ErrTooLarge):
		return "too-large"
	case errors.Is(err, bus.ErrRefused):
		return "refused"
	}
	return "undecodable"
}

// clean makes an error's text one line that every database takes.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) > 4<<10 {
		s = strings.ToValidUTF8(s[:4<<10], "")
	}
	return s
}
