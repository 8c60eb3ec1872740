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

// A Difference is where the account differs from a topology.
type Difference struct {
	// Kind is "queue", "topic" or "subscription"; Name that of the part, "topic to queue" of a subscription.
	Kind, Name string
	// Attribute that differs. Empty: the whole part is missing.
	Attribute string
	// Want and Have are its values.
	Want, Have string
}

// String says it to people.
func (d Difference) String() string {
	if d.Attribute == "" {
		return fmt.Sprintf("%s %s is missing", d.Kind, d.Name)
	}
	return fmt.Sprintf("%s %s: %s is %s, should be %s", d.Kind, d.Name, d.Attribute, quote(d.Have), quote(d.Want))
}

// CheckTopology lists what is missing and what differs, and changes nothing. Parts marked as Existing need to be there and
// are not compared.
func (t *Transport) CheckTopology(ctx context.Context, topology *Topology) ([]Difference, error) {
	err := t.canManage(ctx, topology)
	var all []Difference
	if err == nil {
		all, err = t.checkTopology(ctx, topology)
	}
	if err != nil {
		return nil, fmt.Errorf("sqs: check the topology: %w", err)
	}
	return all, nil
}

func (t *Transport) checkTopology(ctx context.Context, topology *Topology) ([]Difference, error) {
	var all []Difference
	compare := func(kind, name string, want, have map[string]string) {
		for _, k := range sortedKeys(want) {
			if have[k] != want[k] && !sameJSON(have[k], want[k]) {
				all = append(all, Difference{Kind: kind, Name: name, Attribute: k, Want: want[k], Have: have[k]})
			}
		}
	}
	arns, places := make(map[string]string), make(map[string]*place)
	for _, o := range topology.topics {
		arn, have, err := t.lookTopic(ctx, o.Name)
		switch {
		case errors.Is(err, bus.ErrUnroutable):
			all = append(all, Difference{Kind: "topic", Name: o.Name})
			continue
		case err != nil:
			return nil, err
		case !o.Existing:
			compare("topic", o.Name, o.attributes(), have)
		}
		arns[o.Name] = arn
	}
	for _, q := range topology.queues {
		p, err := t.lookQueue(ctx, q.Name)
		if errors.Is(err, bus.ErrUnroutable) {
			all = append(all, Difference{Kind: "queue", Name: q.Name})
			continue
		}
		if err != nil {
			return nil, err
		}
		places[q.Name] = p
	}
	for _, q := range topology.queues {
		if p := places[q.Name]; p != nil && !q.Existing {
			dead := ""
			if d := places[q.DeadQueue]; d != nil {
				dead = d.arn()
			}
			compare("queue", q.Name, q.attributes(dead), p.attributes)
		}
	}
	for _, s := range topology.subscriptions {
		name, p := s.Topic+" to "+s.Queue, places[s.Queue]
		arn := ""
		if p != nil && arns[s.Topic] != "" {
			var err error
			if arn, err = t.findSubscription(ctx, arns[s.Topic], p.arn()); err != nil {
				return nil, err
			}
		}
		if arn == "" {
			all = append(all, Difference{Kind: "subscription", Name: name})
			continue
		}
		out, err := ask(ctx, func(ctx context.Context) (*sns.GetSubscriptionAttributesOutput, error) {
			return t.sns.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn}, twiceSNS)
		})
		if err != nil {
			return nil, err
		}
		compare("subscription", name, s.attributes(), out.Attributes)
		if !mentions(p.attributes["Policy"], arns[s.Topic]) {
			all = append(all, Difference{Kind: "queue", Name: s.Queue, Attribute: "Policy", Want: policy(p.arn(), arns[s.Topic]), Have: p.attributes["Policy"]})
		}
	}
	return all, nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

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
