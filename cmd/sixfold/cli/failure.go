package cli

import (
	"context"
	"errors"
	"strings"
)

// Exit codes.
const (
	codeFailed  = 1
	codeUsage   = 2
	codeConnect = 3
	codeSafety  = 4
)

// failure is an error with its exit code. Its fields are what --format json shows.
type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func (f *failure) Error() string { return f.Message }

func usage(message, hint string) error         { return &failure{codeUsage, message, hint} }
func cannotConnect(message, hint string) error { return &failure{codeConnect, message, hint} }
func refused(message, hint string) error       { return &failure{codeSafety, message, hint} }
func failedWith(message, hint string) error    { return &failure{codeFailed, message, hint} }

// asFailure makes a failure of any error. Errors of Sixfold say what to do behind a semicolon.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		own := *f
		return &own
	}
	if errors.Is(err, context.Canceled) {
		return &failure{codeFailed, "interrupted", "nothing more was done"}
	}
	message, hint, _ := strings.Cut(err.Error(), "; ")
	return &failure{codeFailed, message, hint}
}

// needYes refuses a command that destroys something, before anything is connected.
func needYes(yes bool, what string) error {
	if yes {
		return nil
	}
	return refused(what+" cannot be undone, and --yes is missing", "look at what it would do, then add --yes")
}
