package sixfold

import (
	"fmt"
	"runtime/debug"
)

// A PanicError is a panic that became an error. Its text shows the value, never the stack.
type PanicError struct {
	// Value of the panic.
	Value any
	// Stack of the goroutine that panicked, for the log.
	Stack []byte
}

// NewPanicError makes the error of what recover answered. It is called in the deferred function itself, so that the stack
// is still that of the panic.
func NewPanicError(value any) *PanicError { return &PanicError{Value: value, Stack: debug.Stack()} }

func (e *PanicError) Error() string { return fmt.Sprintf("it panicked: %v", e.Value) }

// Unwrap is the value, where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
