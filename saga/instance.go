package saga

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
)

// Status of an instance.
type Status int

const (
	// Running: it hears of messages and timers.
	Running Status = iota + 1
	// Compensating: a flow failed and is undoing its steps.
	Compensating
	// Completed: it ended as it should.
	Completed
	// Failed: it ended by Effects.Fail, and there was nothing to undo.
	Failed
	// Compensated: a flow failed, and its steps are undone.
	Compensated
	// Cancelled: a person ended it.
	Cancelled
	// Stuck: it cannot go on, and waits for a person.
	Stuck
)

// statuses by number.
var statuses = [...]string{"unknown", "running", "compensating", "completed", "failed", "compensated", "cancelled", "stuck"}

func (s Status) String() string {
	if s < 0 || int(s) >= len(statuses) {
		s = 0
	}
	return statuses[s]
}

// Ended reports whether an instance of that status has ended: no message changes it any more. A person may bring a stuck one back.
func (s Status) Ended() bool { return s >= Completed }

// Final reports whether an instance of that status is done with, by people too: it has ended and is not stuck.
func (s Status) Final() bool { return s.Ended() && s != Stuck }

// Instance is one conversation as it is kept. Times are the database's.
type Instance struct {
	// Saga and Key find it; of those with the same ones only the last has not ended.
	Saga, Key string
	// ID is a UUID of its own, and Generation counts the instances of Saga and Key from 1.
	ID         string
	Generation int
	// Version counts its changes. 0: it is being made.
	Version int64
	Status  Status
	// Schema is the version of State, which is JSON.
	Schema int
	State  []byte
	// Timers that were set and neither came nor were cancelled, and other messages that it awaits.
	Timers []Timer
	// Reason why it failed, is stuck or was cancelled.
	Reason string
	// Step is the message that changed it last.
	Step string
	// Started, Changed and Ended; Ended is zero as long as its status is not Final.
	Started, Changed, Ended time.Time
}

// Timer is a message to an instance that waits for its time.
type Timer struct {
	// ID of the message, and its name.
	ID   string `json:"id"`
	Type string `json:"type"`
}

// waitsFor reports whether the message of that id is a timer of the instance which neither came nor was cancelled.
func (in *Instance) waitsFor(id string) bool {
	return slices.ContainsFunc(in.Timers, func(t Timer) bool { return t.ID == id })
}

// MaxKey is the most bytes that the key of an instance may have.
const MaxKey = sixfold.MaxName

// checkKey says what is wrong with the key of an instance. It is also the key of its timers, so the rules are those of messages.
func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("the message has no correlation key, so that no instance can be found; let the step's key function answer one")
	case len(key) > MaxKey:
		return fmt.Errorf("the correlation key %s has %d bytes, the limit is %d; use a hash of it", quote(key), len(key), MaxKey)
	case !utf8.ValidString(key) || strings.ContainsAny(key, "\r\n\x00"):
		return fmt.Errorf("the correlation key %s is not valid UTF-8, or has CR, LF or NUL; encode it, for example in hexadecimal", quote(key))
	}
	return nil
}
