package request

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/middleware"
)

// A Category says why there is no answer. The list is closed: no other word and no text of an error crosses the wire.
type Category string

// The categories.
const (
	// Internal: the handler failed, and it is not known how far it had come.
	Internal Category = "internal"
	// Malformed: the request could not be read, or validation refused it. Its handler did not run.
	Malformed Category = "malformed"
	// Unavailable: the responder cannot serve it now. It is full or stops, in which case the handler did not run, or
	// something that the handler needs is away; or it lost its connection in the middle of a stream.
	Unavailable Category = "unavailable"
	// Unsupported: the responder does not speak the protocol's version, or has no handler for the message.
	Unsupported Category = "unsupported"
	// Expired: the deadline had passed before the handler ran, or passed while it did.
	Expired Category = "expired"
	// Unauthorised: the caller may not ask that.
	Unauthorised Category = "unauthorised"
)

// known reports whether c is one of the list.
func (c Category) known() bool {
	switch c {
	case Internal, Malformed, Unavailable, Unsupported, Expired, Unauthorised:
		return true
	}
	return false
}

// A Fault is a responder's word that there is no answer. errors.Is finds one of a category:
//
//	errors.Is(err, &request.Fault{Category: request.Unavailable})
type Fault struct {
	Category Category
	// Request is the id of the request, by which the responder's log has the error itself.
	Request string
	// Message is the name of the message that was asked.
	Message string
	// Versions are the protocol's versions that the responder speaks, where that was the reason.
	Versions string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("request: %.64q: the responder answered %q; its log has the reason under the request's id %.64q", f.Message, f.Category, f.Request)
}

// Is matches a *Fault of the same category, and any if target has none.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && (t.Category == "" || t.Category == f.Category)
}

// failure is an error with the category that its caller will see.
type failure struct {
	category Category
	err      error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// Fail marks an error of a handler with the category that the caller sees. Its text stays in the responder's log. Nil stays
// nil, and a category that is not one of the list is Internal.
func Fail(c Category, err error) error {
	if err == nil {
		return nil
	}
	if !c.known() {
		c = Internal
	}
	return failure{c, err}
}

// KnownCategory is a category that came as text. What is not one of the list is Internal.
func KnownCategory(text string) Category {
	if c := Category(text); c.known() {
		return c
	}
	return Internal
}

// Decided answers what the caller sees of a handler's error, and whether trying again would not change it: the error is
// permanent, or was marked with Fail. ctx is the handler's.
func Decided(ctx context.Context, err error) (c Category, final bool) {
	var f failure
	final = errors.As(err, &f) || sixfold.IsPermanent(err)
	return categoryOf(ctx, err), final
}

// categoryOf is what the caller sees of a handler's error. ctx is the handler's.
func categoryOf(ctx context.Context, err error) Category {
	var f failure
	switch {
	case errors.As(err, &f):
		return f.category
	case errors.Is(err, middleware.ErrForbidden):
		return Unauthorised
	case errors.Is(err, sixfold.ErrUndecodable), errors.Is(err, sixfold.ErrInvalid) && sixfold.IsPermanent(err): // as middleware.Validate marks it
		return Malformed
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Expired
	case errors.Is(err, bus.ErrUnavailable):
		return Unavailable
	}
	return Internal
}
