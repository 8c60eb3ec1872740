// Package explain says where a message is and why: what the outbox, the parked messages, the inbox, what is kept of the
// delivered ones and the audit know of its id.
//
//	report, err := explain.Message(ctx, st.Explain(), "0190a000-0000-7000-8000-00000000000d", nil)
//	fmt.Println(report)
//
// It only reads. What a process has in memory, it cannot see: whether a relay's circuit breaker is open, or a handler runs at
// this moment; it says where to look then.
package explain
