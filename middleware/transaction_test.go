package middleware_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

type placed struct {
	ID string `json:"id"`
}

func (placed) MessageName() string { return "orders.placed" }

type place struct {
	sixfold.Returns[string] `json:"-"`

	ID   string
	Fail error `json:"-"`
}

func (place) MessageName() string { return "orders.place" }

// shop is a database with an outbox, and what wakes its relay.
type shop struct {
	*sixfoldtest.Kit
	box     *outbox.Outbox
	tx      *middleware.Transaction[*memory.Tx]
	commits int
}

func newShop() *shop {
	s := &shop{Kit: sixfoldtest.New()}
	s.box = must(outbox.New(s.Outbox, nil, outbox.To("orders", placed{})))
	s.tx = must(middleware.NewTransaction(s.DB, &middleware.TransactionOptions{Committed: func() { s.commits++; s.box.Committed() }}))
	return s
}

func (s *shop) place(ctx context.Context, tx *memory.Tx, c place) (string, error) {
	if _, err := s.box.Publish(ctx, s.DB.Tx(tx), placed{c.ID}); err != nil {
		return "", err
	}
	return "placed " + c.ID, c.Fail
}

func (s *shop) published(t *testing.T) (ids []string) {
	t.Helper()
	for _, m := range sixfoldtest.Published[placed](t, s.Outbox) {
		ids = append(ids, m.ID)
	}
	return ids
}

// guarantees: O1
func TestHandlerAndOutboxCommitTogether(t *testing.T) {
	for name, mws := range map[string]func(*shop) []sixfold.Middleware{
		"own":    func(*shop) []sixfold.Middleware { return nil },
		"joined": func(s *shop) []sixfold.Middleware { return []sixfold.Middleware{s.tx.Middleware()} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			m := must(mediator.New(&mediator.Options{Commands: mws(s)}, mediator.OnCommand(middleware.InTxResult(s.tx, s.place))))
			id, err := mediator.Send(t.Context(), m, place{ID: "o-1"})
			if id != "placed o-1" || err != nil || s.commits != 1 {
				t.Errorf("%q, %v, %d commits", id, err, s.commits)
			}
			if id, err := mediator.Send(t.Context(), m, place{ID: "o-2", Fail: errDown}); err != errDown || name == "own" && id != "" || s.commits != 1 {
				t.Errorf("%q, %v, %d commits", id, err, s.commits)
			}
			if ids := s.published(t); !slices.Equal(ids, []string{"o-1"}) {
				t.Errorf("published %q", ids)
			}
		})
	}
}

// Calls inside of a call are in its transaction, and so are notifications in order.
func TestInnerCallsJoin(t *testing.T) {
	s := newShop()
	var m *mediator.Mediator
	fails := false
	m = must(mediator.New(&mediator.Options{Middleware: []sixfold.Middleware{s.tx.Middleware()}},
		mediator.OnCommand(middleware.InTxResult(s.tx, s.place)),
		mediator.OnPlain(middleware.InTx(s.tx, func(ctx context.Context, tx *memory.Tx, _ pair) error {
			for _, id := range []string{"a", "b"} {
				if _, err := mediator.Send(ctx, m, place{ID: id}); err != nil {
					return err
				}
			}
			if err := mediator.Publish(ctx, m, placed{"c"}, mediator.InOrder); err != nil {
				return err
			}
			if own, err := s.tx.From(ctx); own != tx || err != nil {
				t.Errorf("another transaction: %v", err)
			}
			if fails {
				return errDown
			}
			return nil
		})),
		mediator.OnNotification(middleware.InTx(s.tx, func(ctx context.Context, tx *memory.Tx, n placed) error { // forwards it to the bus
			_, err := s.box.Publish(ctx, s.DB.Tx(tx), n)
			return err
		}))))
	for _, fails = range []bool{true, false} {
		if _, err := mediator.Send(t.Context(), m, pair{}); (err != nil) != fails {
			t.Error(err)
		}
	}
	if ids := s.published(t); !slices.Equal(ids, []string{"a", "b", "c"}) || s.commits != 1 {
		t.Errorf("published %q in %d commits", ids, s.commits)
	}
}

type pair struct{ sixfold.Returns[struct{}] }

func (pair) MessageName() string { return "orders.pair" }

func TestMistakesWithTransactions(t *testing.T) {
	s := newShop()
	var leaked context.Context
	try := func(ctx context.Context, _ placed) error {
		_, err := s.tx.From(ctx)
		return err
	}
	m := must(mediator.New(nil, mediator.OnNotification(try), mediator.OnNotification(middleware.InTx(s.tx, func(context.Context, *memory.Tx, placed) error { return nil }))))
	check := func(err error, n int, say string) {
		t.Helper()
		if !errors.Is(err, middleware.ErrNoTransaction) || strings.Count(err.Error(), say) != n {
			t.Errorf("%q is not in %v", say, err)
		}
	}
	check(mediator.Publish(t.Context(), m, placed{}), 1, "of type *memory.Tx in this context")
	in := sixfold.Chain(func(ctx context.Context, _ *sixfold.Envelope) error {
		leaked = ctx
		check(mediator.Publish(ctx, m, placed{}), 2, "run at the same time")
		if err := mediator.Publish(ctx, m, placed{}, mediator.InOrder); err != nil {
			t.Error(err)
		}
		other := must(middleware.NewTransaction(s.DB, nil)) // of another database, for all that it knows
		_, err := other.From(ctx)
		check(err, 1, "in this context")
		return nil
	}, s.tx.Middleware())
	if err := in(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_, err := s.tx.From(leaked)
	check(err, 1, "has ended")
	if _, err := middleware.NewTransaction(sqltx.DB[*memory.Tx]{}, nil); !errors.Is(err, sqltx.ErrNoDB) {
		t.Error(err)
	}
	if _, err := mediator.New(nil, mediator.OnCommand(middleware.InTxResult[*memory.Tx, place, string](nil, s.place)),
		mediator.OnNotification(middleware.InTx[*memory.Tx, placed](s.tx, nil))); err == nil || strings.Count(err.Error(), "the handler is nil") != 2 {
		t.Error(err)
	}
}

// A transaction that somebody else has opened, such as package inbox, is joined.
func TestWith(t *testing.T) {
	s := newShop()
	h := middleware.InTxResult(s.tx, s.place)
	err := s.DB.Run(t.Context(), func(tx *memory.Tx) error {
		_, err := h(s.tx.With(t.Context(), tx), place{ID: "o-1"})
		return errors.Join(err, errDown) // and rolled back by whoever opened it
	})
	if ids := s.published(t); !errors.Is(err, errDown) || len(ids) != 0 || s.commits != 0 {
		t.Errorf("published %q, %d commits, %v", ids, s.commits, err)
	}
}

// A panic rolls back.
func TestTransactionAndPanic(t *testing.T) {
	s := newShop()
	h := sixfold.Chain(func(ctx context.Context, _ *sixfold.Envelope) error {
		tx := must(s.tx.From(ctx))
		_, _ = s.place(ctx, tx, place{ID: "o-1"})
		panic("x")
	}, middleware.Recover(), s.tx.Middleware())
	if err := h(t.Context(), nil); err == nil || len(s.published(t)) != 0 || s.commits != 0 {
		t.Errorf("%v, %d commits", err, s.commits)
	}
}

// Where the DB can find out what became of a commit, it is asked to.
func TestTransactionUsesCommitWith(t *testing.T) {
	s := newShop()
	db := s.DB
	db.CommitWith = func(ctx context.Context, fn func(*memory.Tx) ([]sqltx.Statement, error)) error {
		err := s.DB.Run(ctx, func(tx *memory.Tx) error { _, err := fn(tx); return err })
		if err == nil {
			return sqltx.ErrCommitUnknown
		}
		return err
	}
	tx := must(middleware.NewTransaction(db, nil))
	if _, err := middleware.InTxResult(tx, s.place)(t.Context(), place{ID: "o-1"}); !errors.Is(err, sqltx.ErrCommitUnknown) {
		t.Error(err)
	}
}
