package saga

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold/sqltx"
)

// A Desk is where people look at the instances of all sagas of a database, and end them. It needs no definition, so a program that
// has none of the sagas can have one. It is safe for concurrent use.
//
// What failed is retried where all messages are: package deadletter redrives it.
type Desk struct {
	db    sqltx.Runner
	store Store
}

// NewDesk makes a Desk of a database. It reports every problem at once.
func NewDesk(db sqltx.Runner, st Store) (*Desk, error) {
	var errs []error
	if db == nil {
		errs = append(errs, errors.New("saga: the database is nil; pass the one that the store was made of"))
	}
	if st == nil {
		errs = append(errs, errors.New("saga: the store is nil; pass store.Postgres(…).Sagas() or that of another database"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Desk{db, st}, nil
}

// maxPage is the longest page of a list.
const maxPage = 10_000

func limit(n int) (int, error) {
	switch {
	case n == 0:
		return 100, nil
	case n < 0 || n > maxPage:
		return 0, invalid("page of %d: give 1 to %d, or 0 for 100", n, maxPage)
	}
	return n, nil
}

// List answers instances that match f, by saga, key and generation.
func (d *Desk) List(ctx context.Context, f Filter, p Page) (all []Instance, err error) {
	if p.Limit, err = limit(p.Limit); err != nil {
		return nil, err
	}
	return d.store.Records().List(ctx, f, p)
}

// Show answers the last instance of a saga and key, with its state; ErrNoInstance.
func (d *Desk) Show(ctx context.Context, saga, key string) (*Instance, error) {
	all, err := d.store.Records().List(ctx, Filter{Saga: saga, Key: key, Full: true}, Page{Limit: maxPage})
	if err != nil {
		return nil, err
	}
	if saga == "" || key == "" || len(all) == 0 {
		return nil, fmt.Errorf("%w: of saga %s, with key %s; copy both from a list", ErrNoInstance, quote(saga), quote(key))
	}
	return &all[len(all)-1], nil
}

// History answers entries of the journal of the instance of that id, oldest first, behind number after; at most n, 0: 100.
func (d *Desk) History(ctx context.Context, id string, after int64, n int) ([]Entry, error) {
	n, err := limit(n)
	if err != nil {
		return nil, err
	}
	return d.store.Records().History(ctx, id, after, n)
}

// Counts counts instances by saga, status and last step. An empty saga is all of them.
func (d *Desk) Counts(ctx context.Context, saga string) ([]Count, error) {
	return d.store.Records().Counts(ctx, saga)
}

// Schemas counts the instances that a program must still be able to read, by saga and version of their state.
func (d *Desk) Schemas(ctx context.Context) ([]SchemaCount, error) {
	return d.store.Records().Schemas(ctx)
}

// maxWho is the longest name in the journal, in bytes.
const maxWho = 255

// Cancel ends the instance of a saga and key as Cancelled, with its timers, and puts down who did it and why. Nothing is undone: a flow
// that has to be has a Cancel of its own. The error is ErrNoInstance or ErrEnded, unless it is stuck, which can be cancelled.
func (d *Desk) Cancel(ctx context.Context, saga, key, who, reason string) error {
	if strings.TrimSpace(who) == "" || len(who) > maxWho || strings.ContainsRune(who, 0) {
		return invalid("who: nobody is named, or with more than %d bytes, or a NUL; say who does this, since the journal keeps it", maxWho)
	}
	for try := 0; ; try++ {
		err := d.db.InTx(ctx, func(tx sqltx.Tx) error { return d.cancel(ctx, tx, saga, key, who, reason) })
		if err == nil || try == 10 || !d.store.Passing(err) && !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

func (d *Desk) cancel(ctx context.Context, tx sqltx.Tx, saga, key, who, reason string) error {
	store := d.store.Instances()
	in, err := store.Load(ctx, tx, saga, key, "")
	switch {
	case err != nil:
		return fmt.Errorf("saga: cancel %s %s: %w", quote(saga), quote(key), err)
	case in == nil:
		return fmt.Errorf("%w: of saga %s, with key %s; copy both from a list", ErrNoInstance, quote(saga), quote(key))
	case in.Status.Final():
		return fmt.Errorf("%w: %s %s is %v", ErrEnded, quote(saga), quote(key), in.Status)
	}
	e := &Entry{Instance: in.ID, Kind: Operated, Version: in.Version + 1, Step: "cancel",
		Detail: Detail{From: in.Status.String(), To: Cancelled.String(), Who: line(who, maxWho), Reason: line(reason, maxReason)}}
	var ids []string
	for _, t := range in.Timers {
		ids = append(ids, t.ID)
		e.Detail.Effects = append(e.Detail.Effects, Effect{Kind: "cancel", Type: t.Type, ID: t.ID})
	}
	e.Detail.More = max(len(e.Detail.Effects)-MaxEffects, 0)
	e.Detail.Effects = e.Detail.Effects[:min(len(e.Detail.Effects), MaxEffects)]
	in.Status, in.Reason, in.Timers = Cancelled, line(reason, maxReason), nil
	if err := store.Save(ctx, tx, in, e); err != nil {
		return fmt.Errorf("saga: cancel %s %s: %w", quote(saga), quote(key), err)
	}
	if len(ids) == 0 {
		return nil
	}
	return store.CancelTimers(ctx, tx, ids)
}
