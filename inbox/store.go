package inbox

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Record is one message in the inbox of a consumer.
type Record struct {
	// Message is the first 16 bytes of SHA-256 over issuer, NUL and id.
	Message [16]byte
	// Digest is the first 16 bytes of SHA-256 over type, NUL and body: another payload under the same id is told apart by it.
	Digest [16]byte
	// Key of the message; empty: none. A key that is parked holds its messages back.
	Key string
}

// Verdict on a record.
type Verdict int

const (
	// First: the message is recorded as handled in this transaction; run its handler.
	First Verdict = iota
	// Handled: its effect was committed before.
	Handled
	// Parked: it waits for its next attempt, or behind its key.
	Parked
	// Dead: it became a dead letter.
	Dead
	// Reused: the id was handled before with another payload.
	Reused
	// Behind: its key is parked and the message itself is not there yet.
	Behind
)

// Store is the inbox in a database; store.Store.Inbox makes one.
type Store interface {
	Records
	// Parking is where messages wait that could not be handled. Always the same one.
	Parking() Parking
	// Passing reports whether err is the infrastructure's own (deadlock, serialization failure, lock timeout, lost
	// connection): the same work in a fresh transaction may succeed.
	Passing(err error) bool
}

// Records is what a database knows of the messages that came to its consumers.
type Records interface {
	// Record enters recs as handled by consumer in tx, in one statement where all are first, and answers a verdict for each.
	// What is Behind was entered as parked: whoever calls parks it in tx as well. Whether a key has a line is seen after all
	// waiting. A record that another open transaction is entering makes it wait for that one's end. recs name no message twice.
	Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []Record) ([]Verdict, error)
	// Suspect commits one more attempt for each of recs, in a transaction of its own, and answers the attempts so far;
	// 0 for what is already handled, parked or dead.
	Suspect(ctx context.Context, consumer string, recs []Record) ([]int, error)
	// Forget removes the attempts of recs that are not handled.
	Forget(ctx context.Context, consumer string, recs []Record) error
	// Prune removes up to limit records that are older than keep by the database's clock and answers how many. What waits
	// stays, and a dead letter's record stays as long as the dead letter.
	Prune(ctx context.Context, keep time.Duration, limit int) (int, error)
}
