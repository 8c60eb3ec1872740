package rabbitmq

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// A Topology describes exchanges, queues and bindings. It is immutable.
type Topology struct {
	exchanges []Exchange
	queues    []Queue
	bindings  []Binding
}

// A Part of a topology is an Exchange, a Queue or a Binding.
type Part interface{ part(t *Topology) }

// Exchange describes one.
type Exchange struct {
	Name string
	// Kind is fanout, direct, topic, headers, or that of a plugin, which begins with "x-". Empty: fanout.
	Kind string
	// Transient exchanges end with the node. AutoDelete ones end with their last binding. Internal ones take no publishings.
	Transient, AutoDelete, Internal bool
	// Existing ones are not made, only looked for.
	Existing bool
	Args     amqp.Table
}

// Queue describes one.
type Queue struct {
	Name string
	// Classic makes a classic queue. False: a quorum queue.
	Classic bool
	// Transient and AutoDelete are for classic queues.
	Transient, AutoDelete bool
	// SingleActive lets one consumer work while others stand by.
	SingleActive bool
	// DeliveryLimit of a quorum queue, at least 1, which RabbitMQ should never be left to choose. 0: 1,000,000.
	DeliveryLimit int
	// Existing ones are not made, only looked for.
	Existing bool
	// Args are further arguments. What has a field is refused here.
	Args amqp.Table
}

// Binding lets an exchange pass messages on to a queue, or to an exchange.
type Binding struct {
	From string // an exchange
	To   string // a queue
	// ToExchange in place of To.
	ToExchange string
	Key        string
	Args       amqp.Table
}

func (e Exchange) part(t *Topology) { t.exchanges = append(t.exchanges, e) }
func (q Queue) part(t *Topology)    { t.queues = append(t.queues, q) }
func (b Binding) part(t *Topology)  { t.bindings = append(t.bindings, b) }

// NewTopology makes a topology, in any order of its parts. Its error names everything that is wrong, and wraps
// sixfold.ErrInvalid: names, kinds and arguments, names that are there twice, bindings of what is not part of it.
func NewTopology(parts ...Part) (*Topology, error) {
	t := &Topology{}
	for _, p := range parts {
		if p != nil {
			p.part(t)
		}
	}
	var errs []error
	exchanges, queues := make(map[string]bool), make(map[string]bool)
	note := func(kind, name string, names map[string]bool, err error) {
		if names[name] {
			err = errors.Join(err, errors.New("it is there twice; describe it once"))
		}
		names[name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: topology: %s %s: %w: %w", kind, driver.Quote(name), sixfold.ErrInvalid, err))
		}
	}
	for _, e := range t.exchanges {
		note("exchange", e.Name, exchanges, e.check())
	}
	for _, q := range t.queues {
		note("queue", q.Name, queues, q.check())
	}
	for _, b := range t.bindings {
		if err := b.check(exchanges, queues); err != nil {
			errs = append(errs, fmt.Errorf("rabbitmq: topology: binding from %s to %s: %w: %w", driver.Quote(b.From), driver.Quote(b.To+b.ToExchange), sixfold.ErrInvalid, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Parts answers exchanges, queues and bindings in the order in which they are declared.
func (t *Topology) Parts() []Part {
	var all []Part
	for _, e := range t.exchanges {
		all = append(all, e)
	}
	for _, q := range t.queues {
		all = append(all, q)
	}
	for _, b := range t.bindings {
		all = append(all, b)
	}
	return all
}

func (e Exchange) check() error {
	err := errors.Join(checkName(e.Name, e.Existing), checkArgs(e.Args))
	if !slices.Contains([]string{"", "fanout", "direct", "topic", "headers"}, e.Kind) && !strings.HasPrefix(e.Kind, "x-") {
		err = errors.Join(err, fmt.Errorf("its kind is %s; use fanout, direct, topic, headers or one of a plugin, like x-consistent-hash", driver.Quote(e.Kind)))
	}
	return err
}

func (q Queue) check() error {
	errs := []error{checkName(q.Name, q.Existing), checkArgs(q.Args)}
	for key, field := range map[string]string{"x-queue-type": "Classic", "x-single-active-consumer": "SingleActive", "x-delivery-limit": "DeliveryLimit"} {
		if _, there := q.Args[key]; there {
			errs = append(errs, fmt.Errorf("its Args have %q; use the field %s", key, field))
		}
	}
	switch {
	case q.DeliveryLimit < 0 || q.DeliveryLimit > 1<<31-1:
		errs = append(errs, fmt.Errorf("its DeliveryLimit is %d; give 1 to %d, or 0 for 1,000,000", q.DeliveryLimit, 1<<31-1))
	case q.Classic && q.DeliveryLimit > 0:
		errs = append(errs, errors.New("its DeliveryLimit is for quorum queues; leave it 0 with Classic"))
	}
	if !q.Classic && (q.Transient || q.AutoDelete) {
		errs = append(errs, errors.New("quorum queues are neither transient nor deleted automatically; set Classic too"))
	}
	if _, there := q.Args["x-max-priority"]; there && !q.Classic {
		errs = append(errs, errors.New("quorum queues have no x-max-priority; set Classic too"))
	}
	return errors.Join(errs...)
}

func (b Binding) check(exchanges, queues map[string]bool) error {
	errs := []error{checkArgs(b.Args)}
	if !exchanges[b.From] {
		errs = append(errs, errors.New("its From is no exchange of the topology; add it, with Existing if it is there"))
	}
	switch {
	case (b.To == "") == (b.ToExchange == ""):
		errs = append(errs, errors.New("name a queue in To or an exchange in ToExchange, one of them"))
	case b.To != "" && !queues[b.To]:
		errs = append(errs, errors.New("its To is no queue of the topology; add it, with Existing if it is there"))
	case b.ToExchange != "" && !exchanges[b.ToExchange]:
		errs = append(errs, errors.New("its ToExchange is no exchange of the topology; add it, with Existing if it is there"))
	}
	if len(b.Key) > maxShort {
		errs = append(errs, fmt.Errorf("its key has %d bytes, the limit is %d", len(b.Key), maxShort))
	}
	return errors.Join(errs...)
}

func checkName(name string, existing bool) error {
	switch {
	case name == "":
		return errors.New("its name is empty; name it")
	case len(name) > maxShort:
		return fmt.Errorf("its name has %d bytes, the limit is %d; shorten it", len(name), maxShort)
	case !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n"):
		return errors.New("its name is not UTF-8 or has control characters; use letters, digits, dots and dashes")
	case strings.HasPrefix(name, "amq.") && !existing:
		return errors.New("the prefix \"amq.\" is RabbitMQ's own; use another, or set Existing")
	}
	return nil
}

func checkArgs(args amqp.Table) error {
	for k := range args {
		if k == "" || len(k) > maxShort {
			return fmt.Errorf("the name of an argument has %d bytes; give 1 to %d", len(k), maxShort)
		}
	}
	if err := args.Validate(); err != nil {
		return fmt.Errorf("an argument has a type that AMQP does not have (%w); use string, bool, int64, []any or amqp091.Table", err)
	}
	return nil
}

// refuses reports whether the queue refuses messages when it is full, and takes the next one.
func (q Queue) refuses() bool {
	overflow, _ := q.Args["x-overflow"].(string)
	return strings.HasPrefix(overflow, "reject-publish")
}
