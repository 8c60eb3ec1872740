package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// log answers what a topic has, by partition, as a client of somebody else's reads it.
func (f *fixture) log(tb testing.TB, topic string) map[int32][]*kgo.Record {
	tb.Helper()
	c := f.raw(tb, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(c).ListEndOffsets(tb.Context(), topic)
	if err != nil {
		tb.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	all := map[int32][]*kgo.Record{}
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			tb.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { all[r.Partition] = append(all[r.Partition], r); left-- })
	}
	return all
}

func declare(tb testing.TB, t *kafka.Transport, topic string) string {
	tb.Helper()
	if err := t.Declare(tb.Context(), topic); err != nil {
		tb.Fatal(err)
	}
	return topic
}

// Whatever is no yes ends the pipe: what came behind is not taken, and nothing is sent twice. [PrefixAfterFailure]
// guarantees: R1, R2, R4
func TestAnswerThatIsNoYesEndsThePipe(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.UnknownTopicOrPartition, kerr.OutOfOrderSequenceNumber, kerr.KafkaStorageError} {
		t.Run(code.Message, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			tr, _ := f.connect(t, fast(kafka.Options{}))
			topic := declare(t, tr, f.topic())
			s := hand.Open(t, tr)
			hand.MustSend(t, s, hand.Messages(topic, "k/0")...)
			h := f.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: code})
			var pending []bus.Pending
			for i := 1; i < 20; i++ {
				pending = append(pending, s.Send(t.Context(), hand.Messages(topic, fmt.Sprint("k/", i))))
			}
			taken := 1
			for i, p := range pending {
				for _, err := range p.Wait(t.Context()) {
					switch {
					case err == nil && taken != i+1:
						t.Errorf("%d was taken behind one that was not", i+1)
					case err == nil:
						taken++
					case !errors.Is(err, bus.ErrUnavailable):
						t.Errorf("%d: %v", i+1, err)
					}
				}
			}
			if h.Hits() == 0 {
				t.Fatal("the fault was not played")
			}
			for _, rs := range f.log(t, topic) {
				for i, r := range rs {
					if want := fmt.Sprint("k/", i); string(r.Value) != want {
						t.Errorf("the log has %s where %s belongs", r.Value, want)
					}
				}
			}
			for _, err := range hand.Send(t, s, hand.Messages(topic, "k/99", "l/99")...) {
				if !errors.Is(err, bus.ErrUnavailable) || !strings.Contains(err.Error(), "open another") {
					t.Errorf("the broken pipe answered %v", err)
				}
			}
			hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/100")...)
		})
	}
}

// writes has one token for each request to produce that was written.
type writes chan struct{}

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w writes) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Produce) {
		w <- struct{}{}
	}
}

// A broker that knows nothing of a producer takes any sequence number; so the first batch goes alone. [PrefixAfterFailure]
func TestFirstBatchGoesAlone(t *testing.T) {
	f := newFake(t)
	o := fast(kafka.Options{Partitions: 1})
	wrote := make(writes, 10)
	o.Client = []kgo.Opt{kgo.WithHooks(wrote)}
	tr, _ := f.connect(t, o)
	topic := declare(t, tr, f.topic())
	hold := make(chan struct{})
	first := make(chan struct{})
	var requests atomic.Int32
	f.fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if requests.Add(1) > 1 {
			f.fake.KeepControl()
			return nil, nil, false
		}
		f.fake.KeepControl()
		close(first)
		f.fake.SleepControl(func() { <-hold })
		resp := req.ResponseKind().(*kmsg.ProduceResponse) // the brokers refuse the first, and would take what follows
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.NotEnoughReplicas.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	s := hand.Open(t, tr)
	a := s.Send(t.Context(), hand.Messages(topic, "k/1"))
	<-first
	<-wrote
	b := s.Send(t.Context(), hand.Messages(topic, "k/2"))
	select {
	case <-wrote:
		t.Error("a second batch was written before the first was answered")
	case <-time.After(300 * time.Millisecond):
	}
	close(hold)
	for _, p := range []bus.Pending{a, b} {
		for _, err := range p.Wait(t.Context()) {
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests went out before the first was answered", n)
	}
	if log := f.log(t, topic); len(log) != 0 {
		t.Errorf("the broker has %v", log)
	}
}

// What one Send hands over goes out together, from the first on: its first message does not go alone, with the others waiting for its confirm.
func TestOneSendIsOneRequest(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 1}))
	topic := declare(t, tr, f.topic())
	var requests atomic.Int32
	f.fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.fake.KeepControl()
		requests.Add(1)
		return nil, nil, false
	})
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("k/", i)
	}
	const senders = 20
	for range senders {
		hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, many...)...)
	}
	if n := requests.Load(); n != senders {
		t.Errorf("%d senders made %d requests, want one each", senders, n)
	}
}

// Each batch of a sender bears its producer id and the number that follows the one before it in its partition, so that no broker takes
// one whose predecessor it has not. [PrefixAfterFailure]
// guarantees: R4
func TestBatchesAreNumbered(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 2}))
	topic := declare(t, tr, f.topic())
	var mu sync.Mutex
	batches, next := 0, map[string]int32{} // by producer and partition
	f.fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.fake.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				var b kmsg.RecordBatch
				if err := b.ReadFrom(rp.Records); err != nil {
					t.Error(err)
				}
				who := fmt.Sprint(b.ProducerID, "/", rp.Partition)
				if b.ProducerID < 0 || b.ProducerEpoch < 0 || b.FirstSequence != next[who] {
					t.Errorf("producer %d, epoch %d, partition %d: number %d, want %d", b.ProducerID, b.ProducerEpoch, rp.Partition, b.FirstSequence, next[who])
				}
				next[who] += b.NumRecords
				batches++
			}
		}
		return nil, nil, false
	})
	for range 2 { // the next sender begins anew
		s := hand.Open(t, tr)
		for i := range 20 {
			hand.MustSend(t, s, hand.Messages(topic, fmt.Sprint("a/", i), fmt.Sprint("b/", i), fmt.Sprint("foobar/", i), fmt.Sprint("abc/", i), fmt.Sprint("21/", i))...)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if batches < 40 || len(next) != 4 {
		t.Errorf("%d batches, of %d", batches, len(next))
	}
}

// Through faults, cuts and moved leaders, each followed by a new sender that begins at the first message without a
// confirm, the first occurrences of each key are in order, and nothing that was confirmed is missing.
// guarantees: R1, R2, R4, R7
func TestPrefixThroughFaults(t *testing.T) {
	f := newFake(t)
	tr, n := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const total, keys = 4000, 7
	text := func(i int) string { return fmt.Sprintf("k%d/%d", i%keys, i) }
	codes := []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.UnknownServerError}
	confirmed, breaks := 0, 0
	for confirmed < total {
		s, err := tr.Open(t.Context())
		if err != nil {
			n.restore()
			continue
		}
		n.restore()
		next := confirmed
		var pending []bus.Pending
		for range 5 + rng.IntN(30) {
			var batch []bus.Outgoing
			for range 1 + rng.IntN(20) {
				if next < total {
					batch = append(batch, hand.Messages(topic, text(next))...)
					next++
				}
			}
			pending = append(pending, s.Send(t.Context(), batch))
			draw := rng.IntN(60)
			if confirmed > total/2 && breaks < 3 { // the draw was kind
				draw = rng.IntN(2)
			}
			switch draw {
			case 0:
				f.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: codes[rng.IntN(len(codes))]})
			case 1:
				n.cut()
			case 2:
				f.fake.ShufflePartitionLeaders()
			}
		}
		failed := false
		for _, p := range pending {
			for _, err := range p.Wait(t.Context()) {
				failed = failed || err != nil
				if !failed {
					confirmed++
				}
			}
		}
		if failed {
			breaks++
		}
		s.Close(t.Context())
	}
	if breaks < 3 {
		t.Errorf("the pipe broke %d times only", breaks)
	}
	last, seen := map[string]int{}, map[int]bool{}
	for _, rs := range f.log(t, topic) {
		for _, r := range rs {
			var key string
			var i int
			if _, err := fmt.Sscanf(strings.Replace(string(r.Value), "/", " ", 1), "%s %d", &key, &i); err != nil {
				t.Fatal(err)
			}
			if !seen[i] && i < last[key] {
				t.Errorf("%s: %d came first behind %d", key, i, last[key])
			}
			seen[i] = true
			last[key] = max(last[key], i)
		}
	}
	if len(seen) != total {
		t.Errorf("%d of %d are there", len(seen), total)
	}
	t.Logf("%d breaks", breaks)
}

// guarantees: R6
func TestRefusedBeforeSending(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	small, compacted, fine := f.topic(), f.topic(), declare(t, tr, f.topic())
	top, err := kafka.NewTopology(kafka.Topic{Name: small, Config: map[string]string{"max.message.bytes": "2000"}}, kafka.Topic{Name: compacted, Config: map[string]string{"cleanup.policy": "compact"}})
	if err == nil {
		err = tr.DeclareTopology(t.Context(), top)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := hand.Open(t, tr)
	large := hand.Messages(small, "large/")[0]
	large.Body = make([]byte, 2000)
	errs := hand.Send(t, s, large, hand.Messages(compacted, "/unkeyed")[0], hand.Messages("missing", "missing/1")[0], hand.Messages(fine, "ok/1")[0], hand.Messages(small, "ok/2")[0], hand.Messages(compacted, "ok/3")[0],
		hand.Messages(fine, "large/2")[0], hand.Messages(fine, "missing/2")[0], hand.Messages(fine, "/3")[0])
	for i, want := range []error{bus.ErrTooLarge, bus.ErrRefused, bus.ErrUnroutable, nil, nil, nil, bus.ErrBehindFailed, bus.ErrBehindFailed, nil} {
		if !errors.Is(errs[i], want) || want == nil && errs[i] != nil {
			t.Errorf("%d: %v, want %v", i, errs[i], want)
		}
	}
	if errs[0] != nil && !strings.Contains(errs[0].Error(), "2000") {
		t.Errorf("the limit is not named: %v", errs[0])
	}
	if f.fake.TopicInfo("missing") != nil {
		t.Error("sending made a topic")
	}
}

// Keys go where Java's producer sends them: the vectors are those of Kafka's own tests of murmur2.
func TestPartitionsAreJavas(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 50}))
	topic := declare(t, tr, f.topic())
	hashes := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107}
	s := hand.Open(t, tr)
	for key := range hashes {
		hand.MustSend(t, s, hand.Messages(topic, key+"/x")...)
	}
	for p, rs := range f.log(t, topic) {
		for _, r := range rs {
			if want := (hashes[string(r.Key)] & 0x7fffffff) % 50; p != want {
				t.Errorf("%s is in partition %d, Java's is %d", r.Key, p, want)
			}
		}
	}
}

// What has no key spreads.
func TestUnkeyedSpreads(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	batch := hand.Messages(topic, slices.Repeat([]string{"/" + strings.Repeat("x", 10_000)}, 200)...)
	hand.MustSend(t, hand.Open(t, tr), batch...)
	if n := len(f.log(t, topic)); n < 3 {
		t.Errorf("2 MB without keys went to %d of 4 partitions", n)
	}
}

// More partitions: what is in flight comes first, then keys move.
func TestPartitionsAdded(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 1}))
	topic := declare(t, tr, f.topic())
	s := hand.Open(t, tr)
	hand.MustSend(t, s, hand.Messages(topic, "a/1", "b/1", "c/1", "d/1")...)
	if _, err := kadm.NewClient(f.raw(t)).CreatePartitions(t.Context(), 7, topic); err != nil {
		t.Fatal(err)
	}
	hand.MustSend(t, s, hand.Messages(topic, "a/2", "b/2", "c/2", "d/2")...) // by what it knows
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "a/3", "b/3", "c/3", "d/3")...)
	log := f.log(t, topic)
	if len(log[0]) < 8 || len(log) < 2 {
		t.Errorf("partition 0 has %d, and there are %d with something", len(log[0]), len(log))
	}
}
