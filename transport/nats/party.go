package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A party is an ordered group on one topic as one member sees it. Members have keys in the bucket of leases that they
// write again and again; who has not written for a lease is dead, and its key is deleted, by which its lanes become free.
// Each member takes its share of the lanes: what it has beyond it gives back, as soon as nothing of it is in flight.
//
// A party belongs to the goroutine of its session, but for its member key, which belongs to the one that beats.
type party struct {
	ses    *session
	part   *part
	kv     jetstream.KeyValue
	prefix string // of the keys
	me     string // id of this member
	rev    uint64 // of its key
	born   int64  // of the stream
	joined time.Time

	members map[string]*peer
	leases  []leaseAt
	mine    []*feed
	taking  []bool
	notYet  []time.Time // when a lane may be tried again
	markers []marker    // of members that died long ago
}

// A peer is a member's key.
type peer struct {
	rev  uint64
	seen time.Time // when it changed, by our clock
}

// A marker is what is left of a deleted key.
type marker struct {
	key string
	rev uint64
}

// openParty joins the group on a topic, before anything is received.
func (ses *session) openParty(ctx context.Context, part *part) error {
	asked, cancel := asking(ctx)
	defer cancel()
	if !part.route.retains {
		return fmt.Errorf("%w: stream %s drops what is acknowledged (its retention is not \"limits\"), which lanes that change hands cannot bear; change it, or consume without order", bus.ErrRefused, part.route.stream)
	}
	if err := ses.refuseUnordered(asked, part); err != nil {
		return err
	}
	stream, err := ses.js.Stream(asked, part.route.stream)
	if err != nil {
		return err
	}
	n := len(part.route.subjects)
	p := &party{ses: ses, part: part, prefix: part.prefix(), me: sixfold.NewID(), born: stream.CachedInfo().Created.UnixNano(),
		members: make(map[string]*peer), leases: make([]leaseAt, n), mine: make([]*feed, n), taking: make([]bool, n), notYet: make([]time.Time, n)}
	if p.kv, err = ses.openBucket(asked); err != nil {
		return err
	}
	if ses.s.t.o.StartNew {
		if err := p.beginAt(asked, stream.CachedInfo().State.LastSeq); err != nil {
			return err
		}
	}
	if part.member != "" { // nothing that we had on the last connection is ours
		if err := p.kv.Delete(asked, p.prefix+"m."+part.member); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return err
		}
	}
	p.joined = time.Now()
	if p.rev, err = p.kv.Create(asked, p.prefix+"m."+p.me, nil); err != nil {
		return err
	}
	part.member = p.me
	p.members[p.me] = &peer{rev: p.rev, seen: p.joined}
	ses.group = append(ses.group, p)
	return nil
}

// beginAt lets a new group begin behind seq.
func (p *party) beginAt(ctx context.Context, seq uint64) error {
	for lane := range p.leases {
		value, err := json.Marshal(lease{Floor: seq, Born: p.born, Clean: true})
		if err != nil {
			return err
		}
		if _, err = p.kv.Create(ctx, p.laneKey(lane), value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
	}
	return nil
}

// learn takes a change of a key.
func (p *party) learn(e jetstream.KeyValueEntry, now time.Time) {
	gone := e.Operation() != jetstream.KeyValuePut
	kind, id, _ := strings.Cut(e.Key()[len(p.prefix):], ".")
	switch kind {
	case "m":
		if gone {
			delete(p.members, id)
			if time.Since(e.Created()) > time.Hour {
				p.markers = append(p.markers, marker{e.Key(), e.Revision()})
			}
			if id == p.me {
				p.ses.end(errRevoked)
			}
			return
		}
		p.members[id] = &peer{rev: e.Revision(), seen: now}
	case "l":
		lane, err := strconv.Atoi(id)
		if err != nil || lane < 0 || lane >= len(p.leases) || e.Revision() <= p.leases[lane].rev {
			return
		}
		l := leaseAt{rev: e.Revision()}
		if !gone && json.Unmarshal(e.Value(), &l.lease) != nil {
			p.ses.s.t.o.Logger.Warn("nats: a lease cannot be read; delete its key", "key", e.Key())
			l.lease = lease{Owner: "unreadable"}
			p.notYet[lane] = now.Add(time.Hour)
		}
		p.leases[lane] = l
		if f := p.mine[lane]; f != nil && l.Owner != p.me {
			p.lose(lane)
		}
	}
}

var errRevoked = errors.New("the other members of the group took this one for dead")

// lose ends a lane that is another's.
func (p *party) lose(lane int) {
	s := p.ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mine[lane].end()
	p.forget(p.mine[lane])
	p.mine[lane] = nil
	s.bell.Ring()
}

// forget takes a feed out of what is received from. The source's mu is held.
func (p *party) forget(f *feed) {
	s := p.ses.s
	s.feeds = slices.DeleteFunc(s.feeds, func(g *feed) bool { return g == f })
	delete(p.ses.names, f.stream+"."+f.consumer)
}

// bury deletes the keys of members that have not written for a lease. paused says that this process did not look for
// a while, so that it cannot tell.
func (p *party) bury(ctx context.Context, now time.Time, paused bool) {
	for id, m := range p.members {
		switch {
		case id == p.me:
		case paused:
			m.seen = now
		case now.Sub(m.seen) > p.ses.s.t.o.Lease:
			if err := p.kv.Delete(ctx, p.prefix+"m."+id, jetstream.LastRevision(m.rev)); err == nil {
				delete(p.members, id)
			}
		}
	}
}

// sweep removes what is left of keys that were deleted long ago.
func (p *party) sweep(ctx context.Context) {
	if len(p.markers) == 0 {
		return
	}
	bucket, err := p.ses.js.Stream(ctx, "KV_"+p.kv.Bucket())
	if err != nil {
		return
	}
	for _, m := range p.markers[:min(len(p.markers), 100)] {
		if bucket.Purge(ctx, jetstream.WithPurgeSubject("$KV."+p.kv.Bucket()+"."+m.key), jetstream.WithPurgeSequence(m.rev+1)) != nil {
			return
		}
	}
	p.markers = nil
}

// share answers how many lanes are ours, and where to begin to look for them.
func (p *party) share() (quota, first int) {
	ids := slices.Sorted(maps.Keys(p.members))
	rank := slices.Index(ids, p.me)
	if rank < 0 {
		return 0, 0
	}
	lanes, n := len(p.leases), len(ids)
	quota = lanes / n
	if rank < lanes%n {
		quota++
	}
	return quota, rank * lanes / n
}

// free reports whether nobody owns a lane.
func (p *party) free(lane int) bool {
	l := p.leases[lane]
	return l.Owner == "" || l.Owner == p.me || p.members[l.Owner] == nil
}

// assign gives lanes back that are too many, and says which to take.
func (p *party) assign(now time.Time) (take []int) {
	s := p.ses.s
	quota, first := p.share()
	s.mu.Lock()
	defer s.mu.Unlock()
	have := 0
	for lane, f := range p.mine {
		switch {
		case f != nil && f.dead: // its durable has gone; it is taken again below
			p.forget(f)
			p.mine[lane] = nil
		case f != nil && now.Sub(f.since) > laneAge:
			f.draining = true
		case f != nil && !f.draining, p.taking[lane]:
			have++
		}
	}
	for lane := len(p.mine) - 1; lane >= 0 && have > quota; lane-- {
		if f := p.mine[lane]; f != nil && !f.draining {
			f.draining = true
			have--
		}
	}
	for i := 0; i < len(p.mine) && have < quota; i++ {
		lane := (first + i) % len(p.mine)
		if p.mine[lane] != nil || p.taking[lane] || !p.free(lane) || now.Before(p.notYet[lane]) {
			continue
		}
		p.taking[lane] = true
		take = append(take, lane)
		have++
	}
	return take
}

// drained answers the lanes that can be given back now, with what their leases will say.
func (p *party) drained(all bool) map[int]leaseAt {
	s := p.ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var out map[int]leaseAt
	for lane, f := range p.mine {
		if f == nil || f.dead || !all && (!f.draining || f.held > 0) {
			continue
		}
		if out == nil {
			out = make(map[int]leaseAt)
		}
		out[lane] = leaseAt{f.close(), f.rev}
		p.forget(f)
		p.mine[lane] = nil
	}
	return out
}
