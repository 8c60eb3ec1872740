// Package leaks looks for goroutines that a test has left behind. goleak's own functions wait for half a second, which is less than a
// busy machine needs for the last read of a connection.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what was told to end may take. It is only used up by a failure.
const patience = time.Minute

// Find answers what is left, and nil as soon as nothing is.
func Find(options ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		if err := goleak.Find(options...); err == nil || time.Now().After(end) { // which waits between its looks
			return err
		}
	}
}

// None fails tb if something is left.
func None(tb testing.TB, options ...goleak.Option) {
	tb.Helper()
	if err := Find(options...); err != nil {
		tb.Error(err)
	}
}
