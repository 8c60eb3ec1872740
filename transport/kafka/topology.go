package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// A Topic is a topic as it is to be.
type Topic struct {
	// Name, up to 249 letters, digits, dots, dashes and underscores.
	Name string
	// Partitions, 1 to 10,000. 0: Options.Partitions.
	Partitions int
	// Replication is the number of copies. 0: Options.Replication.
	Replication int
	// Config are properties of the topic, as "retention.ms": "604800000".
	Config map[string]string
}

// A Topology is a set of topics. It is immutable.
type Topology struct{ topics []Topic }

// NewTopology checks topics. Errors name everything that is wrong, and wrap sixfold.ErrInvalid.
func NewTopology(topics ...Topic) (*Topology, error) {
	var errs []error
	seen := make(map[string]bool, len(topics))
	for _, t := range topics {
		if err := t.check(); err != nil {
			errs = append(errs, fmt.Errorf("kafka: topology: %w", err))
		}
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("kafka: topology: topic %s: %w: it is there twice; name it once", driver.Quote(t.Name), sixfold.ErrInvalid))
		}
		seen[t.Name] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	own := slices.Clone(topics)
	for i := range own {
		own[i].Config = maps.Clone(own[i].Config)
	}
	return &Topology{own}, nil
}

// Topics answers a copy of the topics.
func (t *Topology) Topics() []Topic {
	if t == nil {
		return nil
	}
	return slices.Clone(t.topics)
}

func (t Topic) check() error {
	var errs []error
	bad := func(what string) {
		errs = append(errs, fmt.Errorf("topic %s: %w: %s", driver.Quote(t.Name), sixfold.ErrInvalid, what))
	}
	if err := checkTopic(t.Name); err != nil {
		errs = append(errs, err)
	}
	if t.Partitions < 0 || t.Partitions > 10_000 {
		bad(fmt.Sprintf("it has %d partitions; give 1 to 10,000, or 0 for the default", t.Partitions))
	}
	if t.Replication < 0 || t.Replication > 1000 {
		bad(fmt.Sprintf("it has %d copies; give 1 to 1,000, or 0 for the default", t.Replication))
	}
	for k, v := range t.Config {
		if k == "" || len(k) > 255 || len(v) > 10_000 {
			bad("a property has no name, or is too long; see the topic properties in Kafka's documentation")
		}
	}
	return errors.Join(errs...)
}
