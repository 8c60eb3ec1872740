package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// relaySQS drains rows that were committed before the relay starts, as relayDrain does. The emulator is the case's own, and
// without SNS, which would have it do everything twice.
func relaySQS(ctx context.Context, s *scope) error {
	b, _, err := s.newSQSBroker(ctx)
	if err != nil {
		return err
	}
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	n := pick(s.bench, 10_000, 500)
	fill := func(ctx context.Context, t *tables, n int) error { return t.fill(ctx, t.box, n, noKeys) }
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: b.name + "'s own client"}, goal{}, s.clientRate(b, n), s.relayRate(t, b, n, fill))
}

// consumeSQS is consume on FIFO queues. Each side is timed from its first message to its last.
func consumeSQS(ctx context.Context, s *scope) error {
	b, c, err := s.newSQSBroker(ctx)
	if err != nil {
		return err
	}
	n := pick(s.bench, 10_000, 500)
	loaded := func(take func(ctx context.Context, w *watch) error) arm {
		return func(ctx context.Context) (float64, error) {
			envs, err := envelopes(ctx, n, keysOf(1000))
			if err == nil {
				err = b.fresh(ctx)
			}
			if err == nil {
				err = b.publish(ctx, envs)
			}
			if err != nil {
				return 0, err
			}
			runtime.GC()
			w := &watch{counter: newCounter(n)}
			if err := take(ctx, w); err != nil {
				return 0, err
			}
			return float64(n) / w.end.Sub(w.start).Seconds(), nil
		}
	}
	own := func(ctx context.Context, w *watch) (err error) {
		t, err := b.open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
		return runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true, MaxInFlight: 2 * batchSize},
			bus.Options{}, w.counter, sixfold.Raw(func(context.Context, *sixfold.Envelope) error { w.handled(); return nil }))
	}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: b.name + "'s own client", Note: "in the order of 1,000 keys"}, goal{},
		loaded(func(ctx context.Context, w *watch) error { return c.receive(ctx, n, w) }), loaded(own))
}

// newSQSBroker starts an emulator and makes the raw client.
func (s *scope) newSQSBroker(ctx context.Context) (*broker, *rawSQS, error) {
	a, err := servers.StartAWS(ctx, servers.Fauxqs)
	if err != nil {
		return nil, nil, err
	}
	s.atEnd(a.Close)
	pool := &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 128} // as the driver's
	s.atEnd(func() error { pool.CloseIdleConnections(); return nil })
	keys := credentials.NewStaticCredentialsProvider("bench", "bench", "")
	c := &rawSQS{q: awssqs.NewFromConfig(aws.Config{Region: "eu-central-1", BaseEndpoint: aws.String(a.URL()), Credentials: aws.NewCredentialsCache(keys), HTTPClient: &http.Client{Transport: pool}})}
	b := &broker{name: "sqs (an emulator)", judged: true, fresh: c.fresh, publish: c.publish, open: func(ctx context.Context) (bus.Transport, error) {
		return sqs.New(ctx, &sqs.Options{Region: "eu-central-1", Endpoint: a.URL(), Credentials: keys, PointToPoint: true,
			Queue: func(name, _ string, q *sqs.Queue) {
				if name == topic {
					q.Name = c.name()
				}
			}})
	}}
	return b, c, nil
}

// rawSQS is the raw client at its best: batches of ten, as many at once as the driver has.
type rawSQS struct {
	q      *awssqs.Client
	rounds int
	url    string
}

// The driver's own numbers of requests at once.
const (
	sqsSends = 16
	sqsPolls = 4
)

func (c *rawSQS) name() string { return fmt.Sprintf("bench-%d.fifo", c.rounds) }

// fresh makes what the driver would make, under a new name.
func (c *rawSQS) fresh(ctx context.Context) error {
	if c.url != "" {
		if _, err := c.q.DeleteQueue(ctx, &awssqs.DeleteQueueInput{QueueUrl: &c.url}); err != nil {
			return fmt.Errorf("delete the queue: %w", err)
		}
	}
	c.rounds++
	out, err := c.q.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String(c.name()), Attributes: map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}})
	if err != nil {
		return fmt.Errorf("create the queue: %w", err)
	}
	c.url = aws.ToString(out.QueueUrl)
	return nil
}

// publish sends the same messages as the driver.
func (c *rawSQS) publish(ctx context.Context, envs []*sixfold.Envelope) error {
	return c.atOnce(sqsSends, slices.Collect(slices.Chunk(envs, 10)), func(ten []*sixfold.Envelope) error {
		in := &awssqs.SendMessageBatchInput{QueueUrl: &c.url}
		for i, env := range ten {
			text, err := cloudevents.Marshal(env)
			if err != nil {
				return err
			}
			in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(string(text)), MessageDeduplicationId: &env.ID, MessageGroupId: &env.ID,
				MessageAttributes: map[string]types.MessageAttributeValue{"content-type": {DataType: aws.String("String"), StringValue: aws.String(cloudevents.ContentType)}}})
			if env.Key != "" {
				in.Entries[i].MessageGroupId = &env.Key
			}
		}
		out, err := c.q.SendMessageBatch(ctx, in)
		if err == nil && len(out.Failed) > 0 {
			err = errors.New("an entry was refused: " + aws.ToString(out.Failed[0].Message))
		}
		return err
	})
}

// atOnce runs f on every batch, most of them at the same time. Of one key messages may pass each other, which the raw client is
// not asked to prevent.
func (c *rawSQS) atOnce(most int, batches [][]*sixfold.Envelope, f func([]*sixfold.Envelope) error) error {
	work, errs := make(chan []*sixfold.Envelope, len(batches)), make([]error, most)
	for _, b := range batches {
		work <- b
	}
	close(work)
	var all sync.WaitGroup
	for i := range most {
		all.Go(func() {
			for b := range work {
				if errs[i] = f(b); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// receive takes n messages and deletes each ten before it asks for others.
func (c *rawSQS) receive(ctx context.Context, n int, w *watch) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	errs := make([]error, 2*sqsPolls)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for w.left.Load() > 0 {
				if errs[i] = c.ten(ctx, w); errs[i] != nil {
					return
				}
			}
			end() // what the others wait for does not come
		})
	}
	all.Wait()
	if w.left.Load() <= 0 {
		return nil
	}
	return errors.Join(errs...)
}

func (c *rawSQS) ten(ctx context.Context, w *watch) error {
	out, err := c.q.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &c.url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount}})
	if err != nil || len(out.Messages) == 0 {
		return err
	}
	in := &awssqs.DeleteMessageBatchInput{QueueUrl: &c.url}
	for i, m := range out.Messages {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if _, err := c.q.DeleteMessageBatch(ctx, in); err != nil {
		return err
	}
	for range out.Messages {
		w.handled()
	}
	return nil
}
