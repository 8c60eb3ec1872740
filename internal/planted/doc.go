// Package planted holds the bugs that the torture test must catch. In an ordinary build every one is off at compile time;
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
	ClaimUnfenced       Bug = "claim-unfenced"        // parking: who lost a line handles its messages all the same; effects happen twice
)

// all lists them, in no order that matters; nobody writes to it.
var all = [...]Bug{SettleBeforeConfirm, AckBeforeHandling, CursorSkips, GapClosesEarly, LookUpBeforeRead, SequenceCache,
	InboxWithoutName, NoInbox, RecordApart, PublishApart, LanesByTurns, AttemptsInMemory, SweepSkipped,
	ParkBeforeRollback, LineBackwards, CrashUncounted, RedriveSwallowed, KeyCheckedBefore, ClaimUnfenced}

// All answers every bug.
func All() []Bug { return append([]Bug(nil), all[:]...) }
