package outbox

import "errors"

var (
	// ErrFenced says that a node was taken over: what it holds is no longer its own.
	ErrFenced = errors.New("outbox: the node was taken over by another")
	// ErrDuplicateMessage says that messages with the ids or unique keys that the caller gave are there already. They
	// were not written again, the others of the call were, and the transaction is usable.
	ErrDuplicateMessage = errors.New("outbox: the message was published before")
	// ErrNoRoute says that a message has no destination.
	ErrNoRoute = errors.New("outbox: the message has no route")
)
