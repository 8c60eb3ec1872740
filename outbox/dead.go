package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
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
		// Not LookUp, which answers nothing where gaps never fill.
		found, err := p.reader.queue.Read(ctx, seq-1, 1, n.own)
		if err != nil || len(found) == 0 || found[0].Seq != seq || found[0].Foreign || !n.valid() || ctx.Err() != nil {
			continue // the ordinary way tries it once more
		}
		failed := rows[seq]
		out := outRow{seq: seq, partition: found[0].Partition, out: dead(&found[0], failed)}
		// As with every send, what has begun is waited for until the drain limit.
		errs := p.sender.Send(p.hard, []bus.Outgoing{out.out}).Wait(p.hard)
		if err = errBadPending; len(errs) == 1 {
			err = errs[0]
		}
		if err != nil {
			if p.notDead(out, failed, err) {
				continue
			}
			return nil
		}
		p.mu.Lock()
		p.doubt(out)
		p.mu.Unlock()
		b := backoff{log: p.log, what: "outbox relay cannot settle a dead letter"}
		if !p.settle(p.hard, n, []int64{seq}, &b) {
			return nil
		}
		p.mu.Lock()
		delete(p.doubtful, seq)
		p.blocks.settled(outRow{seq: seq, out: bus.Outgoing{Envelope: &sixfold.Envelope{Key: failed.Key}}})
		p.mu.Unlock()
		p.log.Warn("outbox relay: a message became a dead letter", "id", failed.ID, "topic", out.out.Topic, "type", failed.Type, "reason", failed.refusal)
	}
	return nil
}

// notDead notes why a dead letter was not taken. A refusal keeps its key blocked for another while (true); an outage is
// nobody's fault, and the relay begins again with it (false).
func (p *pump) notDead(out outRow, failed FailedRow, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isPoison(err) {
		p.down = err
		p.doubt(out)
		p.blocks.rest()
		return false
	}
	f := p.blocks.add(out, time.Now(), fmt.Errorf("%s; its dead letter: %w", failed.refusal, err))
	f.refusal, f.code = failed.refusal, failed.code
	return true
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
	env.Headers[bus.DeadReason] = f.code
	env.Headers[bus.DeadError] = clean(f.refusal)
	env.Headers[bus.DeadAttempts] = strconv.Itoa(f.Attempts)
	env.Headers[bus.DeadTopic] = r.Topic
	env.Headers["sixfold-dead-from"] = "relay"
	return bus.Outgoing{Topic: r.Topic + bus.DeadSuffix, Envelope: env}
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
