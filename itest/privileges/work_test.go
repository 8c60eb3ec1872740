package privileges

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/tables"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// job is what one role does, with all statements of its duty. It can be done again and again.
type job func(ctx context.Context, w *world, p sqltx.Runner, st *store.Store) error

func row(class, topic, key string) outbox.Row {
	env := sixfold.Envelope{Type: "test.thing"}
	return outbox.Row{Partition: outbox.PartitionOf(key), ID: sixfold.NewID(), Class: class, Topic: topic, Key: key, Attrs: outbox.EncodeAttrs(&env, outbox.Flags{}), Body: []byte("{}")}
}

// empty removes all rows.
func (w *world) empty(ctx context.Context) error {
	if w.maria == nil {
		// One round trip. TRUNCATE would make new files for every table and index, which takes far longer than removing a few rows.
		_, err := w.owner.Exec(ctx, "DELETE FROM sixfold."+strings.Join(tables.Names(), "; DELETE FROM sixfold."))
		return err
	}
	err := w.super.InTx(ctx, func(tx sqltx.Tx) error { // one commit
		for _, t := range append(tables.Names(), "queue_topic") {
			if _, err := tx.Exec(ctx, "DELETE FROM sixfold_"+t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = w.super.ExecSQL(ctx, "INSERT INTO sixfold_published (claim, id, until, stamp) VALUES ('old', '', 1, 0)") // for who removes what is over
	return err
}

// seed puts rows there as the superuser, and removes what an earlier run left.
func (w *world) seed(ctx context.Context) error {
	if err := w.empty(ctx); err != nil {
		return err
	}
	return w.super.InTx(ctx, func(tx sqltx.Tx) error {
		for range 4 {
			if _, _, err := w.st.Outbox().Writer().Append(ctx, tx, outbox.ToBroker, []outbox.Row{row("", "orders", "k")}, false); err != nil {
				return err
			}
			if _, _, err := w.st.Outbox().Writer().Append(ctx, tx, outbox.ToLocal, []outbox.Row{row("shipping", "", "k")}, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// publish writes with every form of the statement, and with the functions for others.
func publish(ctx context.Context, in *world, p sqltx.Runner, st *store.Store) error {
	w := st.Outbox().Writer()
	err := p.InTx(ctx, func(tx sqltx.Tx) error {
		for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
			for _, n := range []int{1, 8, 20} {
				rows := make([]outbox.Row, n)
				for i := range rows {
					rows[i] = row("", "orders", "")
				}
				if _, _, err := w.Append(ctx, tx, t, rows, true); err != nil {
					return err
				}
			}
			own := row("", "orders", "")
			own.Claim, own.ClaimFor = "unique\x1f"+t.String(), time.Microsecond
			for range 2 { // the second finds the first has ended
				if _, _, err := w.Append(ctx, tx, t, []outbox.Row{own}, true); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if in.maria != nil { // there are no functions
		return nil
	}
	if _, err := p.ExecSQL(ctx, "SELECT sixfold.publish('orders', 'a.b', '\\x7b7d', 'k')"); err != nil {
		return err
	}
	_, err = p.ExecSQL(ctx, "SELECT sixfold.publish_local('shipping', 'a.b', '\\x7b7d', 'k')")
	return err
}

// record uses an inbox as a consumer does.
func record(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	box, recs := st.Inbox(), make([]inbox.Record, 3)
	for i := range recs {
		sum := sha256.Sum256([]byte(fmt.Sprint(i)))
		recs[i] = inbox.Record{Message: [16]byte(sum[:]), Digest: [16]byte(sum[16:]), Key: "k"}
	}
	if _, err := box.Suspect(ctx, "c", recs); err != nil {
		return err
	}
	if err := box.Forget(ctx, "c", recs[2:]); err != nil {
		return err
	}
	for _, want := range []inbox.Verdict{inbox.First, inbox.Handled} {
		err := p.InTx(ctx, func(tx sqltx.Tx) error {
			got, err := box.Record(ctx, tx, "c", recs)
			if err == nil && got[0] != want {
				err = fmt.Errorf("record answered %v, want %v", got[0], want)
			}
			if err == nil {
				_, err = box.Record(ctx, tx, "c", recs[:1])
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err := box.Prune(ctx, 0, 10)
	return err
}

// read takes leases and reads one table, settles some rows, and has its rows taken over.
func read(ctx context.Context, st *store.Store, t outbox.Table, class string, claim func(node string, seqs []int64) error) error {
	o := st.Outbox()
	if _, err := o.Keeper().Check(ctx); err != nil {
		return err
	}
	dead, node := sixfold.NewID(), sixfold.NewID()
	own := outbox.Ownership{Class: class}
	for i := range own.Partitions {
		own.Partitions[i] = true
	}
	if err := o.Leases().Join(ctx, class, dead, time.Microsecond); err != nil {
		return err
	}
	local := t == outbox.ToLocal
	if _, err := o.Leases().Take(ctx, class, dead, 64, t, local); err != nil {
		return err
	}
	if _, _, err := o.Leases().Beat(ctx, class, dead, time.Microsecond, 1<<40); err != nil {
		return err
	}
	if err := o.Leases().Join(ctx, class, node, time.Minute); err != nil {
		return err
	}
	taken, err := o.Leases().Take(ctx, class, node, 64, t, local)
	if err != nil || len(taken) != 64 {
		return errors.Join(err, check(len(taken) == 64, "took %d leases", len(taken)))
	}
	rows, err := o.Queue(t).Read(ctx, 0, 100, own)
	if err != nil || len(rows) < 4 {
		return errors.Join(err, check(len(rows) >= 4, "read %d rows", len(rows)))
	}
	if local && rows[0].Attempts != 1 {
		return fmt.Errorf("a row of a dead owner has %d attempts", rows[0].Attempts)
	}
	if _, err := o.Queue(t).LookUp(ctx, []outbox.Range{{From: 1, To: 20_000}}, 100, own); err != nil {
		return err
	}
	if _, err := o.Queue(t).LookUp(ctx, []outbox.Range{{From: 1, To: 2}}, 100, own); err != nil {
		return err
	}
	if _, err := o.Queue(t).Writers(ctx); err != nil {
		return err
	}
	if n, err := o.Queue(t).Settle(ctx, node, []int64{rows[0].Seq, rows[1].Seq}); err != nil || n != 2 {
		return errors.Join(err, check(n == 2, "settled %d rows", n))
	}
	if err := claim(node, []int64{rows[2].Seq}); err != nil {
		return err
	}
	if _, err := o.Keeper().Purge(ctx, 10); err != nil {
		return err
	}
	if err := o.Leases().GiveBack(ctx, class, node, []int16{1, 2}); err != nil {
		return err
	}
	return o.Leases().Leave(ctx, class, node)
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func relay(ctx context.Context, _ *world, _ sqltx.Runner, st *store.Store) error {
	return read(ctx, st, outbox.ToBroker, "", func(node string, seqs []int64) error {
		n, err := st.Outbox().Queue(outbox.ToBroker).Bury(ctx, node, []outbox.DeadRow{{Seq: seqs[0], ID: "id", Type: "test.thing", Reason: "unroutable", Attempts: 1}})
		return errors.Join(err, check(err != nil || n == 1, "buried %d rows", n))
	})
}

func local(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	return read(ctx, st, outbox.ToLocal, "shipping", func(node string, seqs []int64) error {
		return p.InTx(ctx, func(tx sqltx.Tx) error {
			got, _, err := st.Outbox().Queue(outbox.ToLocal).Claim(ctx, tx, node, seqs)
			return errors.Join(err, check(err != nil || len(got) == 1, "claimed %v", got))
		})
	})
}

// stats is what people and the CLI read.
func stats(ctx context.Context, w *world, _ sqltx.Runner, st *store.Store) error {
	if err := w.st.Outbox().Leases().Join(ctx, "shipping", sixfold.NewID(), time.Minute); err != nil {
		return err
	}
	if all, err := st.Migrations().Status(ctx); err != nil || !all[0].Applied {
		return errors.Join(err, check(err != nil, "permission denied: the version table is not shown"))
	}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		if s, err := st.Outbox().Keeper().Stats(ctx, t); err != nil || s.Pending != 4 {
			return errors.Join(err, check(s.Pending == 4, "%d rows", s.Pending))
		}
		v, err := st.Operator().Overview(ctx, t)
		if err != nil || v.Estimate != 4 || !v.Whole {
			return errors.Join(err, check(false, "overview %+v", v))
		}
		list, err := st.Operator().List(ctx, t, 0, 10)
		if err != nil || len(list) != 4 {
			return errors.Join(err, check(false, "%d rows", len(list)))
		}
		if found, err := st.Operator().Find(ctx, t, strings.ToUpper(list[1].ID)); err != nil || len(found) != 1 || string(found[0].Body) != "{}" {
			return errors.Join(err, check(false, "found %d rows", len(found)))
		}
		if found, err := st.Operator().Seq(ctx, t, list[2].Seq); err != nil || len(found) != 1 {
			return errors.Join(err, check(false, "found %d rows", len(found)))
		}
	}
	return nil
}

func migrate(ctx context.Context, w *world, _ sqltx.Runner, st *store.Store) error {
	if err := st.Migrations().Down(ctx, 0); err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	script, err := w.st.GrantScript(w.roles)
	if err == nil {
		err = w.script(ctx, script)
	}
	return err
}
