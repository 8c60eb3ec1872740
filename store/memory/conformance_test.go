package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/store/memory"
	"github.com/sixfold-go/sixfold/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		st := memory.New(&memory.Options{Clock: ticking()})
		return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), Schedule: st.Schedule(), Saga: st.Sagas(), DB: st.DB(), Blocked: st.UntilBlocked}
	})
}

// ticking is a clock that goes on by 10 µs whenever it is read: the suite waits for microseconds to pass, which the
// process's own clock may not show between two calls in memory.
func ticking() func() time.Time {
	start := time.Now()
	var reads atomic.Int64
	return func() time.Time { return start.Add(time.Duration(reads.Add(10)) * time.Microsecond) }
}
