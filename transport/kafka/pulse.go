package kafka

import (
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var errSilent = errors.New("no heartbeat was answered for so long that the brokers may have given the partitions to others")

// A pulse watches a member's heartbeats. When none has been answered for nearly the session time-out, the brokers may have
// given its partitions away, and a member that is cut off hears nothing of it: its deliveries have to end by the clock of
// this process.
type pulse struct {
	limit   time.Duration // without an answered heartbeat
	joining time.Duration // in a rebalance, while which there are none
	over    func() bool   // called then; true: go on, there is nothing to lose

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

func newPulse(session, joining time.Duration, over func() bool) *pulse {
	return &pulse{limit: session - session/10, joining: joining, over: over}
}

// OnBrokerWrite implements kgo.HookBrokerWrite: whoever joins is silent until all members have.
func (p *pulse) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && (key == int16(kmsg.JoinGroup) || key == int16(kmsg.SyncGroup)) {
		p.live(p.joining)
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E: what was answered was heard when it was sent, or later.
func (p *pulse) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if e2e.Err() != nil {
		return
	}
	switch key {
	case int16(kmsg.JoinGroup), int16(kmsg.SyncGroup): // the session begins when the last member has joined
		p.live(p.limit)
	case int16(kmsg.Heartbeat), int16(kmsg.ConsumerGroupHeartbeat):
		p.live(p.limit - e2e.DurationE2E())
	}
}

// live allows another d.
func (p *pulse) live(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
	case p.timer == nil:
		p.timer = time.AfterFunc(d, p.silent)
	default:
		p.timer.Reset(max(d, 0))
	}
}

// silent is called when no heartbeat was answered for too long.
func (p *pulse) silent() {
	if p.over() {
		p.live(p.limit)
	}
}

// stop ends the watch. A nil pulse is that of a copy.
func (p *pulse) stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
