package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/cloudevents"
)

var _ deadWalker = (*kafkaBroker)(nil)

// redriver is the group whose positions say what of a dead topic was let go. Kafka cannot remove a message from the middle
// of a partition: what was let go up to the first one that stays is deleted, what lies behind that one is noted.
const redriver = "sixfold.redriver"

// positions answers what was noted. Positions have no coordinator while the brokers make or load the topic that keeps them, which the
// first use of any group begins; so it tries again for some seconds.
func positions(ctx context.Context, admin *kadm.Client) (kadm.OffsetResponses, error) {
	for until := time.Now().Add(10 * time.Second); ; {
		noted, err := admin.FetchOffsets(ctx, redriver)
		switch {
		case errors.Is(err, kerr.GroupIDNotFound): // nothing was let go yet
			return nil, nil
		case (errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.NotCoordinator)) && time.Now().Before(until):
			if err := pauseUntil(ctx, time.Now().Add(200*time.Millisecond)); err != nil {
				return nil, err
			}
		default:
			return noted, err
		}
	}
}

// deadPart is one partition of a dead topic.
type deadPart struct {
	number     int32
	begin, end int64
	gone       gone
}

// eachDead reads one partition after the other. The position is committed after each message that is let go, before the next
// one is shown.
func (b *kafkaBroker) eachDead(ctx context.Context, topic string, remove bool, fn func(d *deadOne) (remove, enough bool, err error)) (total uint64, err error) {
	var parts []*deadPart
	missing := false
	err = b.on(ctx, "look at topic "+quote(topic), func(c *kgo.Client) error {
		var err error
		if parts, err = deadParts(ctx, kadm.NewClient(c), topic); errors.Is(err, kerr.UnknownTopicOrPartition) {
			missing, err = true, nil
		}
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case missing:
		return 0, noTopic(topic)
	}
	for _, p := range parts {
		total += uint64(p.end - p.gone.floor - p.gone.above())
	}
	if remove { // what is not allowed is to fail before anything is sent
		err = b.on(ctx, "note and remove what is let go of "+quote(topic), func(c *kgo.Client) error {
			for _, p := range parts {
				if err := errors.Join(p.note(ctx, kadm.NewClient(c), topic), p.cut(ctx, kadm.NewClient(c), topic)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, p := range parts {
		enough := false
		if err == nil {
			enough, err = b.walkPart(ctx, topic, p, remove, fn)
		}
		if err != nil || enough {
			return total, err
		}
	}
	return total, nil
}

// deadParts answers the partitions, with what earlier commands let go.
func deadParts(ctx context.Context, admin *kadm.Client, topic string) (parts []*deadPart, err error) {
	first, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	last, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(first.Error(), last.Error()); err != nil {
		return nil, err
	}
	noted, err := positions(ctx, admin)
	if err != nil {
		return nil, err
	}
	for _, o := range first.Offsets().Sorted() {
		end, _ := last.Lookup(topic, o.Partition)
		p := &deadPart{number: o.Partition, begin: o.At, end: end.Offset}
		if n, there := noted.Lookup(topic, o.Partition); there && n.Err == nil && n.At >= 0 {
			p.gone = readGone(n.At, n.Metadata, p.end)
		}
		p.gone.add(0, o.At)
		parts = append(parts, p)
	}
	return parts, nil
}

// walkPart goes through one partition.
func (b *kafkaBroker) walkPart(ctx context.Context, topic string, p *deadPart, remove bool, fn func(d *deadOne) (remove, enough bool, err error)) (enough bool, err error) {
	if p.gone.floor >= p.end {
		return false, nil
	}
	next := p.gone.floor
	var stopped error // not Kafka's
	err = b.on(ctx, "show messages of "+quote(topic), func(c *kgo.Client) error {
		admin, let := kadm.NewClient(c), 0
		for next < p.end && !enough && stopped == nil {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			for _, r := range fetches.Records() {
				if r.Offset >= p.end || enough || stopped != nil {
					break
				}
				p.gone.add(next, r.Offset) // between them there is nothing
				next = r.Offset + 1
				if p.gone.has(r.Offset) {
					continue
				}
				if r.Attrs.IsControl() {
					p.gone.add(r.Offset, next)
					continue
				}
				if remove && !p.gone.fits() {
					stopped = failedWith(fmt.Sprintf("the messages that stay and those that go alternate too often, up to %s/%d/%d", topic, p.number, r.Offset), "send the older ones again first, without choosing among them")
					break
				}
				var gone bool
				if gone, enough, stopped = fn(deadRecord(topic, r)); !gone || stopped != nil {
					continue
				}
				p.gone.add(r.Offset, next)
				let++
				if err := p.note(context.WithoutCancel(ctx), admin, topic); err != nil {
					return fmt.Errorf("note that a message was sent again, which the next redrive repeats: %w", err)
				}
			}
		}
		if let > 0 {
			return p.cut(context.WithoutCancel(ctx), admin, topic)
		}
		return nil
	}, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p.number: kgo.NewOffset().At(next)}}), kgo.KeepControlRecords())
	if stopped != nil {
		err = stopped
	}
	return enough, err
}

func deadRecord(topic string, r *kgo.Record) *deadOne {
	headers := headersOf(r)
	d := &deadOne{epoch: 1, dead: deadHeaders(headers)}
	d.at = fmt.Sprintf("%s/%d/%d", topic, r.Partition, r.Offset)
	d.damaged = cloudevents.Kafka().Read(&d.env, headers, r.Value)
	return d
}

// headersOf walks over the headers of a record.
func headersOf(r *kgo.Record) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, h := range r.Headers {
			if !yield(h.Key, string(h.Value)) {
				return
			}
		}
	}
}

// note commits what was let go.
func (p *deadPart) note(ctx context.Context, admin *kadm.Client, topic string) error {
	var all kadm.Offsets
	all.Add(kadm.Offset{Topic: topic, Partition: p.number, At: p.gone.floor, LeaderEpoch: -1, Metadata: p.gone.text()})
	answers, err := admin.CommitOffsets(ctx, redriver, all)
	if err != nil {
		return err
	}
	return answers.Error()
}

// cut deletes what was let go up to the first one that stays.
func (p *deadPart) cut(ctx context.Context, admin *kadm.Client, topic string) error {
	var all kadm.Offsets
	all.Add(kadm.Offset{Topic: topic, Partition: p.number, At: max(p.gone.floor, p.begin), LeaderEpoch: -1})
	answers, err := admin.DeleteRecords(ctx, all)
	if err != nil {
		return err
	}
	return answers.Error()
}
