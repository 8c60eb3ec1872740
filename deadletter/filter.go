package deadletter

import (
	"errors"
	"fmt"
	"time"
)

// State that a Filter asks for.
type State int

const (
	// Dead letters only.
	Dead State = iota
	// Waiting ones only.
	Waiting
	// All that is parked.
	All
)

// Origin that a Filter asks for.
type Origin int

const (
	Anywhere Origin = iota
	// FromConsumers: a handler failed.
	FromConsumers
	// FromRelay: no broker took the message.
	FromRelay
)

// Filter chooses parked messages: those that match every field that is set. The zero value is every dead letter.
type Filter struct {
	State    State  `json:"state,omitempty"`
	Origin   Origin `json:"origin,omitempty"`
	Consumer string `json:"consumer,omitempty"`
	Type     string `json:"type,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Key      string `json:"key,omitempty"`
	ID       string `json:"id,omitempty"`
	// Error is a part of the error's text.
	Error string `json:"error,omitempty"`
	// Older and Younger than this by the time of the last attempt; 0: any.
	Older   time.Duration `json:"older,omitempty"`
	Younger time.Duration `json:"younger,omitempty"`
	// Numbers, at most MaxNumbers; nil: any.
	Numbers []int64 `json:"numbers,omitempty"`
}

// MaxNumbers is how many numbers a Filter may have.
const MaxNumbers = 10_000

// Check says everything that is wrong with f.
func (f *Filter) Check() error {
	var errs []error
	if f.State < Dead || f.State > All || f.Origin < Anywhere || f.Origin > FromRelay {
		errs = append(errs, fmt.Errorf("deadletter: filter: state %d, origin %d: there is none such; use the constants of the package", f.State, f.Origin))
	}
	if f.Older < 0 || f.Younger < 0 {
		errs = append(errs, fmt.Errorf("deadletter: filter: ages %v and %v: an age cannot be negative; give a duration like 24h", f.Older, f.Younger))
	}
	if f.Younger > 0 && f.Older >= f.Younger {
		errs = append(errs, fmt.Errorf("deadletter: filter: nothing is older than %v and younger than %v; exchange the two", f.Older, f.Younger))
	}
	if len(f.Numbers) > MaxNumbers {
		errs = append(errs, fmt.Errorf("deadletter: filter: %d numbers, the limit is %d; use another condition", len(f.Numbers), MaxNumbers))
	}
	for _, n := range f.Numbers {
		if n < 1 {
			errs = append(errs, fmt.Errorf("deadletter: filter: number %d: they begin with 1; copy one from a list", n))
			break
		}
	}
	return errors.Join(errs...)
}

// Page of a list.
type Page struct {
	After int64 // begin behind this number
	Limit int   // 1 to 10,000; 0: 100
}

// Summary says what a Filter matches, and what would happen.
type Summary struct {
	Total  int
	Groups []Group
	// Keys with most of them, at most 20. Messages without a key are not among them.
	Keys []KeyCount
	// Behind is how many other messages wait in the same lines.
	Behind int
}

// Group of messages in a Summary.
type Group struct {
	Consumer, Type, Reason string
	Relay                  bool
	Count                  int
	Oldest                 time.Duration // since the last attempt
}

// KeyCount counts the messages of a key.
type KeyCount struct {
	Consumer, Key string
	Count         int
}
