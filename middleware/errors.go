package middleware

import (
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("middleware: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

// heldUp is an error by which nobody loses an attempt: a consumer takes it for an outage and waits. Its text is its own.
type heldUp struct {
	text  string
	kind  error // ErrOpen or ErrRateLimited
	cause error // or nil
}

func (e *heldUp) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

func (e *heldUp) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind, bus.ErrUnavailable}
	}
	return []error{e.kind, bus.ErrUnavailable, e.cause}
}
