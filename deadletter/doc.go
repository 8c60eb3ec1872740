// Package deadletter looks after the messages that a consumer could not handle, and the relay's own: it lists and shows
// them, sends them again (redrive), edits and discards them, and releases those that wait. Whatever it changes is put
// down in the audit: who, when, what, why, before and after.
//
//	letters, err := deadletter.New(st.DeadLetters())
//	report, err := letters.Redrive(ctx, deadletter.Filter{Consumer: "billing", Error: "tax table"},
//		deadletter.Options{Who: "ann", Reason: "tax table is loaded", Rate: 100, Canary: true})
//
// A redriven message goes back into the line of its key, at the place of its number, and keeps its id: the inbox and the
// broker let it through. A message that is no dead letter any more is left as it is, so a repeated redrive does nothing.
package deadletter
