package main

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Order is the message of the business transactions: number N of its key.
type Order struct {
	Key string `json:"key"`
	N   int64  `json:"n"`
	// Poison names the consumer whose handler kills its process whenever it sees the message.
	Poison string `json:"poison,omitempty"`
}

// MessageName implements sixfold.Message.
func (Order) MessageName() string { return "torture.order" }

// MessageKey implements sixfold.Keyed.
func (o Order) MessageKey() string { return o.Key }

// Note follows an Order that billing has handled; a relay brings it to notes.
type Note Order

// MessageName implements sixfold.Message.
func (Note) MessageName() string { return "torture.note" }

// MessageKey implements sixfold.Keyed.
func (n Note) MessageKey() string { return n.Key }

// Mark follows an Order that audit has handled; marks finds it in the database.
type Mark Order

// MessageName implements sixfold.Message.
func (Mark) MessageName() string { return "torture.mark" }

// MessageKey implements sixfold.Keyed.
func (m Mark) MessageKey() string { return m.Key }

// msgID is a message's id, a UUID.
type msgID [16]byte

func parseMsgID(s string) (id msgID, err error) {
	if n, err := hex.Decode(id[:], []byte(strings.ReplaceAll(s, "-", ""))); err != nil || n != len(id) {
		return id, fmt.Errorf("torture: message id %.64q is not a UUID", s)
	}
	return id, nil
}

func (id msgID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// MarshalText implements encoding.TextMarshaler.
func (id msgID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *msgID) UnmarshalText(b []byte) (err error) {
	*id, err = parseMsgID(string(b))
	return err
}
