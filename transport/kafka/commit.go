package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitEvery is how soon what is settled is committed: a commit is a write to the brokers' log, and a consumer that keeps
// up would send one for every few messages.
const commitEvery = 20 * time.Millisecond

// A commit is what is told of one partition.
type commit struct {
	f        *feed
	offset   int64
	metadata string
	reserved int64
}

// commits writes offsets as they move, one commit at a time.
func (ses *session) commits() {
	for {
		select {
		case <-ses.urgent:
		case <-ses.dirty:
			t := time.NewTimer(commitEvery)
			select {
			case <-t.C:
			case <-ses.urgent:
			case <-ses.lost:
			}
			t.Stop()
		case <-ses.lost:
			return
		}
		if ses.over() {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() { // a commit waits while the group is joined
			select {
			case <-ses.lost:
				pause(ctx, time.Second) // one that is cancelled ends its connection, and the last one could overtake it on another
			case <-ctx.Done():
			}
			cancel()
		}()
		ses.committing.Lock()
		err := ses.send(ctx, ses.collect(nil))
		ses.committing.Unlock()
		if err != nil && ctx.Err() == nil {
			ses.s.t.o.Logger.Debug("kafka: a source cannot commit and tries again", "group", ses.s.sub.Group, "err", err)
			pause(ctx, 4*commitEvery)
			signal(ses.dirty)
		}
		cancel()
	}
}

// collect answers what has moved, of all partitions or of some that are about to go, of which everything is told.
func (ses *session) collect(last []*feed) []commit {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var cs []commit
	if last != nil {
		for _, f := range last {
			if floor := f.floor(); floor >= 0 && f.begun && !f.dead {
				m := mark{handed: f.suspects(floor), done: f.doneAbove()}
				cs = append(cs, commit{f, floor, m.text(floor), 0})
			}
		}
		return cs
	}
	for _, f := range s.feeds {
		floor := f.floor()
		if floor < 0 || !f.begun || f.dead || f.draining {
			continue
		}
		want := max(f.handed, floor) + s.reserveOf()
		if floor == f.committed && f.reserved-max(f.handed, floor) >= s.reserveOf()/2 {
			continue
		}
		want = max(want, f.reserved)
		m := mark{handed: max(want, f.before.handed), done: f.before.done}
		cs = append(cs, commit{f, floor, m.text(floor), want})
	}
	return cs
}

// commitLast commits everything that is known of partitions that are about to go: their next owner has what is settled
// above the floor too. Nothing of them is settled any more.
func (ses *session) commitLast(ctx context.Context, feeds []*feed) {
	ses.committing.Lock()
	defer ses.committing.Unlock()
	cs := ses.collect(append([]*feed{}, feeds...))
	ses.s.mu.Lock()
	for _, f := range feeds {
		f.draining = true
		f.dead = true // what is settled from now on comes again
		f.lose()
	}
	ses.s.mu.Unlock()
	if err := ses.send(ctx, cs); err != nil {
		ses.s.t.o.Logger.Warn("kafka: the last commit of partitions failed; some messages come again", "group", ses.s.sub.Group, "err", err)
	}
}

// send writes a commit and learns from its answer.
func (ses *session) send(ctx context.Context, cs []commit) error {
	if len(cs) == 0 {
		return nil
	}
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	of := make(map[part]commit, len(cs))
	for _, c := range cs {
		if offsets[c.f.topic] == nil {
			offsets[c.f.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[c.f.topic][c.f.partition] = kgo.EpochOffset{Epoch: -1, Offset: c.offset}
		of[part{c.f.topic, c.f.partition}] = c
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				if c, there := of[part{req.Topics[i].Topic, p.Partition}]; there {
					p.Metadata = kmsg.StringPtr(c.metadata)
				}
			}
		}
		return nil
	})
	var failed error
	ses.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failed = err
			return
		}
		s := ses.s
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				c, there := of[part{t.Topic, p.Partition}]
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = err
				} else if there {
					c.f.committed, c.f.reserved = c.offset, max(c.f.reserved, c.reserved)
				}
			}
		}
		s.bell.Ring()
	})
	return failed
}
