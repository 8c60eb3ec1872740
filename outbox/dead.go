package outbox

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// deadLetter sends the rows that are due for another try to the dead topics of theirs, and settles those that arrive.
// It runs between senders, so nothing is in flight. What is not taken there either stays blocked.
func (p *pump) deadLetter(ctx context.Context, n *tenure) error {
	p.mu.Lock()
	trials, rows := p.blocks.trials(), map[int64]FailedRow{}
	for _, f := range p.blocks.by {
		rows[f.Seq] = *f
	}
	p.mu.Unlock()
	for _, seq := range trials {
		found, err := p.reader.queue.LookUp(ctx, []Range{{seq, seq}}, 2, n.own)
		if err != nil || len(found) == 0 || found[0].Foreign || !n.valid() {
			continue // the ordinary way tries it once more
		}
		failed := rows[seq]
		out := outRow{seq: seq, partition: found[0].Partition, out: dead(&found[0], failed)}
		errs := p.sender.Send(ctx, []bus.Outgoing{out.out}).Wait(ctx)
		if len(errs) != 1 || errs[0] != nil {
			p.mu.Lock()
			p.blocks.add(out, time.Now(), errors.Join(errors.New(failed.Reason), errors.Join(errs...)))
			p.mu.Unlock()
			continue
		}
		b := backoff{log: p.log, what: "outbox relay cannot settle a dead letter"}
		if !p.settle(p.hard, n, []int64{seq}, &b) {
			return nil
		}
		p.mu.Lock()
		p.blocks.settled(outRow{seq: seq, out: bus.Outgoing{Envelope: &sixfold.Envelope{Key: failed.Key}}})
		p.mu.Unlock()
		p.log.Warn("outbox relay: a message became a dead letter", "id", failed.ID, "topic", out.out.Topic, "type", failed.Type, "reason", failed.Reason)
	}
	return nil
}

// dead makes the dead letter of a row: what it holds, and why it is there.
func dead(r *Row, f FailedRow) bus.Outgoing {
	env := &sixfold.Envelope{}
	if _, err := fill(env, r); err != nil && env.Type == "" {
		env.Type = "sixfold.unreadable"
	}
	env.Headers = maps.Clone(env.Headers)
	if env.Headers == nil {
		env.Headers = make(map[string]string, 4)
	}
	env.Headers["sixfold-dead-reason"] = clean(f.Reason)
	env.Headers["sixfold-dead-topic"] = r.Topic
	env.Headers["sixfold-dead-from"] = "relay"
	return bus.Outgoing{Topic: r.Topic + ".dead", Envelope: env}
}

// clean makes an error's text fit for a header.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "")
	}
	return s
}
