package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// deadTopic is the dead topic of consumers without a database.
type deadTopic struct {
	a  *app
	at bool
	c  *cobra.Command
}

func (a *app) deadTopicFlags(c *cobra.Command) *deadTopic {
	t := &deadTopic{a: a, c: c}
	c.Flags().BoolVar(&t.at, "at-broker", false, "look at the broker for the dead letters of --topic, not into the database")
	return t
}

// asked reports whether the broker is meant: it is named, and the database is not.
func (t *deadTopic) asked() bool {
	return t != nil && (t.at || t.c.Flags().Changed("broker") && !t.c.Flags().Changed("dsn"))
}

// deadOne is a dead letter at a broker.
type deadOne struct {
	peeked
	// epoch tells its redrives apart from other messages of its id, and is the same for each of them.
	epoch int
	// dead are the headers that say why it is there.
	dead map[string]string
}

// deadWalker is a broker that can go through a dead topic.
type deadWalker interface {
	broker
	// eachDead calls fn for the dead letters that a dead topic has now, oldest first, until it answers that this is enough.
	// Those that fn lets go are removed, the others stay; remove says whether there may be such. total is how many there are.
	eachDead(ctx context.Context, topic string, remove bool, fn func(d *deadOne) (remove, enough bool, err error)) (total uint64, err error)
}

// deadHeaders answers those headers, by their names in lower case, that a dead letter has more than others.
func deadHeaders(all func(yield func(string, string) bool)) map[string]string {
	dead := map[string]string{}
	for k, v := range all {
		if k = strings.ToLower(k); strings.HasPrefix(k, "sixfold-dead-") {
			dead[k] = v
		}
	}
	return dead
}

// matches reports whether a dead letter is among those chosen.
func (ch *choice) matches(d *deadOne, args []string) bool {
	f := &ch.f
	for _, c := range [][2]string{{f.Type, d.env.Type}, {f.Key, d.env.Key}, {f.ID, d.env.ID}, {f.Reason, d.dead[bus.DeadReason]}, {f.Consumer, d.dead[bus.DeadConsumer]}} {
		if c[0] != "" && c[0] != c[1] {
			return false
		}
	}
	return strings.Contains(d.dead[bus.DeadError], f.Error) && (len(args) == 0 || slices.Contains(args, d.env.ID))
}

// open connects to the broker and names the dead topic.
func (t *deadTopic) open(ctx context.Context, ch *choice) (deadWalker, string, error) {
	if ch.f.Topic == "" {
		return nil, "", usage("--topic is missing", "give the topic whose dead letters are meant, like --topic orders; those are in orders.dead")
	}
	if ch.from != "" || ch.f.Older > 0 || ch.f.Younger > 0 {
		return nil, "", usage("--from, --older-than and --younger-than are for dead letters in a database", "leave them out")
	}
	if err := checkTopicName(ch.f.Topic); err != nil {
		return nil, "", err
	}
	b, err := t.a.openBroker(ctx)
	if err != nil {
		return nil, "", err
	}
	w, ok := b.(deadWalker)
	if !ok {
		b.close()
		return nil, "", failedWith("dead topics of this kind of broker cannot be looked at", "use sixfold bus peek")
	}
	return w, ch.f.Topic + bus.DeadSuffix, nil
}

func (t *deadTopic) list(ctx context.Context, ch *choice, most int) error {
	w, name, err := t.open(ctx, ch)
	if err != nil {
		return err
	}
	defer w.close()
	rows, out := [][]string{{"AT", "ID", "TYPE", "KEY", "CONSUMER", "REASON", "ATTEMPTS", "ERROR"}}, []map[string]any{}
	total, err := w.eachDead(ctx, name, false, func(d *deadOne) (bool, bool, error) {
		if ch.matches(d, nil) {
			reason, failure := d.dead[bus.DeadReason], d.dead[bus.DeadError]
			if d.damaged != nil {
				reason, failure = "unreadable", d.damaged.Error()
			}
			rows = append(rows, []string{d.at, d.env.ID, d.env.Type, d.env.Key, d.dead[bus.DeadConsumer], reason, d.dead[bus.DeadAttempts], cut(failure, 60)})
			out = append(out, map[string]any{"at": d.at, "id": d.env.ID, "type": d.env.Type, "key": d.env.Key, "consumer": d.dead[bus.DeadConsumer], "reason": reason,
				"attempts": d.dead[bus.DeadAttempts], "error": failure, "body_bytes": len(d.env.Body)})
		}
		return false, len(out) >= most, nil
	})
	switch {
	case err != nil:
		return err
	case t.a.format == "json":
		return t.a.json(out)
	case len(out) > 0:
		if err := t.a.table(rows); err != nil {
			return err
		}
	}
	return t.a.line("%d of %d messages of %s", len(out), total, name)
}

func (t *deadTopic) redrive(ctx context.Context, ch *choice, d *doFlags, args []string) error {
	if d.o.Canary || d.o.Run != "" {
		return usage("--canary and --run are for dead letters in a database", "leave them out; what was interrupted is gone on with by running it again")
	}
	w, name, err := t.open(ctx, ch)
	if err != nil {
		return err
	}
	defer w.close()
	var sender bus.Sender
	if !d.o.DryRun {
		if sender, err = w.transport().Open(ctx); err != nil {
			return err
		}
		defer func() { _ = sender.Close(context.WithoutCancel(ctx)) }()
	}
	began, sent, left, said := time.Now(), 0, 0, time.Now()
	_, err = w.eachDead(ctx, name, !d.o.DryRun, func(l *deadOne) (bool, bool, error) {
		if !ch.matches(l, args) {
			return false, false, nil
		}
		if from := l.dead[bus.DeadTopic]; l.damaged != nil || from != "" && from != ch.f.Topic {
			left++
			why := "it says that it came from topic " + quote(from)
			if l.damaged != nil {
				why = "it cannot be read: " + safe(l.damaged.Error())
			}
			fmt.Fprintf(t.a.err, "sixfold: left message %s as it is: %s\n", quote(l.env.ID), why)
			return false, false, nil
		}
		if d.o.DryRun {
			sent++
			return false, false, nil
		}
		if d.o.Rate > 0 {
			if err := pauseUntil(ctx, began.Add(time.Duration(float64(sent)/d.o.Rate*float64(time.Second)))); err != nil {
				return false, false, err
			}
		}
		if err := ctx.Err(); err != nil {
			return false, false, err
		}
		env := again(&l.env)
		// As every send, one that has begun is waited for.
		if err := errors.Join(sender.Send(context.WithoutCancel(ctx), []bus.Outgoing{{Topic: ch.f.Topic, Epoch: l.epoch, Envelope: env}}).Wait(context.WithoutCancel(ctx))...); err != nil {
			return false, false, fmt.Errorf("message %s: %w", quote(env.ID), err)
		}
		if sent++; time.Since(said) >= time.Second {
			said = time.Now()
			fmt.Fprintf(t.a.err, "sixfold: sent %d messages again so far\n", sent)
		}
		return true, false, nil
	})
	if interrupted(ctx) {
		return failedWith(fmt.Sprintf("interrupted: sent %d messages again", sent), "the others are as they were; run it again to go on")
	}
	if err != nil {
		f := asFailure(err)
		return &failure{f.Code, fmt.Sprintf("%s (sent %d messages again before)", f.Message, sent), f.Hint}
	}
	if t.a.format == "json" {
		return t.a.json(map[string]any{"topic": name, "done": sent, "skipped_count": left, "dry_run": d.o.DryRun})
	}
	if d.o.DryRun {
		return t.a.line("%d messages of %s would go back to %s. Nothing was changed.", sent, name, ch.f.Topic)
	}
	return t.a.line("sent %s messages of %s again to %s", strconv.Itoa(sent), name, ch.f.Topic)
}

// again is the envelope as it was sent first. Its place among those of its relay is past.
func again(env *sixfold.Envelope) *sixfold.Envelope {
	e := *env
	e.Sequence = ""
	return &e
}

func pauseUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
