package privileges

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// sagas is what a process does that handles them, and removes what ended long ago.
func sagas(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	s := st.Sagas()
	err := p.InTx(ctx, func(tx sqltx.Tx) error {
		in, err := s.Instances().Load(ctx, tx, "s", "k", sixfold.NewID())
		if err != nil {
			return err
		}
		in.Status = saga.Completed
		if err := saveSaga(ctx, tx, st, in); err != nil {
			return err
		}
		if in, err = s.Instances().Succeed(ctx, tx, in, sixfold.NewID()); err != nil {
			return err
		}
		if err := saveSaga(ctx, tx, st, in); err != nil {
			return err
		}
		return s.Instances().CancelTimers(ctx, tx, []string{sixfold.NewID()})
	})
	if err != nil {
		return err
	}
	n, err := s.Records().Purge(ctx, -time.Second, 10)
	if err != nil {
		return err
	}
	return check(n == 1, "%d instances ended, and %d were removed", 1, n)
}

func saveSaga(ctx context.Context, tx sqltx.Tx, st *store.Store, in *saga.Instance) error {
	e := &saga.Entry{Instance: in.ID, Kind: saga.Stepped, Version: in.Version + 1, Step: "t.step"}
	if err := st.Sagas().Instances().Save(ctx, tx, in, e); err != nil {
		return err
	}
	return st.Sagas().Instances().Note(ctx, tx, e)
}

// operateSagas is what a person does to one, if there is one.
func operateSagas(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	return p.InTx(ctx, func(tx sqltx.Tx) error {
		in, err := st.Sagas().Instances().Load(ctx, tx, "s", "k", "")
		if err != nil {
			return err
		}
		there := in != nil
		if !there {
			in = &saga.Instance{Saga: "s", Key: "k", ID: sixfold.NewID()}
		}
		e := &saga.Entry{Instance: in.ID, Kind: saga.Operated, Version: in.Version + 1, Step: "cancel"}
		if err := st.Sagas().Instances().Save(ctx, tx, in, e); there && err != nil || !there && !errors.Is(err, saga.ErrConflict) {
			return err
		}
		if err := st.Sagas().Instances().Note(ctx, tx, e); err != nil {
			return err
		}
		return st.Sagas().Instances().CancelTimers(ctx, tx, []string{sixfold.NewID()})
	})
}

// listSagas is what lists of them read.
func listSagas(ctx context.Context, _ *world, _ sqltx.Runner, st *store.Store) error {
	r := st.Sagas().Records()
	if _, err := r.List(ctx, saga.Filter{Full: true}, saga.Page{Limit: 10}); err != nil {
		return err
	}
	if _, err := r.History(ctx, sixfold.NewID(), 0, 10); err != nil {
		return err
	}
	if _, err := r.Counts(ctx, ""); err != nil {
		return err
	}
	_, err := r.Schemas(ctx)
	return err
}
