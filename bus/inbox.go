package bus

import "context"

// Inbox is what a consumer's own database does for it; inbox.Box implements it.
type Inbox interface {
	// Suspect counts one more attempt for deliveries that may have crashed a process before, in a short transaction
	// of its own, before they run; it answers the attempts so far, this one included. A delivery that was handled
	// already answers 0: run nothing, acknowledge.
	Suspect(ctx context.Context, consumer string, ds []*Delivery) ([]int, error)
	// Forget drops the attempts of deliveries that became dead letters.
	Forget(ctx context.Context, consumer string, ds []*Delivery) error
	// Maintain works until ctx ends: it removes records that are older than the retention.
	Maintain(ctx context.Context) error
}
