package sixfoldtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sixfold-go/sixfold"
)

// An App is a program as Quiet looks at it.
type App struct {
	// Outboxes of its databases.
	Outboxes []*Recorder
	// Inboxes of its databases.
	Inboxes []*Inbox
	// Brokers that it uses.
	Brokers []*Broker
	// Runs are its consumers and relays, in the order of sixfold.Run.
	Runs []sixfold.Runnable

	ended chan struct{} // closed when Runs have stopped; nil before Start
	err   error         // why; may be read once ended is closed
}

// Start runs Runs until the test ends, then stops them in order. The test fails when that is not clean, or when one of
// them ended before it was asked to.
func (a *App) Start(t testing.TB) {
	t.Helper()
	if a.ended != nil {
		t.Fatal("sixfoldtest: start: the app was started before; make another")
		return
	}
	ended := make(chan struct{})
	a.ended = ended
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context())) // that of t ends before the cleanup begins
	go func() {
		defer close(ended)
		a.err = sixfold.Run(ctx, a.Runs...)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if a.err != nil {
			t.Errorf("sixfoldtest: the app did not stop cleanly: %v", a.err)
		}
	})
}

// stopped says why the app runs no more, or nil.
func (a *App) stopped() error {
	select {
	case <-a.ended: // never, before Start: somebody else runs it
		return fmt.Errorf("sixfoldtest: the app has stopped: %w", errors.Join(errStopped, a.err))
	default:
		return nil
	}
}

var errStopped = errors.New("nobody handles its messages any more")
