package sqs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// A Topology describes queues, SNS topics and subscriptions. It is immutable.
type Topology struct {
	queues        []Queue
	topics        []Topic
	subscriptions []Subscription
}

// A Part of a topology is a Queue, a Topic or a Subscription.
type Part interface{ part(t *Topology) }

// Queue describes one.
type Queue struct {
	// Name at AWS. One that ends in ".fifo" is a FIFO queue.
	Name string
	// Retention is how long SQS keeps a message that nobody settles, a minute to 14 days. 0: 14 days.
	Retention time.Duration
	// DeadQueue is the name of a queue to which SQS itself moves a message that was received MaxReceives times. Each death and
	// each stop of a consumer counts for all that it had received, so this takes messages away from the inbox, which counts
	// well; it is better left empty.
	DeadQueue   string
	MaxReceives int
	// Existing ones are not made, only looked for.
	Existing bool
	// Attributes are further ones, by AWS's names: "KmsMasterKeyId". What has a field is refused here.
	Attributes map[string]string
	// Tags of a queue that is made.
	Tags map[string]string
}

// Topic describes one of SNS.
type Topic struct {
	// Name at AWS. One that ends in ".fifo" is a FIFO topic.
	Name string
	// Existing ones are not made, only looked for.
	Existing bool
	// Attributes are further ones, by AWS's names: "MaximumMessageSize" is "262144" unless it says up to "1048576", with which
	// a topic has 100 subscriptions at most, of SQS, Lambda and Firehose.
	Attributes map[string]string
	// Tags of a topic that is made.
	Tags map[string]string
}

// Subscription lets SNS send what comes to a topic to a queue, raw: as it was published.
type Subscription struct {
	Topic, Queue string // names
	// Attributes are further ones, by AWS's names.
	Attributes map[string]string
}

func (q Queue) part(t *Topology)        { t.queues = append(t.queues, q) }
func (o Topic) part(t *Topology)        { t.topics = append(t.topics, o) }
func (s Subscription) part(t *Topology) { t.subscriptions = append(t.subscriptions, s) }

const longestRetention = 14 * 24 * time.Hour

// NewTopology makes a topology, in any order of its parts. Its error names everything that is wrong, and wraps
// sixfold.ErrInvalid: names and attributes, names that are there twice, subscriptions of what is not part of it or of a
// standard topic to a FIFO queue.
func NewTopology(parts ...Part) (*Topology, error) {
	t := &Topology{}
	for _, p := range parts {
		if p != nil {
			p.part(t)
		}
	}
	var errs []error
	queues, topics, subscriptions := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	note := func(kind, name string, names map[string]bool, err error) {
		if names[name] {
			err = errors.Join(err, errors.New("it is there twice; describe it once"))
		}
		names[name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("sqs: topology: %s %s: %w: %w", kind, driver.Quote(name), sixfold.ErrInvalid, err))
		}
	}
	for _, q := range t.queues {
		note("queue", q.Name, queues, q.check())
	}
	for _, q := range t.queues {
		if q.DeadQueue != "" && !queues[q.DeadQueue] {
			errs = append(errs, fmt.Errorf("sqs: topology: queue %s: %w: its DeadQueue is no queue of the topology; add one, with Existing if it is there", driver.Quote(q.Name), sixfold.ErrInvalid))
		}
	}
	for _, o := range t.topics {
		note("topic", o.Name, topics, o.check())
	}
	for _, s := range t.subscriptions {
		note("subscription", s.Topic+" to "+s.Queue, subscriptions, s.check(topics, queues))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Parts answers queues, topics and subscriptions in the order in which they are declared.
func (t *Topology) Parts() []Part {
	var all []Part
	for _, q := range t.queues {
		all = append(all, q)
	}
	for _, o := range t.topics {
		all = append(all, o)
	}
	for _, s := range t.subscriptions {
		all = append(all, s)
	}
	return all
}

func fieldOf(attributes, fields map[string]string) error {
	var errs []error
	for name := range attributes {
		if field, there := fields[name]; there {
			errs = append(errs, fmt.Errorf("its Attributes have %s; use %s", driver.Quote(name), field))
		}
	}
	return errors.Join(errs...)
}

func (q Queue) check() error {
	errs := []error{checkName(q.Name), fieldOf(q.Attributes, map[string]string{"FifoQueue": "the ending .fifo of its name", "MessageRetentionPeriod": "the field Retention",
		"RedrivePolicy": "the fields DeadQueue and MaxReceives", "Policy": "a Subscription, whose topic is let in by itself"})}
	if q.Retention != 0 && (q.Retention < time.Minute || q.Retention > longestRetention || q.Retention%time.Second != 0) {
		errs = append(errs, fmt.Errorf("its Retention is %v; give 1m to 336h in whole seconds, or 0 for 336h", q.Retention))
	}
	if (q.DeadQueue == "") != (q.MaxReceives == 0) || q.MaxReceives < 0 || q.MaxReceives > 1000 {
		errs = append(errs, fmt.Errorf("its DeadQueue is %s and MaxReceives %d; give both, with 1 to 1000, or neither", driver.Quote(q.DeadQueue), q.MaxReceives))
	}
	if q.DeadQueue != "" && fifoName(q.DeadQueue) != fifoName(q.Name) {
		errs = append(errs, errors.New("its DeadQueue is of the other kind; FIFO queues need a FIFO queue, standard ones a standard one"))
	}
	return errors.Join(errs...)
}

func (o Topic) check() error {
	return errors.Join(checkName(o.Name), fieldOf(o.Attributes, map[string]string{"FifoTopic": "the ending .fifo of its name"}))
}

func (s Subscription) check(topics, queues map[string]bool) error {
	var errs []error
	if !topics[s.Topic] {
		errs = append(errs, errors.New("its Topic is none of the topology; add one, with Existing if it is there"))
	}
	if !queues[s.Queue] {
		errs = append(errs, errors.New("its Queue is none of the topology; add one, with Existing if it is there"))
	}
	if fifoName(s.Queue) && !fifoName(s.Topic) {
		errs = append(errs, errors.New("a standard topic cannot send to a FIFO queue; use one kind for both"))
	}
	return errors.Join(append(errs, fieldOf(s.Attributes, map[string]string{"RawMessageDelivery": "nothing: delivery is always raw"}))...)
}

func fifoName(name string) bool { return strings.HasSuffix(name, fifoSuffix) }

// attributes are those that a queue is made with. A FIFO queue orders and counts by group, which is AWS's high throughput.
func (q Queue) attributes(deadARN string) map[string]string {
	retention := q.Retention
	if retention == 0 {
		retention = longestRetention
	}
	a := map[string]string{"MessageRetentionPeriod": strconv.Itoa(int(retention / time.Second))}
	if fifoName(q.Name) {
		a["FifoQueue"], a["DeduplicationScope"], a["FifoThroughputLimit"] = "true", "messageGroup", "perMessageGroupId"
	}
	if deadARN != "" {
		a["RedrivePolicy"] = marshal(map[string]any{"deadLetterTargetArn": deadARN, "maxReceiveCount": q.MaxReceives})
	}
	for k, v := range q.Attributes {
		a[k] = v
	}
	return a
}

// attributes are those that a topic is made with.
func (o Topic) attributes() map[string]string {
	a := map[string]string{}
	if fifoName(o.Name) {
		a["FifoTopic"], a["ContentBasedDeduplication"], a["FifoThroughputScope"] = "true", "false", "MessageGroup"
	}
	for k, v := range o.Attributes {
		a[k] = v
	}
	return a
}

func (s Subscription) attributes() map[string]string {
	a := map[string]string{"RawMessageDelivery": "true"}
	for k, v := range s.Attributes {
		a[k] = v
	}
	return a
}

// policy lets SNS send what comes to topics to a queue.
func policy(queueARN string, topicARNs ...string) string {
	return marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Sid": "sixfold", "Effect": "Allow", "Principal": map[string]string{"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queueARN,
		"Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": topicARNs}}}}})
}

// marshal writes what cannot fail to be written.
func marshal(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
