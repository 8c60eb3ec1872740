package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold"
)

// Letters looks after parked messages. It is safe for concurrent use, by several processes too.
type Letters struct{ st Store }

// New makes the Letters of a store.
func New(st Store) (*Letters, error) {
	if st == nil {
		return nil, errors.New("deadletter: the store is nil; pass store.Postgres(…).DeadLetters() or that of another database")
	}
	return &Letters{st}, nil
}

// maxPage is the longest page of a list.
const maxPage = 10_000

// List answers the messages that match f, by number, without bodies. The last one's number leads to the next page.
func (l *Letters) List(ctx context.Context, f Filter, p Page) ([]Letter, error) {
	if p.Limit == 0 {
		p.Limit = 100
	}
	err := f.Check()
	if p.Limit < 1 || p.Limit > maxPage || p.After < 0 {
		err = errors.Join(err, fmt.Errorf("deadletter: list: a page of %d after %d; give a limit of 1 to %d, and the last number of the page before", p.Limit, p.After, maxPage))
	}
	if err != nil {
		return nil, err
	}
	return l.st.List(ctx, f, p)
}

// Show answers all that is known about one message, its body too; ErrNotFound when it is not parked.
func (l *Letters) Show(ctx context.Context, n int64) (*Detail, error) { return l.st.Show(ctx, n) }

// Summary counts what matches f, and what waits behind it.
func (l *Letters) Summary(ctx context.Context, f Filter) (Summary, error) {
	if err := f.Check(); err != nil {
		return Summary{}, err
	}
	return l.st.Summary(ctx, f)
}

// Audit answers what was done, oldest first: in a run, to the messages of an id, or both.
func (l *Letters) Audit(ctx context.Context, t Trail) ([]Change, error) {
	if t.Run == "" && t.Message == "" {
		return nil, errors.New("deadletter: read the audit: neither a run nor an id is given; give one of them")
	}
	if t.Limit <= 0 {
		t.Limit = 1000
	}
	return l.st.Audit(ctx, t)
}

// Edit changes body, headers or type of a message, dead or waiting. Both versions are in the audit. Id and place in the
// line stay, and so does what the inbox knows: a late copy of the original is still the same message. ErrClaimed while a
// consumer has its line in hand.
func (l *Letters) Edit(ctx context.Context, n int64, e Edit) error {
	var errs []error
	if err := checkWho(e.Who); err != nil {
		errs = append(errs, err)
	}
	if !e.SetBody && e.Headers == nil && e.Type == "" && e.ContentType == "" {
		errs = append(errs, errors.New("deadletter: edit: nothing is to be changed; give a body, headers, a type or a content type"))
	}
	if err := sixfold.CheckHeaders(e.Headers); err != nil {
		errs = append(errs, fmt.Errorf("deadletter: edit: %w", err))
	}
	if e.Type != "" {
		if err := sixfold.CheckMessageName(e.Type); err != nil {
			errs = append(errs, fmt.Errorf("deadletter: edit: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return l.st.Edit(ctx, n, e)
}

// maxWho is the longest name in the audit, in bytes.
const maxWho = 255

func checkWho(who string) error {
	switch {
	case strings.TrimSpace(who) == "":
		return errors.New("deadletter: nobody is named as who does this; set Who, since the audit keeps it")
	case len(who) > maxWho || strings.ContainsRune(who, 0):
		return fmt.Errorf("deadletter: Who has %d bytes, or a NUL; give a name of at most %d bytes", len(who), maxWho)
	}
	return nil
}
