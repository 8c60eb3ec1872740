package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Capabilities are what a transport can keep. NewConsumer, NewPublisher and the outbox's relay refuse a configuration that asks
// for more, and the table in docs/transports.md is made of them.
type Capabilities struct {
	// Name of the kind of broker, for messages to people.
	Name string
	// OrderPerKey: an Ordered subscription keeps the order of a key through redeliveries and deaths of consumers.
	OrderPerKey bool
	// PrefixPerKey: Sender keeps its promise while many envelopes of one key are in flight.
	PrefixPerKey bool
	// Confirms: nil from Wait means that the broker has it. False is at most once; an outbox refuses that.
	Confirms bool
	// MaxBody in bytes of body and headers together; 0 is unknown.
	MaxBody int
	// ExtendEvery says how often Extend must be called for deliveries whose handlers still run; 0: never.
	ExtendEvery time.Duration
	// Copies: a subscription without a group is possible.
	Copies bool
	// RepeatsAfterStop: what was settled can come again after a planned stop, because the broker remembers a position alone, and
	// something before it was not settled.
	RepeatsAfterStop bool
	// LongestHold is how long a delivery can be kept unsettled, extended or not, before the broker takes it back. 0: no limit, or
	// one that is set at the broker and not known here.
	LongestHold time.Duration
	// DedupWindow in which the broker drops a second envelope of the same id; 0: none.
	DedupWindow time.Duration
}

// check names everything that a consumer asks for and the transport does not keep.
func (c Capabilities) check(s Subscription, o *Options) error {
	var errs []error
	name := orElse(c.Name, "this transport")
	bad := func(what, format string, args ...any) {
		errs = append(errs, fmt.Errorf("bus: consumer %q: %w %s: "+format, append([]any{s.Group, sixfold.ErrInvalid, what}, args...)...))
	}
	if s.Ordered && !c.OrderPerKey {
		bad("subscription", "Ordered, but %s does not keep the order of a key through redeliveries; leave Ordered out, or use a transport that does", name)
	}
	if s.Group == "" && !c.Copies {
		bad("subscription", "there is no Group, but %s has no copies for one process; name a Group", name)
	}
	if c.LongestHold > 0 && o.Ack == AckAfterHandling {
		if o.HandlerTimeout > c.LongestHold {
			bad("options", "HandlerTimeout %v: %s takes a delivery back after %v; give less", o.HandlerTimeout, name, c.LongestHold)
		}
		if wait := o.Retry.For(nil).MaxBackoff; wait > c.LongestHold && (o.Inbox == nil || o.Inbox.Parking() == nil) {
			bad("options", "Retry.MaxBackoff %v: without an Inbox a message waits in hand, and %s takes a delivery back after %v; give less, or an Inbox", wait, name, c.LongestHold)
		}
	}
	return errors.Join(errs...)
}
