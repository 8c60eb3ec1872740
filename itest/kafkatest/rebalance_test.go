package kafkatest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// A rawMember is a member of a group that does what a test says and nothing else.
type rawMember struct {
	tb         testing.TB
	c          *kgo.Client
	topic, id  string
	session    time.Duration
	generation int32
}

// join joins the group, or joins it again, and returns when all members have.
func (m *rawMember) join(ctx context.Context, o *kafka.Options) {
	m.tb.Helper()
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.ProtocolType, req.MemberID = "shipping", "consumer", m.id
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(m.session.Milliseconds()), int32((o.SessionTimeout + o.DrainTimeout).Milliseconds())
		balancer := kgo.CooperativeStickyBalancer()
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: balancer.ProtocolName(), Metadata: balancer.JoinGroupMetadata([]string{m.topic}, nil, m.generation)}}
		resp, err := req.RequestWith(ctx, m.c)
		if err != nil {
			m.tb.Error(err)
			return
		}
		m.id, m.generation = resp.MemberID, resp.Generation
		switch err := kerr.ErrorForCode(resp.ErrorCode); err {
		case nil:
			return
		case kerr.MemberIDRequired:
		default:
			m.tb.Error(err)
			return
		}
	}
}

// sync takes what the leader says that it gets.
func (m *rawMember) sync(ctx context.Context) {
	m.tb.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = "shipping", m.generation, m.id
	kind, balancer := "consumer", kgo.CooperativeStickyBalancer().ProtocolName()
	req.ProtocolType, req.Protocol = &kind, &balancer
	resp, err := req.RequestWith(ctx, m.c)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		m.tb.Error(err)
	}
}

// live sends heartbeats until ctx ends, and joins no rebalance.
func (m *rawMember) live(ctx context.Context) {
	for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.Generation, req.MemberID = "shipping", m.generation, m.id
		_, _ = req.RequestWith(ctx, m.c) // that there is a rebalance
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// heldUp has a member of ours join a rebalance that another one holds up for longer than a session lasts, and answers
// what ours had in hand before, and the function that waits for its end.
func heldUp(t *testing.T, f *fixture, session time.Duration) (src bus.Source, d *bus.Delivery, end func()) {
	t.Helper()
	o := fast(kafka.Options{Partitions: 1, DrainTimeout: 2 * time.Second, SessionTimeout: session})
	tr, _ := f.connect(t, o)
	topic := declare(t, tr, f.topic())
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/1")...)
	src = hand.Subscribe(t, tr, group(topic))
	d = hand.Receive(t, src, 1)[0]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	// The slow one is not to die before ours has joined, where a busy machine stands still.
	slow, late := &rawMember{tb: t, c: f.raw(t), topic: topic, session: 30 * time.Second}, &rawMember{tb: t, c: f.raw(t), topic: topic, session: session}
	slow.join(ctx, o)
	slow.sync(ctx)
	var all sync.WaitGroup
	living, stop := context.WithCancel(ctx)
	all.Go(func() { slow.live(living) })
	all.Go(func() { late.join(ctx, o); stop() })
	t.Cleanup(all.Wait)
	t.Cleanup(stop)
	return src, d, all.Wait
}

// Who waits in a rebalance sends no heartbeats and keeps what it has, for as long as the rebalance may take, which is longer than a
// session. Apache Kafka waits as long for the others.
// guarantees: R2, K2
func TestRebalanceMayOutlastTheSession(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: Apache Kafka takes its time to start")
	}
	f, _ := newReal(t)
	began := time.Now()
	src, d, end := heldUp(t, f, 6*time.Second) // which a busy machine does not lose before it joins
	end()
	t.Logf("the rebalances took %v", time.Since(began))
	if d.Owned.Err() != nil {
		t.Error("a member that waited in a rebalance lost its partition")
	}
	hand.Settle(t, src, d)
}

// A coordinator that forgets who waits for it, as the fake one does when a session runs out meanwhile, never answers. The member stops
// when the rebalance must have ended, and begins again.
// guarantees: R5, K2
func TestUnansweredJoinBeginsAgain(t *testing.T) {
	f := newFake(t)
	began := time.Now()
	src, d, _ := heldUp(t, f, 1500*time.Millisecond)
	select {
	case <-d.Owned.Done():
	case <-time.After(time.Minute):
		t.Fatal("a member that nobody answers keeps its partition")
	}
	t.Logf("it stopped after %v", time.Since(began))
	again := hand.Receive(t, src, 1)[0]
	if again.ID != d.ID || !again.Redelivered {
		t.Errorf("%s came, redelivered %v", again.Body, again.Redelivered)
	}
	hand.Settle(t, src, again)
	t.Logf("it had it again after %v", time.Since(began))
}
