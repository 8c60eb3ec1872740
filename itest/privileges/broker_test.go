package privileges

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// broker uses the database as a broker does: a group and a copy, what is kept, a death, and all that is removed.
func broker(ctx context.Context, w *world, _ sqltx.Runner, st *store.Store) error {
	b := st.Broker()
	if _, err := b.Check(ctx); err != nil {
		return err
	}
	if err := b.Keep(ctx, "orders", time.Hour); err != nil {
		return err
	}
	if _, err := b.Send(ctx, []outbox.Row{row("", "orders", "k")}); err != nil {
		return err
	}
	part, class, err := b.Attach(ctx, "orders", "shipping", "", true)
	if err != nil {
		return err
	}
	if _, _, err := b.Attach(ctx, "orders", "", "process", false); err != nil {
		return err
	}
	if missing, err := b.Send(ctx, []outbox.Row{row("", "orders", "k"), row("", "orders", "l")}); err != nil || len(missing) > 0 {
		return errors.Join(err, fmt.Errorf("missing: %v", missing))
	}
	if err := consume(ctx, w, part, class); err != nil {
		return err
	}
	return errors.Join(removeAll(ctx, w, b, part), carry(ctx, st))
}

// consume reads and settles as one node dies and another takes over.
func consume(ctx context.Context, w *world, part outbox.Store, class string) error {
	leases, queue := part.Leases(), part.Queue(outbox.ToLocal)
	own := outbox.Ownership{Class: class}
	for p := range own.Partitions {
		own.Partitions[p] = true
	}
	rows, err := queue.Read(ctx, 0, 100, own)
	if err != nil {
		return err
	}
	if len(rows) != 3 {
		return fmt.Errorf("%d rows are there, 1 kept and 2 sent", len(rows))
	}
	dead, node := sixfold.NewID(), sixfold.NewID()
	for _, n := range []string{dead, node} {
		if err := leases.Join(ctx, class, n, time.Minute); err != nil {
			return err
		}
		if _, _, err := leases.Beat(ctx, class, n, time.Minute, rows[2].Seq); err != nil {
			return err
		}
		if _, err := leases.Take(ctx, class, n, 64, outbox.ToLocal, true); err != nil {
			return err
		}
		if w.maria == nil {
			w.exec("UPDATE sixfold.node SET until = now() - interval '1 second' WHERE id = $1", dead)
		} else {
			w.exec("UPDATE sixfold_node SET until = until - 3600000000 WHERE id = ?", dead)
		}
	}
	if n, err := queue.Settle(ctx, node, []int64{rows[0].Seq}); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("%d rows were settled", n))
	}
	if err := leases.GiveBack(ctx, class, node, []int16{1}); err != nil {
		return err
	}
	return leases.Leave(ctx, class, node)
}

// removeAll removes a group's rows by hand, then what is left of everything.
func removeAll(ctx context.Context, w *world, b *store.Broker, part outbox.Store) error {
	groups, err := b.Groups(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if _, err := b.Empty(ctx, g, 1); err != nil {
			return err
		}
	}
	if found, err := b.Detach(ctx, "orders", "shipping", ""); err != nil || !found {
		return errors.Join(err, fmt.Errorf("the group was there: %t", found))
	}
	if err := b.Keep(ctx, "orders", 0); err != nil {
		return err
	}
	if w.maria == nil {
		w.exec("UPDATE sixfold.queue_group SET made_at = now() - interval '1 hour' WHERE kind = 2") // its process never came
	} else {
		w.exec("UPDATE sixfold_queue_group SET made_at = made_at - 3600000000 WHERE kind = 2")
	}
	for range 2 {
		if _, err := part.Keeper().Purge(ctx, 1000); err != nil {
			return err
		}
	}
	return nil
}
