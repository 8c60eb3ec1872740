package saga

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// EntryKind says what an Entry of the journal is about.
type EntryKind int

const (
	// Stepped: a step took effect.
	Stepped EntryKind = iota + 1
	// FailedStep: a step failed, and nothing of it took effect.
	FailedStep
	// Operated: a person did something.
	Operated
)

func (k EntryKind) String() string {
	return [...]string{"unknown", "step", "failed step", "operator"}[max(0, min(k, Operated))]
}

// Entry is a line in the journal of an instance.
type Entry struct {
	// N is its number, which grows.
	N        int64
	Instance string
	At       time.Time
	Kind     EntryKind
	// Version of the instance after it.
	Version int64
	// Step is the name of the message, or of what a person did. Message is its id.
	Step, Message string
	// Took is how long the step's function ran.
	Took   time.Duration
	Detail Detail
}

// Detail is the part of an Entry that is kept as JSON.
type Detail struct {
	// Attempt at the message, from 1.
	Attempt int `json:"attempt,omitempty"`
	// From and To are statuses; To is left out where nothing changed.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Changes of the state's fields: those of the outermost object that differ, as they were and as they are.
	Changes map[string]Change `json:"changes,omitempty"`
	// Upcast is the version of the state that was read, where it was an older one.
	Upcast int `json:"upcast,omitempty"`
	// Effects in their order, without bodies; at most MaxEffects of them, and More is how many others there were.
	Effects []Effect `json:"effects,omitempty"`
	More    int      `json:"more,omitempty"`
	// Error of a failed step; Reason of a Fail, or of a person; Who did it.
	Error  string `json:"error,omitempty"`
	Reason string `json:"reason,omitempty"`
	Who    string `json:"who,omitempty"`
}

// Change of a field. What was not there before, or is not any more, is absent. Of a field with more than MaxChange bytes only Size is known.
type Change struct {
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Size of both versions together, if they are too large.
	Size int `json:"size,omitempty"`
}

// Effect is what a step wanted.
type Effect struct {
	// Kind is send, publish, reply, timer or cancel.
	Kind string `json:"kind"`
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	// After is how long a timer waits.
	After time.Duration `json:"after,omitempty"`
}

const (
	// MaxChange is the most bytes of a field, before and after together, that the journal keeps.
	MaxChange = 4 << 10
	// MaxEffects is how many effects of a step an entry names.
	MaxEffects = 100

	maxChanges = 64 << 10 // of all fields together
	maxError   = 4 << 10
	maxReason  = 1 << 10
)

// changes compares two states by the fields of their outermost objects.
func changes(before, after []byte) map[string]Change {
	if bytes.Equal(before, after) {
		return nil
	}
	var b, a map[string]json.RawMessage
	if len(before) > 0 && json.Unmarshal(before, &b) != nil || json.Unmarshal(after, &a) != nil {
		return map[string]Change{"": {Size: len(before) + len(after)}} // a state with a MarshalJSON of its own
	}
	out := make(map[string]Change)
	total := 0
	names := slices.Collect(maps.Keys(a))
	for n := range b {
		if _, both := a[n]; !both {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		if bytes.Equal(a[n], b[n]) {
			continue
		}
		size := len(a[n]) + len(b[n])
		if size > MaxChange || total+size > maxChanges {
			out[n] = Change{Size: size}
			continue
		}
		total += size
		out[n] = Change{Before: b[n], After: a[n]}
	}
	return out
}

// line is s as it may stand in a row: valid UTF-8 without NUL, of at most limit bytes.
func line(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
