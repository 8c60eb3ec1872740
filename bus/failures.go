package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/process"
)

// failures keeps what a handler could not handle. It is the seam between a consumer's lanes and where its failures live:
// in dead topics, or in a database.
type failures interface {
	// keep brings a message to where it waits or where people find it, and answers nil only when it is safe there: it
	// is acknowledged then. An error that is in doubt wraps ErrInDoubt. The caller tries again.
	keep(ctx context.Context, d *Delivery, o obituary) error
	close(ctx context.Context) error
}

// obituary is why a message is not handled here and now.
type obituary struct {
	consumer string
	reason   string // of a dead letter; empty: it has another attempt
	delay    time.Duration
	goOn     bool // its key goes on without it
	err      error
	attempts int
	terse    bool // there is hardly room for it
}

// newFailures is the database where there is one, else dead topics.
func newFailures(c *Consumer) failures {
	if c.parking != nil {
		return inParking{c.parking, process.Name()}
	}
	f := &inTopics{}
	if c.dead != nil {
		f.pipe = newPipe(c.dead, capabilitiesOf(c.dead).PrefixPerKey, c.log)
	}
	return f
}

// inTopics sends dead letters to "<topic>.dead". Other attempts are made in the lane.
type inTopics struct{ pipe *pipe }

func (f *inTopics) keep(ctx context.Context, d *Delivery, o obituary) error {
	out := []Outgoing{{Topic: d.Topic + DeadSuffix, Envelope: deadCopy(d, o)}}
	if err := f.pipe.send(ctx, out, false)[0]; err != nil {
		return fmt.Errorf("bus: send dead letter to %s: %w", short(d.Topic+DeadSuffix), err)
	}
	return nil
}

func (f *inTopics) close(ctx context.Context) error {
	if f.pipe == nil {
		return nil
	}
	return f.pipe.close(ctx)
}

// inParking keeps them in the consumer's database.
type inParking struct {
	parking Parking
	node    string
}

func (f inParking) keep(ctx context.Context, d *Delivery, o obituary) error {
	err := f.parking.Park(ctx, o.consumer, Failure{Delivery: d, Attempts: o.attempts, Delay: o.delay, Dead: o.reason, GoOn: o.goOn,
		Err: o.err, Text: chainText(o.err, maxDeadError), Node: f.node})
	if err != nil {
		return fmt.Errorf("bus: park a message: %w", err)
	}
	return nil
}

func (inParking) close(context.Context) error { return nil }

// goesOn reports whether the key of a dead letter goes on without it: by policy, and where its handler could not have had an
// effect that a later message builds on.
func goesOn(reason string, p sixfold.Retry) bool {
	switch reason {
	case noType, noHandler, expired, reused, unauthorised:
		return true
	}
	return p.AfterDead == sixfold.GoOn
}

// capabilitiesOf what dead letters are sent through; where it does not say, the least is assumed.
func capabilitiesOf(o Opener) Capabilities {
	if c, ok := o.(interface{ Capabilities() Capabilities }); ok {
		return c.Capabilities()
	}
	return Capabilities{}
}
