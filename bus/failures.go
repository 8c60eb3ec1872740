package bus

import (
	"context"
	"time"
)

// failures decides what becomes of a message that its handler could not handle. It is the seam between a consumer's
// lanes and where its failures live: in memory and in dead topics, or in a database.
type failures interface {
	// next is asked after failed attempt number attempt: another one after delay, or none.
	next(d *Delivery, attempt int, err error) (delay time.Duration, more bool)
	// bury brings a message that gets no other attempt to where people find it, and answers nil only when it is safe
	// there: it is acknowledged then. An error that is in doubt wraps ErrInDoubt. The caller tries again.
	bury(ctx context.Context, d *Delivery, o obituary) error
	close(ctx context.Context) error
}

// obituary is why a message got no other attempt.
type obituary struct {
	consumer string
	reason   string
	err      error
	attempts int
	terse    bool // there is hardly room for it
}

// inMemory retries in the lane and sends dead letters to "<topic>.dead".
type inMemory struct {
	c    *Consumer
	pipe *pipe
}

func newInMemory(c *Consumer) *inMemory {
	f := &inMemory{c: c}
	if c.dead != nil {
		f.pipe = newPipe(c.dead, capabilitiesOf(c.dead).PrefixPerKey, c.log)
	}
	return f
}

func (f *inMemory) next(_ *Delivery, attempt int, _ error) (time.Duration, bool) {
	if attempt >= f.c.o.MaxAttempts {
		return 0, false
	}
	return max(f.c.o.Backoff(attempt), 0), true
}

func (f *inMemory) bury(ctx context.Context, d *Delivery, o obituary) error {
	out := []Outgoing{{Topic: d.Topic + DeadSuffix, Envelope: deadCopy(d, o)}}
	return f.pipe.send(ctx, out, false)[0]
}

func (f *inMemory) close(ctx context.Context) error {
	if f.pipe == nil {
		return nil
	}
	return f.pipe.close(ctx)
}

// capabilitiesOf what dead letters are sent through; where it does not say, the least is assumed.
func capabilitiesOf(o Opener) Capabilities {
	if c, ok := o.(interface{ Capabilities() Capabilities }); ok {
		return c.Capabilities()
	}
	return Capabilities{}
}
