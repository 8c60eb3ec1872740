// Package planted holds the bugs that the torture test, or a test of package schedule, request, saga or flow, must catch. In an ordinary build every one is off at compile time;
// with the build tag "planted" the environment variable SIXFOLD_PLANT switches one on by its name.
package planted

// Bug is a mistake that a system of this kind could make.
type Bug string

// The bugs, each with what it must be caught by.
const (
	SettleBeforeConfirm Bug = "settle-before-confirm" // relay: rows are deleted when they are sent; lost at a crash
	AckBeforeHandling   Bug = "ack-before-handling"   // consumer: acknowledged on receipt; lost at a crash
	CursorSkips         Bug = "cursor-skips"          // relay: "seq > last" and nothing else; late commits are lost
	GapClosesEarly      Bug = "gap-closes-early"      // relay: a gap is closed by its first look-up; late commits are lost
	LookUpBeforeRead    Bug = "look-up-before-read"   // relay: a late row is overtaken by a later one of its key
	SequenceCache       Bug = "sequence-cache"        // schema: CACHE 20; a later transaction gets a lower number
	InboxWithoutName    Bug = "inbox-without-name"    // inbox: the key lacks the consumer; the second consumer starves
	NoInbox             Bug = "no-inbox"              // inbox: nothing is recorded; effects happen twice
	RecordApart         Bug = "record-apart"          // inbox: recorded in a transaction of its own, before the handler; lost at a crash
	PublishApart        Bug = "publish-apart"         // publisher: the row is written outside the business transaction; phantoms
	LanesByTurns        Bug = "lanes-by-turns"        // consumer: lanes are dealt in turns, not by key; order breaks
	AttemptsInMemory    Bug = "attempts-in-memory"    // inbox: suspects are counted in memory; a message that kills its process never ends
	SweepSkipped        Bug = "sweep-skipped"         // relay: a new owner begins at the newest row; what its predecessor left is lost
	ParkBeforeRollback  Bug = "park-before-rollback"  // inbox: what a failed attempt wrote, and its record, are committed; the message is never handled
	LineBackwards       Bug = "line-backwards"        // parking: a line is released from its end; order breaks
	CrashUncounted      Bug = "crash-uncounted"       // parking: who takes a line over counts no attempt; a message that kills its process never ends
	RedriveSwallowed    Bug = "redrive-swallowed"     // parking: what was redriven is taken for a duplicate; lost
	KeyCheckedBefore    Bug = "key-checked-before"    // inbox: whether a key is parked is looked up in an older snapshot; order breaks
	TickIDFromClock     Bug = "tick-id-from-clock"    // schedule: an occurrence's id is made of the time at which it begins; its effect happens twice
	NextDueFromNow      Bug = "next-due-from-now"     // schedule: the next occurrence is looked for from now on; some are left out
	PromotedApart       Bug = "promoted-apart"        // schedule: messages are written in a transaction of their own; they come twice after a crash
	SlotFreed           Bug = "slot-freed"            // request: an invalid reply ends its call; the valid one comes late
	DeadlineRestarted   Bug = "deadline-restarted"    // request: the time that travels begins when it is sent; connecting is not counted
	GoneCallerServed    Bug = "gone-caller-served"    // request: what waited for a handler runs, though its caller has gone by then
	UndoneForward       Bug = "undone-forward"        // flow: what was done first is undone first
	DoubtForgotten      Bug = "doubt-forgotten"       // flow: a step that may have run is taken for one that has not, and not undone
	PredecessorsTimer   Bug = "predecessors-timer"    // saga: a timer is known by its key alone; one of an instance that has ended reaches its successor
	EffectsApart        Bug = "effects-apart"         // saga: a step's messages are written in a transaction of their own; they come twice after a crash
	ConflictCounts      Bug = "conflict-counts"       // saga: a step that lost against another transaction has failed; attempts are used up
	CreditIgnored       Bug = "credit-ignored"        // request: a stream's handler does not wait for its reader; memory grows
	EndUncounted        Bug = "end-uncounted"         // request: a stream's end is believed without its last items; they are lost in silence
	GapUnnoticed        Bug = "gap-unnoticed"         // request: an item that did not come is not missed; it is lost in silence
	LeavingUnsaid       Bug = "leaving-unsaid"        // request: nobody tells the handler of a stream that its caller has left; it waits for the deadline
	ClaimUnfenced       Bug = "claim-unfenced"        // parking: who lost a line handles its messages all the same; effects happen twice
)

// all lists them, in no order that matters; nobody writes to it.
var all = [...]Bug{SettleBeforeConfirm, AckBeforeHandling, CursorSkips, GapClosesEarly, LookUpBeforeRead, SequenceCache,
	InboxWithoutName, NoInbox, RecordApart, PublishApart, LanesByTurns, AttemptsInMemory, SweepSkipped,
	ParkBeforeRollback, LineBackwards, CrashUncounted, RedriveSwallowed, KeyCheckedBefore, ClaimUnfenced}

// ofSchedules lists those that the tests of package schedule must catch; nobody writes to it.
var ofSchedules = [...]Bug{TickIDFromClock, NextDueFromNow, PromotedApart}

// ofRequests lists those that the tests of package request must catch; nobody writes to it.
var ofRequests = [...]Bug{SlotFreed, DeadlineRestarted, GoneCallerServed, CreditIgnored, EndUncounted, GapUnnoticed, LeavingUnsaid}

// OfRequests answers the bugs that the tests of package request must catch.
func OfRequests() []Bug { return append([]Bug(nil), ofRequests[:]...) }

// ofSagas lists those that the tests of sagas and flows must catch; nobody writes to it.
var ofSagas = [...]Bug{UndoneForward, DoubtForgotten, PredecessorsTimer, EffectsApart, ConflictCounts}

// OfSagas answers the bugs that the tests of sagas and flows must catch.
func OfSagas() []Bug { return append([]Bug(nil), ofSagas[:]...) }

// OfSchedules answers the bugs that the tests of package schedule must catch.
func OfSchedules() []Bug { return append([]Bug(nil), ofSchedules[:]...) }

// All answers every bug that the torture test must catch.
func All() []Bug { return append([]Bug(nil), all[:]...) }
