package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// DeclareTopology makes what is not there. What is there stays as it is: CheckTopology says where it differs. With
// Options.Require it only looks. A queue that is there and gets a subscription is given no policy.
func (t *Transport) DeclareTopology(ctx context.Context, topology *Topology) error {
	err := t.canManage(ctx, topology)
	if err == nil {
		err = t.declareTopology(ctx, topology)
	}
	if err != nil {
		return fmt.Errorf("sqs: declare the topology: %w", err)
	}
	return nil
}

func (t *Transport) canManage(ctx context.Context, topology *Topology) error {
	if topology == nil {
		return fmt.Errorf("%w: there is none; make one with NewTopology", sixfold.ErrInvalid)
	}
	if t.sns == nil && len(topology.topics) > 0 {
		return fmt.Errorf("%w: it has topics, and the transport no SNS; leave Options.PointToPoint out", bus.ErrRefused)
	}
	return t.usable(ctx)
}

func (t *Transport) declareTopology(ctx context.Context, topology *Topology) error {
	arns := make(map[string]string)
	var errs []error
	for _, o := range topology.topics {
		arn, err := t.needTopic(ctx, o)
		if err != nil {
			errs = append(errs, err)
		}
		arns[o.Name] = arn
	}
	queues := slices.Clone(topology.queues)
	slices.SortStableFunc(queues, func(a, b Queue) int { return len(a.DeadQueue) - len(b.DeadQueue) }) // dead queues are there first
	places := make(map[string]*place)
	for _, q := range queues {
		var from []string
		for _, s := range topology.subscriptions {
			if s.Queue == q.Name && arns[s.Topic] != "" {
				from = append(from, arns[s.Topic])
			}
		}
		p, err := t.needQueue(ctx, q, from...)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		places[q.Name] = p
	}
	for _, s := range topology.subscriptions {
		p := places[s.Queue]
		if p == nil || arns[s.Topic] == "" {
			continue
		}
		if _, err := t.needSubscription(ctx, s, arns[s.Topic], p.arn()); err != nil {
			errs = append(errs, err)
			continue
		}
		t.look(p, arns[s.Topic])
	}
	return errors.Join(errs...)
}

// CheckTopology says of every part what the account has, and changes nothing: bus.There, bus.Missing, or bus.Differs with every
// attribute in which they differ. Parts marked as Existing need to be there and are not compared. A subscription differs too
// where the policy of its queue does not name the SNS topic, whose messages it may then not take.
func (t *Transport) CheckTopology(ctx context.Context, topology *Topology) ([]bus.Part, error) {
	err := t.canManage(ctx, topology)
	var all []bus.Part
	if err == nil {
		all, err = t.checkTopology(ctx, topology)
	}
	if err != nil {
		return nil, fmt.Errorf("sqs: check the topology: %w", err)
	}
	return all, nil
}

func (t *Transport) checkTopology(ctx context.Context, topology *Topology) ([]bus.Part, error) {
	var queues, topics, subscriptions []bus.Part
	arns, places := make(map[string]string), make(map[string]*place)
	for _, q := range topology.queues {
		p, err := t.lookQueue(ctx, q.Name)
		if err != nil && !errors.Is(err, bus.ErrUnroutable) {
			return nil, err
		}
		places[q.Name] = p
	}
	for _, q := range topology.queues {
		part, p := bus.Part{Name: "queue " + q.Name, State: bus.Missing}, places[q.Name]
		if p != nil {
			dead := ""
			if d := places[q.DeadQueue]; d != nil {
				dead = d.arn()
			}
			part = compare(part.Name, q.Existing, q.attributes(dead), p.attributes)
		}
		queues = append(queues, part)
	}
	for _, o := range topology.topics {
		part := bus.Part{Name: "SNS topic " + o.Name, State: bus.Missing}
		arn, have, err := t.lookTopic(ctx, o.Name)
		if err != nil && !errors.Is(err, bus.ErrUnroutable) {
			return nil, err
		}
		if err == nil {
			arns[o.Name], part = arn, compare(part.Name, o.Existing, o.attributes(), have)
		}
		topics = append(topics, part)
	}
	for _, s := range topology.subscriptions {
		part, err := t.checkSubscription(ctx, s, arns[s.Topic], places[s.Queue])
		if err != nil {
			return nil, err
		}
		subscriptions = append(subscriptions, part)
	}
	return slices.Concat(queues, topics, subscriptions), nil
}

// checkSubscription looks for one, if both of its ends are there.
func (t *Transport) checkSubscription(ctx context.Context, s Subscription, topicARN string, p *place) (bus.Part, error) {
	part := bus.Part{Name: "subscription of queue " + s.Queue + " to SNS topic " + s.Topic, State: bus.Missing}
	if topicARN == "" || p == nil {
		return part, nil
	}
	arn, err := t.findSubscription(ctx, topicARN, p.arn())
	if err != nil || arn == "" {
		return part, err
	}
	out, err := ask(ctx, func(ctx context.Context) (*sns.GetSubscriptionAttributesOutput, error) {
		return t.sns.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn}, twiceSNS)
	})
	if err != nil {
		return part, err
	}
	part = compare(part.Name, false, s.attributes(), out.Attributes)
	if !mentions(p.attributes["Policy"], topicARN) {
		part.State = bus.Differs
		part.Text = strings.TrimPrefix(part.Text+"; the queue's policy does not let the SNS topic send", "; ")
	}
	return part, nil
}

// compare says in which attributes a part that is there differs.
func compare(name string, existing bool, want, have map[string]string) bus.Part {
	part := bus.Part{Name: name, State: bus.There}
	if existing {
		return part
	}
	var texts []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if have[k] != want[k] && !sameJSON(have[k], want[k]) {
			texts = append(texts, fmt.Sprintf("%s is %s, should be %s", k, driver.Quote(have[k]), driver.Quote(want[k])))
		}
	}
	if len(texts) > 0 {
		part.State, part.Text = bus.Differs, strings.Join(texts, "; ")
	}
	return part
}

// sameJSON reports whether two texts are the same JSON, whose numbers AWS may write as texts.
func sameJSON(a, b string) bool {
	if !strings.HasPrefix(a, "{") || !strings.HasPrefix(b, "{") {
		return false
	}
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil || len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if fmt.Sprint(v) != fmt.Sprint(y[k]) {
			return false
		}
	}
	return true
}
