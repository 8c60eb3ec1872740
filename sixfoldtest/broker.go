package sixfoldtest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// A Broker is a broker in the process that remembers what it took. It has everything that the transport of
// transport/memory has, faults as well. It is safe for concurrent use.
type Broker struct {
	*memory.Transport

	mu   sync.Mutex
	all  []Publication
	also func(topic string, env *sixfold.Envelope)
}

// NewBroker makes a Broker with these topics, and those of their dead letters.
func NewBroker(topics ...string) *Broker {
	b := &Broker{Transport: memory.New(&memory.Options{Topics: topics})}
	b.Transport.Tap(b.took)
	for _, topic := range topics {
		_ = b.Declare(topic + bus.DeadSuffix) // what is wrong with a name is said when it is used
	}
	return b
}

// Subscribe is that of the transport, and makes a place for dead letters first, as whoever sets a broker up has to do.
func (b *Broker) Subscribe(ctx context.Context, s bus.Subscription) (bus.Source, error) {
	for _, topic := range s.Topics {
		_ = b.Declare(topic + bus.DeadSuffix)
	}
	return b.Transport.Subscribe(ctx, s)
}

// took is called with the broker locked.
func (b *Broker) took(topic string, env *sixfold.Envelope) {
	own := *env
	own.Body, own.Headers = slices.Clone(env.Body), maps.Clone(env.Headers)
	b.mu.Lock()
	b.all = append(b.all, Publication{Envelope: &own, To: topic})
	also := b.also
	b.mu.Unlock()
	if also != nil {
		also(topic, env)
	}
}

// Tap is that of the transport; the Broker goes on remembering.
func (b *Broker) Tap(f func(topic string, env *sixfold.Envelope)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.also = f
}

// All answers everything that the broker took, in that order. What was sent twice is there twice.
func (b *Broker) All(context.Context) ([]Publication, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all), nil
}
