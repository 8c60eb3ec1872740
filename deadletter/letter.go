package deadletter

import (
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrNotFound says that no parked message has the number.
	ErrNotFound = errors.New("no parked message has this number; it was handled, sent again by the relay, or discarded")
	// ErrClaimed says that a consumer has the line of the message in hand.
	ErrClaimed = errors.New("a consumer has its line in hand at this moment; try again when it has given it back")
	// ErrCanary says that the first message of a redrive was not handled, so that the others stay as they are.
	ErrCanary = errors.New("the canary was not handled")
)

// Letter is a parked message without its body: a dead letter, or one that waits.
type Letter struct {
	// N is its number. It rises in the order in which messages were parked, and stays when one is sent again to its consumer.
	N int64
	// Dead: there is no other attempt. Else it waits, for its next attempt or behind others.
	Dead bool
	// Relay: it never reached the broker. Consumer is the class of its destination then.
	Relay                        bool
	Consumer                     string
	ID, Source, Type, Topic, Key string
	Damaged                      string // why the bytes could not be read as an envelope; empty: they could
	Attempts                     int    // that failed since it was last sent again
	Epoch                        int    // how often it was sent again
	Reason, Error, Node          string // of the last attempt; Reason is empty while it waits
	FirstAt, LastAt              time.Time
	Age                          time.Duration // since LastAt, by the database's clock
	BodySize                     int           // bytes; -1: there is no body
	Line                         Line
}

// Line is where a message waits. The zero value is that of a dead letter that holds nothing back.
type Line struct {
	ID   int64
	Size int
	// Head is the number of its first message.
	Head int64
	// Blocked: the first message is dead, and the others wait until it is sent again or discarded.
	Blocked bool
	// Claimed: a consumer has it in hand, until Due.
	Claimed bool
	// Due is the time until its next attempt, negative when that has come; 0 where it is blocked.
	Due time.Duration
}

// Attempt that failed.
type Attempt struct {
	Attempt     int
	At          time.Time
	Node, Error string
}

// Change is an entry of the audit.
type Change struct {
	ID                                          int64
	At                                          time.Time
	Who, Action, Run, Consumer, Message, Reason string
	N                                           int64
	Before, After                               json.RawMessage
}

// Detail is a parked message with all that is known about it.
type Detail struct {
	Letter
	// Attrs are its attributes and headers, as outbox.DecodeAttrs reads them, and Body the bytes as they came.
	Attrs, Body []byte
	Tries       []Attempt
	Changes     []Change
}
