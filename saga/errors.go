package saga

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
)

var (
	// ErrConflict says that another transaction changed the instance meanwhile. The step runs again in a fresh transaction, with
	// the state loaded again, and no attempt is counted.
	ErrConflict = fmt.Errorf("saga: the instance was changed by another transaction meanwhile: %w", inbox.ErrAgain)
	// ErrSchema says that an instance's state is of a version that this program cannot read. Nothing is guessed: the message is
	// parked until a program that knows the version handles it.
	ErrSchema = errors.New("saga: the state is of a version that this program does not know")
	// ErrNoInstance says that there is no such instance. A step that is Required fails with it, and so do the calls for people.
	ErrNoInstance = errors.New("saga: there is no such instance")
	// ErrEnded says that an instance has ended, so that what was asked for cannot be done any more.
	ErrEnded = errors.New("saga: the instance has ended")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("saga: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

// quote shows at most 64 bytes of s, with control characters escaped.
func quote(s string) string {
	if len(s) <= 64 {
		return strconv.Quote(s)
	}
	cut := 61
	for cut > 61-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}
