package outbox

import "time"

// Hooks observe a relay. Each may be nil. They are called one at a time per class, in the relay's own goroutines, so
// they must be quick, and must not block nor call the relay.
type Hooks struct {
	// Started and Stopped frame the work on a class of destination.
	Started func(class string)
	Stopped func(class string, err error)
	// Read is called for a read that found rows; late are those of them with a lower number than one read before.
	Read func(class string, rows, late int)
	// Sent is called when a batch was handed to the broker, before it confirms.
	Sent func(class string, rows int)
	// Failed is called for each row that the broker did not take, and for each outage once (row is then nil).
	Failed func(class string, row *FailedRow, err error)
	// Missed is called for a row that found no place at the broker and may miss.
	Missed func(class, topic, messageType string)
	// Settled is called when confirmed rows were removed; took is the time since they were handed over.
	Settled func(class string, rows int, took time.Duration)
	// LeaseGained and LeaseLost are called when partitions change hands.
	LeaseGained func(class string, leases []Lease)
	LeaseLost   func(class string, partitions int)
}

// FailedRow is a row that the broker does not take.
type FailedRow struct {
	Seq      int64     `json:"seq"`
	ID       string    `json:"id"`
	Topic    string    `json:"topic"`
	Type     string    `json:"type"`
	Key      string    `json:"key"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Next     time.Time `json:"next"`

	partition int16
	trying    bool
	code      string // of Reason, for the dead letter
	refusal   string // the broker's reason alone, without what became of a dead letter
}
