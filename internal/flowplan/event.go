package flowplan

import "time"

// What says what happened.
type What int

// Replies and timers are about an attempt, the others about an instance, and come from people.
const (
	// Succeeded, Refused and Unable are replies: yes, no for good, and not now.
	Succeeded What = iota
	Refused
	Unable
	// TimeUp: the time limit of an attempt has passed.
	TimeUp
	// TryAgain: the pause before the next attempt has passed.
	TryAgain
	// Cancel undoes what was done. It is refused past the pivot.
	Cancel
	// Retry has stuck steps tried anew, with all their attempts; or the one open step that it names, at once.
	Retry
	// Resume goes on as if somebody had done by hand what stuck steps should have done.
	Resume
)

// Event is something that happened to an instance.
type Event struct {
	What What
	// Ref is the attempt that it is about. Of Retry, the step; or nothing for all that are stuck.
	Ref
}

// Verdict on an event.
type Verdict int

// Only what is Taken changes anything.
const (
	// Taken: it counts.
	Taken Verdict = iota
	// Late: the step does not wait for it any more.
	Late
	// Foreign: it belongs to nothing of this instance.
	Foreign
	// Ended: the instance has come to its end.
	Ended
	// PastPivot: there is no way back.
	PastPivot
	// NotStuck: there is nothing for an operator to do.
	NotStuck
)

func (v Verdict) String() string {
	return [...]string{"taken", "late", "foreign", "ended", "past the pivot", "not stuck"}[v]
}

// Effect is something to be done in the transaction of an event.
type Effect struct {
	Kind EffectKind
	// Ref is the attempt that it is for.
	Ref
	// After and Again belong to SetTimer: when it is due, and whether it is TryAgain or else TimeUp.
	After time.Duration
	Again bool
	// Timer is the id of the one to cancel.
	Timer string
	// Phase is the end that Finish comes to.
	Phase Phase
}

// EffectKind says what an Effect is.
type EffectKind int

// Send writes a command, and is followed by State.Sent. SetTimer is followed by State.Armed.
const (
	Send EffectKind = iota
	SetTimer
	CancelTimer
	Finish
)
