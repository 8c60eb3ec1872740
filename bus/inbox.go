package bus

import "context"

// Inbox is what a consumer's own database does for it; inbox.Box implements it.
type Inbox interface {
	// Suspect counts one more attempt for deliveries that may have crashed a process before, in a short transaction
	// of its own, before they run; it answers the attempts so far, this one included. A delivery that was handled
	// already answers 0: run nothing, acknowledge.
	Suspect(ctx context.Context, consumer string, ds []*Delivery) ([]int, error)
	// Turn is what consumers share whose suspects must not run at the same time: all of one process, or a message that
	// kills the process takes an attempt from the suspects of its other consumers each time. Always the same one.
	Turn() *Turn
	// Forget drops the attempts of deliveries that became dead letters, or were handled by a claim.
	Forget(ctx context.Context, consumer string, ds []*Delivery) error
	// Maintain works until ctx ends: it removes records that are older than the retention.
	Maintain(ctx context.Context) error
	// Parking keeps what handlers could not handle. Nil: attempts are made in memory, and dead letters sent.
	Parking() Parking
}

// A Turn lets one suspect run at a time, whichever consumer it belongs to.
type Turn struct{ gate gate }

// NewTurn makes a Turn.
func NewTurn() *Turn { return &Turn{gate{limit: 1, solo: true}} }
