package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// taken is how a take-over ended.
type taken struct {
	p    *party
	lane int
	f    *feed
	err  error
}

// atOnce bounds the take-overs and give-backs under way at a time.
const atOnce = 8

// serveLanes works for an ordered group until the connection is over or the source is closed, which it reports. Its
// goroutines have ended when it returns.
func (ses *session) serveLanes(ctx context.Context) (stopping bool) {
	s := ses.s
	working, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	keys := make([]string, len(ses.group))
	for i, p := range ses.group {
		keys[i] = p.prefix + ">"
	}
	watch, err := ses.group[0].kv.WatchFiltered(working, keys)
	if err != nil {
		ses.end(err)
		return false
	}
	defer watch.Stop()
	all.Go(func() { ses.beat(working) })
	results := make(chan taken)
	limit := make(chan struct{}, atOnce)
	tick := time.NewTicker(s.t.o.Lease / 4)
	defer tick.Stop()
	slow := time.NewTicker(heartbeat)
	defer slow.Stop()
	synced, looked := false, time.Now()
	for {
		select {
		case e, open := <-watch.Updates():
			switch {
			case !open:
				ses.end(errors.New("the watch of the leases ended"))
			case e == nil:
				synced = true
				all.Go(func() { ses.sweep(working) })
			default:
				ses.learn(e)
			}
		case r := <-results:
			ses.settleTaken(r)
		case <-tick.C:
			now := time.Now()
			paused := now.Sub(looked) > s.t.o.Lease/2
			looked = now
			if synced {
				ses.bury(working, now, paused)
			}
		case <-slow.C:
			ses.look()
		case <-ses.poke:
		case closing := <-s.stop:
			cancel()
			all.Wait()
			ses.retire(closing)
			return true
		case <-ses.lost:
			return false
		case <-ctx.Done():
			return true
		}
		if !synced {
			continue
		}
		for _, p := range ses.group {
			for _, lane := range p.assign(time.Now()) {
				was := p.leases[lane]
				all.Go(func() {
					limit <- struct{}{}
					f, err := p.take(working, lane, was)
					<-limit
					select {
					case results <- taken{p, lane, f, err}:
					case <-working.Done():
						if f != nil {
							f.lose()
						}
					}
				})
			}
			for lane, l := range p.drained(false) {
				p.giveLane(working, lane, l)
			}
		}
	}
}

// learn gives a change of a key to the party that it belongs to.
func (ses *session) learn(e jetstream.KeyValueEntry) {
	for _, p := range ses.group {
		if strings.HasPrefix(e.Key(), p.prefix) {
			p.learn(e, time.Now())
		}
	}
}

func (ses *session) bury(ctx context.Context, now time.Time, paused bool) {
	asked, cancel := asking(ctx)
	defer cancel()
	for _, p := range ses.group {
		p.bury(asked, now, paused)
	}
}

func (ses *session) sweep(ctx context.Context) {
	asked, cancel := asking(ctx)
	defer cancel()
	for _, p := range ses.group {
		p.sweep(asked)
	}
}

// settleTaken begins to receive from a lane, or lets it be.
func (ses *session) settleTaken(r taken) {
	p := r.p
	p.taking[r.lane] = false
	if r.err != nil {
		if !casFailed(r.err) { // another was faster: its write is on its way to us
			ses.s.t.o.Logger.Warn("nats: cannot take a lane over; trying again", "topic", p.part.topic, "group", ses.s.sub.Group, "lane", r.lane, "err", r.err)
			p.notYet[r.lane] = time.Now().Add(time.Second)
		}
		return
	}
	if p.leases[r.lane].rev > r.f.rev { // somebody has taken it already
		r.f.lose()
		return
	}
	p.leases[r.lane] = leaseAt{r.f.lease, r.f.rev}
	p.mine[r.lane] = r.f
	ses.add(r.f)
	s := ses.s
	s.mu.Lock()
	pulls := s.pulls()
	s.mu.Unlock()
	ses.pull(pulls)
}

// giveLane lets others have a lane. If the lease cannot be written, it is taken again, or goes to others when we die.
func (p *party) giveLane(ctx context.Context, lane int, l leaseAt) {
	asked, cancel := asking(ctx)
	defer cancel()
	rev, err := p.write(asked, lane, l.lease, l.rev)
	if err != nil {
		p.ses.s.t.o.Logger.Debug("nats: a lane could not be given back", "topic", p.part.topic, "lane", lane, "err", err)
		return
	}
	if rev > p.leases[lane].rev {
		p.leases[lane] = leaseAt{l.lease, rev}
	}
}

// retire gives every lane back, whatever is in flight, and leaves the group.
func (ses *session) retire(ctx context.Context) {
	var all sync.WaitGroup
	limit := make(chan struct{}, atOnce)
	for _, p := range ses.group {
		for lane, l := range p.drained(true) {
			limit <- struct{}{}
			all.Go(func() { p.giveLane(ctx, lane, l); <-limit })
		}
	}
	all.Wait()
	asked, cancel := asking(ctx)
	defer cancel()
	for _, p := range ses.group {
		if err := p.kv.Delete(asked, p.prefix+"m."+p.me); err != nil {
			ses.s.t.o.Logger.Debug("nats: a member could not leave its group; its lanes go to others after the lease", "topic", p.part.topic, "err", err)
		}
	}
}

// beat writes the member keys four times a lease. When that has failed for 0.7 of a lease the session ends, before others
// can take this member for dead.
func (ses *session) beat(ctx context.Context) {
	every := ses.s.t.o.Lease / 4
	tick := time.NewTicker(every)
	defer tick.Stop()
	good := ses.group[0].joined
	for {
		select {
		case <-tick.C:
		case <-ses.lost:
			return
		case <-ctx.Done():
			return
		}
		began := time.Now()
		last := good.Add(ses.s.t.o.Lease * 7 / 10)
		err := ses.beatOnce(ctx, last)
		switch {
		case err == nil:
			good = began
		case ctx.Err() != nil:
			return
		case casFailed(err):
			ses.end(errRevoked)
			return
		case !time.Now().Before(last):
			ses.end(fmt.Errorf("the lease could not be renewed: %w", err))
			return
		}
	}
}

func (ses *session) beatOnce(ctx context.Context, last time.Time) error {
	asked, cancel := context.WithDeadline(ctx, last)
	defer cancel()
	for _, p := range ses.group {
		rev, err := p.kv.Update(asked, p.prefix+"m."+p.me, nil, p.rev)
		if err != nil {
			return err
		}
		p.rev = rev
	}
	return nil
}

// casFailed reports whether a key was written by another since it was read.
func casFailed(err error) bool {
	const wrongLastSequence, wrongLastSequenceConstant = 10071, 10164
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && (api.ErrorCode == wrongLastSequence || api.ErrorCode == wrongLastSequenceConstant)
}
