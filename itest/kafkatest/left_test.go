package kafkatest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// A holdUp stops the goroutine that polls a client when it has a record of one partition, before the driver gets it: as a process
// does whose processor is busy elsewhere, while its other goroutines go on.
type holdUp struct {
	mu        sync.Mutex
	armed     bool
	topic     string
	partition int32
	keys      map[string]int32 // partitions of the keys that were seen

	reached, release chan struct{}
}

func newHoldUp() *holdUp {
	return &holdUp{keys: make(map[string]int32), reached: make(chan struct{}), release: make(chan struct{})}
}

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (h *holdUp) OnFetchRecordUnbuffered(r *kgo.Record, polled bool) {
	h.mu.Lock()
	h.keys[string(r.Key)] = r.Partition
	stop := polled && h.armed && r.Topic == h.topic && r.Partition == h.partition
	h.armed = h.armed && !stop
	h.mu.Unlock()
	if stop {
		close(h.reached)
		<-h.release
	}
}

func (h *holdUp) arm(topic string, partition int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed, h.topic, h.partition = true, topic, partition
}

// keyOf is a key of a partition.
func (h *holdUp) keyOf(t *testing.T, partition int32) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, p := range h.keys {
		if p == partition && key != "" {
			return key
		}
	}
	t.Fatalf("no key of partition %d was seen", partition)
	return ""
}

// What was polled before a partition went to another member, and reaches the driver when it has come back meanwhile, is not handed out: the other
// member has done it. Ours does not let a partition go, or come, while a poll is under way. [PolledBeforeALeave]
// guarantees: R5, K2
func TestPolledBeforeALeave(t *testing.T) {
	t.Parallel()
	for partition := range int32(2) { // one of the two goes
		polledBeforeALeave(t, partition)
	}
}

func polledBeforeALeave(t *testing.T, partition int32) {
	f := newFake(t)
	h := newHoldUp()
	a, _ := f.connect(t, fast(kafka.Options{Partitions: 2, Client: []kgo.Opt{kgo.WithHooks(h)}}))
	b, _ := f.connect(t, fast(kafka.Options{Partitions: 2}))
	topic := declare(t, a, f.topic())
	one := hand.Subscribe(t, a, group(topic))
	s := hand.Open(t, b)
	var first []string
	for i := range 16 {
		first = append(first, fmt.Sprintf("k%d/first", i))
	}
	hand.MustSend(t, s, hand.Messages(topic, first...)...)
	hand.Settle(t, one, hand.Receive(t, one, 16)...)
	key, other := h.keyOf(t, partition), h.keyOf(t, 1-partition)

	h.arm(topic, partition)
	hand.MustSend(t, s, hand.Messages(topic, key+"/old-1", key+"/old-2")...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-h.reached:
	case <-ctx.Done():
		t.Fatal("nothing was polled")
	}
	release := sync.OnceFunc(func() { close(h.release) })
	defer release()

	times := map[string]int{}
	handle := func(src bus.Source, within time.Duration) {
		limited, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		ds, _ := src.Receive(limited, 10)
		for _, d := range ds {
			times[string(d.Body)]++
		}
		hand.Settle(t, src, ds...)
	}
	// A driver that lets the partition go, and takes it back, has its chance here.
	two := hand.Subscribe(t, b, group(topic))
	handle(two, 1500*time.Millisecond)
	handle(two, 100*time.Millisecond)
	limited, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	_ = two.Close(limited) // where it got nothing it waits for the group
	_, _ = f.fake.WaitGroupStable(limited, "shipping", 1)
	cancel()
	release()
	hand.MustSend(t, s, hand.Messages(topic, key+"/new", other+"/new")...)
	for times[key+"/new"] == 0 || times[other+"/new"] == 0 {
		if ctx.Err() != nil {
			t.Fatalf("only %v came", times)
		}
		handle(one, time.Second)
	}
	for _, body := range []string{key + "/old-1", key + "/old-2", key + "/new", other + "/new"} {
		if times[body] != 1 {
			t.Errorf("partition %d: %s was handled %d times", partition, body, times[body])
		}
	}
}

// A request that was polled just before its partition went to another responder runs once: the poll holds the group up until it is committed.
// guarantees: Q5
func TestRequestPolledBeforeALeave(t *testing.T) {
	t.Parallel()
	for partition := range int32(2) {
		f := newFake(t)
		h := newHoldUp()
		a, _ := f.connect(t, fast(kafka.Options{Partitions: 2, Client: []kgo.Opt{kgo.WithHooks(h)}}))
		b, _ := f.connect(t, fast(kafka.Options{Partitions: 2}))
		var took [2]chan string
		listen := func(i int, tr *kafka.Transport) request.Ear {
			lane, err := tr.RequestLane(nil)
			if err != nil {
				t.Error(err)
				return nil
			}
			took[i] = make(chan string, 10)
			ear, err := lane.Listen(t.Context(), []string{"stock"}, request.Requests{Take: func(_ string, p *request.Packet) { took[i] <- string(p.Envelope.Body) }, Lost: func(error) {}})
			if err != nil {
				t.Error(err)
			}
			return ear
		}
		put := func(p int32, body string) {
			raw := f.raw(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err := raw.ProduceSync(t.Context(), &kgo.Record{Topic: "sixfold.request.stock", Partition: p, Value: []byte(body)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		h.arm("sixfold.request.stock", partition)
		one := listen(0, a)
		put(partition, "held up")
		select {
		case <-h.reached:
		case <-time.After(time.Minute):
			t.Fatal("nothing was polled")
		}
		second := make(chan request.Ear, 1)
		go func() { second <- listen(1, b) }()
		var runs []string
		take := func(c <-chan string, within time.Duration) {
			select {
			case body := <-c:
				runs = append(runs, body)
			case <-time.After(within):
			}
		}
		<-time.After(1500 * time.Millisecond) // long enough for the group to go on if nothing holds it up
		close(h.release)
		take(took[0], time.Minute)
		two := <-second
		if two == nil {
			return
		}
		take(took[1], 500*time.Millisecond)
		if len(runs) != 1 || runs[0] != "held up" {
			t.Errorf("partition %d: it ran %d times", partition, len(runs))
		}
		runs = nil
		put(0, "new")
		put(1, "new")
		for len(runs) < 2 {
			before := len(runs)
			select {
			case body := <-took[0]:
				runs = append(runs, body)
			case body := <-took[1]:
				runs = append(runs, body)
			case <-time.After(time.Minute):
				t.Fatalf("%d of two requests ran afterwards", before)
			}
		}
		for _, ear := range []request.Ear{one, two} {
			if err := ear.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// A request that could not be committed belongs to somebody else, and is not handled. guarantees: Q5
func TestRequestThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 1}))
	lane, err := tr.RequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	took, refused := make(chan string, 10), make(chan struct{})
	ear, err := lane.Listen(t.Context(), []string{"stock"}, request.Requests{Take: func(_ string, p *request.Packet) { took <- string(p.Envelope.Body) }, Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	f.fake.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) { // once
		close(refused)
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range req.(*kmsg.OffsetCommitRequest).Topics {
			answer := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.UnknownMemberID.Code})
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	raw := f.raw(t)
	for _, body := range []string{"not ours", "ours"} {
		if err := raw.ProduceSync(t.Context(), &kgo.Record{Topic: "sixfold.request.stock", Value: []byte(body)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-refused:
		case <-time.After(time.Minute):
			t.Fatal("nothing was committed")
		}
	}
	select {
	case body := <-took:
		if body != "ours" {
			t.Errorf("%q was handled", body)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was handled afterwards")
	}
	if err := ear.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
