package sixfold_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

func TestPermanentThroughWrapping(t *testing.T) {
	for _, err := range []error{
		sixfold.Permanent(io.EOF),
		fmt.Errorf("ship: %w", sixfold.Permanent(io.EOF)),
		errors.Join(errors.New("other"), fmt.Errorf("ship: %w", sixfold.Permanent(io.EOF))),
		sixfold.RetryAfter(time.Second, sixfold.Permanent(io.EOF)),
		fmt.Errorf("%w and %w", errors.New("other"), sixfold.Permanent(fmt.Errorf("x: %w", io.EOF))),
	} {
		if !sixfold.IsPermanent(err) || !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	}
	if sixfold.Permanent(nil) != nil || sixfold.IsPermanent(nil) || sixfold.IsPermanent(io.EOF) {
		t.Error("what is not marked is not permanent")
	}
	if s := sixfold.Permanent(io.EOF).Error(); s != "EOF" {
		t.Errorf("the mark changes the text to %q", s)
	}
}

func TestRetryAfterThroughWrapping(t *testing.T) {
	err := fmt.Errorf("call: %w", errors.Join(io.EOF, sixfold.RetryAfter(3*time.Second, io.ErrNoProgress)))
	if d, ok := sixfold.RetryDelay(err); !ok || d != 3*time.Second || !errors.Is(err, io.ErrNoProgress) || sixfold.IsPermanent(err) {
		t.Errorf("%v %v", d, ok)
	}
	if d, ok := sixfold.RetryDelay(sixfold.RetryAfter(-time.Second, io.EOF)); !ok || d != 0 {
		t.Errorf("a negative delay became %v", d)
	}
	if d, ok := sixfold.RetryDelay(sixfold.RetryAfter(time.Second, sixfold.RetryAfter(time.Minute, io.EOF))); !ok || d != time.Second {
		t.Errorf("the outermost is the last word, not %v", d)
	}
	if _, ok := sixfold.RetryDelay(io.EOF); ok || sixfold.RetryAfter(time.Second, nil) != nil {
		t.Error("what is not marked has no delay")
	}
}

func TestDrainErrorSaysWhatAndHowMany(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &sixfold.DrainError{What: "relay", InDoubt: 7, After: 2 * time.Second})
	var drain *sixfold.DrainError
	if !errors.Is(err, sixfold.ErrDrainTimeout) || !errors.As(err, &drain) || drain.InDoubt != 7 {
		t.Error(err)
	}
	for _, s := range []string{"relay", "7", "2s", "DrainTimeout"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in %v", s, err)
		}
	}
	err = &sixfold.DrainError{What: "relay", InDoubt: 7, After: 2 * time.Second, Cause: io.ErrNoProgress}
	if !errors.Is(err, sixfold.ErrDrainTimeout) || !errors.Is(err, io.ErrNoProgress) || strings.Contains(err.Error(), "2s") {
		t.Errorf("%v: the limit did not pass, and something is in doubt", err)
	}
	for _, s := range []string{"relay", "7", io.ErrNoProgress.Error()} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in %v", s, err)
		}
	}
}
