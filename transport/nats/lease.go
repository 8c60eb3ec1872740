package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
)

// A lease is the value of a lane's key: who owns the lane, and where it stands. It is written with the revision that was
// read, so that of two writers one fails. The durable of a lane has the epoch in its name: acknowledgements and requests of
// an earlier owner, who may have been frozen, find no consumer.
type lease struct {
	Owner string   `json:"owner,omitempty"` // member; empty: free
	Epoch uint64   `json:"epoch"`           // of the newest durable that may exist
	At    uint64   `json:"at"`              // of the durable that counts; 0: none yet
	From  uint64   `json:"from"`            // of the oldest durable that may exist
	Floor uint64   `json:"floor"`           // settled up to here in the stream, at least
	Mark  uint64   `json:"mark"`            // may have been delivered up to here
	Done  []uint64 `json:"done,omitempty"`  // settled above the floor
	Clean bool     `json:"clean,omitempty"` // given back in order: Floor, Mark and Done say all
	Born  int64    `json:"born"`            // of the stream; a new stream begins at 1
}

// leaseAt is a lease with its revision; 0: there is none.
type leaseAt struct {
	lease
	rev uint64
}

// laneAge is when an owner gives a lane back to take it again. It is far below laneAckWait, after which the server would
// redeliver what is not acknowledged, out of order.
const (
	laneAge     = 12 * time.Hour
	laneAckWait = 24 * time.Hour
)

func (p *party) laneKey(lane int) string { return p.prefix + "l." + strconv.Itoa(lane) }

// write puts a lease, if nobody has written it since.
func (p *party) write(ctx context.Context, lane int, l lease, rev uint64) (uint64, error) {
	value, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	return p.kv.Update(ctx, p.laneKey(lane), value, rev)
}

// take makes us the owner of a lane that is free. A death after any step leaves what the next one needs: the durable that
// counts is named by the lease, and older ones are deleted by whoever comes next.
func (p *party) take(ctx context.Context, lane int, was leaseAt) (*feed, error) {
	asked, cancel := asking(ctx)
	defer cancel()
	l := was.lease
	if l.Born != p.born {
		l = lease{Epoch: l.Epoch, From: l.Epoch + 1, Born: p.born}
	}
	clean := l.Clean && l.Owner == ""
	l.Owner, l.Epoch, l.Clean = p.me, l.Epoch+1, false
	l.From = max(l.From, 1)
	rev, err := p.write(asked, lane, l, was.rev) // 1. ours
	if err != nil {
		return nil, err
	}
	if l.At != 0 && !clean { // 2. where did the last owner stand?
		if err := p.stand(asked, lane, &l); err != nil {
			return nil, err
		}
	}
	js, stream, subject := p.ses.js, p.part.route.stream, p.part.route.subjects[lane]
	name := epochName(p.part.durable, lane, l.Epoch)
	_, err = js.CreateConsumer(asked, stream, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckAllPolicy, AckWait: laneAckWait, // 3. a durable of our own
		MaxAckPending: -1, MaxDeliver: -1, FilterSubject: subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.Floor + 1,
		Replicas: p.ses.s.t.o.Replicas, Description: fmt.Sprintf("lane %d of group %s", lane, p.ses.s.sub.Group)})
	if err != nil {
		return nil, err
	}
	old := l.At
	l.At = l.Epoch
	l.Done = slices.DeleteFunc(slices.Clone(l.Done), func(seq uint64) bool { return seq <= l.Floor })
	if rev, err = p.write(asked, lane, l, rev); err != nil { // 4. it is the one that counts
		return nil, err
	}
	if old != 0 || l.From < l.Epoch { // 5. older ones end
		if p.deleteEpochs(asked, lane, l.From, l.Epoch) {
			l.From = l.Epoch // written with the next change
		}
	}
	f := &feed{s: p.ses.s, topic: p.part.topic, stream: stream, consumer: name, lane: lane, mark: l.Mark, floor: l.Floor, lease: l, rev: rev, since: time.Now()}
	f.owned, f.lose = context.WithCancel(context.Background())
	if len(l.Done) > 0 {
		f.done = make(map[uint64]struct{}, len(l.Done))
		for _, seq := range l.Done {
			f.done[seq] = struct{}{}
		}
	}
	return f, nil
}

// stand stops the durable of an owner who did not give the lane back, and reads where it stands. A frozen owner may have
// requests open, which would go on taking messages while we look.
func (p *party) stand(ctx context.Context, lane int, l *lease) error {
	js, stream, name := p.ses.js, p.part.route.stream, epochName(p.part.durable, lane, l.At)
	_, err := js.PauseConsumer(ctx, stream, name, time.Now().Add(time.Hour))
	if err != nil && ctx.Err() != nil {
		return err
	} // servers before 2.11 cannot; the mark may then miss what leaves just now
	c, err := js.Consumer(ctx, stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) { // deleted by hand
		return nil
	}
	if err != nil {
		return err
	}
	l.Floor = max(l.Floor, c.CachedInfo().AckFloor.Stream)
	l.Mark = max(l.Mark, c.CachedInfo().Delivered.Stream)
	return nil
}

// deleteEpochs deletes the durables of earlier epochs, and reports whether none is left.
func (p *party) deleteEpochs(ctx context.Context, lane int, from, to uint64) bool {
	all := true
	for epoch := from; epoch < to; epoch++ {
		err := p.ses.js.DeleteConsumer(ctx, p.part.route.stream, epochName(p.part.durable, lane, epoch))
		all = all && (err == nil || errors.Is(err, jetstream.ErrConsumerNotFound))
	}
	return all
}

// close says where a lane stands that its owner gives back, and ends it. The source's mu is held.
func (f *feed) close() lease {
	f.raise()
	l := f.lease
	l.Owner, l.Clean, l.Floor, l.Mark, l.Done = "", true, max(f.floor, l.Floor), max(f.mark, f.handed), nil
	for seq := range f.done {
		if seq > l.Floor {
			l.Done = append(l.Done, seq)
		}
	}
	for i := range f.open.Len() {
		if h := *f.open.At(i); h.settled {
			if _, known := f.done[h.seq]; !known {
				l.Done = append(l.Done, h.seq)
			}
		}
	}
	slices.Sort(l.Done)
	f.end()
	return l
}

// openBucket opens the bucket of leases, and makes it where it is not there.
func (ses *session) openBucket(ctx context.Context) (jetstream.KeyValue, error) {
	o := &ses.s.t.o
	kv, err := ses.js.KeyValue(ctx, o.Bucket)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	if o.Require {
		return nil, fmt.Errorf("%w: there is no bucket %s for the leases of ordered groups, and Options.Require forbids to create it; run: nats kv add %s --history 1", bus.ErrRefused, o.Bucket, o.Bucket)
	}
	kv, err = ses.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: o.Bucket, History: 1, Storage: jetstream.FileStorage, Replicas: o.Replicas,
		Description: "leases of Sixfold's ordered groups"})
	if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster
		return ses.js.KeyValue(ctx, o.Bucket)
	}
	return kv, err
}
