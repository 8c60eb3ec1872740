package memory

import (
	"context"
	"maps"
	"slices"

	"github.com/sixfold-go/sixfold/inbox"
)

// Parked is a message that a consumer could not handle yet, or never will.
type Parked struct {
	// Consumer that parked it; of a relay's row, which no broker takes, the class of its destination.
	Consumer string
	Relay    bool
	// Dead: there is no other attempt.
	Dead bool
	// Held: nothing happens to it before somebody does something: it is dead, or behind a message that is.
	Held bool
	inbox.Item
}

// Parked answers all that is parked, in the order in which it was.
func (b *Inbox) Parked(ctx context.Context) (all []Parked, err error) {
	err = b.st.locked(ctx, "list what is parked", func() error {
		for _, n := range slices.Sorted(maps.Keys(b.st.parked)) {
			p := b.st.parked[n].now
			if p == nil {
				continue
			}
			one := Parked{Consumer: p.consumer, Relay: p.relay, Dead: p.dead, Held: p.dead, Item: p.Item}
			if c := b.st.lines[p.line]; c != nil && c.now != nil && c.now.blocked {
				one.Held = true
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}
