package inbox

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A Noter is a handler's error that has something to put down about the attempt that failed with it, for example in a journal.
type Noter interface {
	error
	// NoteParked is called in the transaction that parks the message, whose text of the error is given. It may be called again in another transaction. An
	// error parks the message without the note.
	NoteParked(ctx context.Context, tx sqltx.Tx, text string) error
}

// ErrAside says that a message waits for its next attempt without its key: what follows of the key goes on, and may be what it
// waits for. Its place in the order of the key is lost, and so is the key itself. Wrap it.
var ErrAside = errors.New("it waits beside its key")

// note is what a Noter does, or nil.
type note func(ctx context.Context, tx sqltx.Tx) error

type noteError struct{ error }

func (e noteError) Unwrap() error { return e.error }

// noted calls park with the note of a failure, and again without it where the note cannot be made: the message must be safe.
func (l *lot[X]) noted(ctx context.Context, f *bus.Failure, park func(note) error) error {
	var n Noter
	if !errors.As(f.Err, &n) {
		return park(nil)
	}
	err := park(func(ctx context.Context, tx sqltx.Tx) error {
		if err := n.NoteParked(ctx, tx, f.Text); err != nil {
			return noteError{err}
		}
		return nil
	})
	var broken noteError
	if !errors.As(err, &broken) || ctx.Err() != nil || l.b.store.Passing(err) {
		return err
	}
	l.b.opts.Logger.Warn("inbox could not put down a failed attempt with the message that it parks", "message", f.ID, "err", broken.error)
	return park(nil)
}
