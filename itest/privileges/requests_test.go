package privileges

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// carry uses the database as a lane of requests does, with what is removed.
func carry(ctx context.Context, st *store.Store) error {
	r := st.Requests()
	place := "ear/" + sixfold.NewID()
	at := []string{place, "request/orders"}
	for range 2 {
		if err := r.Stay(ctx, place, at, time.Minute); err != nil {
			return err
		}
	}
	for _, all := range []bool{false, true} {
		if n, err := r.Put(ctx, "request/orders", all, []byte("[]"), nil, time.Minute); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("%d rows were written", n))
		}
	}
	if n, err := r.Take(ctx, place, 10, func(string, []byte, []byte, time.Duration) {}); err != nil || n != 2 {
		return errors.Join(err, fmt.Errorf("%d rows were taken", n))
	}
	return r.Leave(ctx, place, at)
}

// remember keeps an answer, finds it, and removes it.
func remember(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	a := st.Answers()
	message := [16]byte([]byte(sixfold.NewID()))
	err := p.InTx(ctx, func(tx sqltx.Tx) error {
		for i := range 2 {
			first, _, _, _, err := a.Enter(ctx, tx, message, message)
			if err != nil || first != (i == 0) {
				return errors.Join(err, fmt.Errorf("first: %t", first))
			}
			if err := a.Save(ctx, tx, message, "application/json", []byte("1")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = a.Prune(ctx, time.Microsecond, 100)
	return err
}
