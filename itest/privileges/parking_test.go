package privileges

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// item is a message that failed once.
func item(message byte, key string) inbox.Item {
	env := sixfold.Envelope{Type: "test.thing"}
	return inbox.Item{Record: inbox.Record{Message: [16]byte{message}, Key: key}, Enter: true, ID: string('a' + rune(message)), Source: "s", Type: "test.thing",
		Attrs: outbox.EncodeAttrs(&env, outbox.Flags{}), Body: []byte("{}"), Attempts: 1, Error: "boom", Node: "n"}
}

// park does with messages that fail what a consumer does.
func park(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	lot, db := st.Inbox().Parking(), p
	if _, err := st.Inbox().Suspect(ctx, "c", []inbox.Record{item(1, "").Record}); err != nil {
		return err
	}
	err := db.InTx(ctx, func(tx sqltx.Tx) error {
		_, err := lot.Park(ctx, tx, "c", []inbox.Item{item(1, "a"), item(2, "a"), item(3, "b"), item(4, ""), item(5, "d")})
		return err
	})
	if err != nil {
		return err
	}
	got, err := lot.Claim(ctx, "c", inbox.Ask{Token: sixfold.NewID(), Lines: 9, Rows: 9, Hold: time.Hour, Count: true})
	if err != nil || len(got.Lines) != 4 {
		return errors.Join(err, check(err != nil, "claimed %+v", got))
	}
	var keep []inbox.Hold
	var back []inbox.Return
	for i, l := range got.Lines {
		keep = append(keep, inbox.Hold{Line: l.ID, Token: l.Token})
		back = append(back, inbox.Return{Hold: keep[i], Delay: time.Hour})
		switch i {
		case 0:
			err = db.InTx(ctx, func(tx sqltx.Tx) error {
				taken, err := lot.Take(ctx, tx, []inbox.Ticket{{N: l.Rows[0].N, Token: l.Token}})
				return errors.Join(err, check(err != nil || len(taken) == 1, "took %v", taken))
			})
		case 1:
			err = lot.Fail(ctx, inbox.Failed{Hold: keep[i], N: l.Rows[0].N, Attempts: 2, Dead: true, Loose: true})
		case 2:
			err = lot.Fail(ctx, inbox.Failed{Hold: keep[i], N: l.Rows[0].N, Attempts: 2, Delay: time.Hour})
		}
		if err != nil {
			return err
		}
	}
	_, err = lot.Tend(ctx, keep, time.Hour, back)
	return err
}

// parked puts messages of every kind there, as the superuser.
func (w *world) parked(ctx context.Context) error {
	if err := w.seed(ctx); err != nil {
		return err
	}
	dead := []inbox.Item{item(1, "held"), item(2, "loose"), item(3, ""), item(4, "held"), item(5, "waits")}
	for i := range 3 {
		dead[i].Dead, dead[i].Loose, dead[i].Reason = true, i == 1, "permanent"
	}
	dead[4].Delay = time.Hour
	err := w.super.InTx(ctx, func(tx sqltx.Tx) error {
		_, err := w.st.Inbox().Parking().Park(ctx, tx, "c", dead)
		return err
	})
	if err != nil {
		return err
	}
	node := sixfold.NewID()
	if err := w.st.Outbox().Leases().Join(ctx, "", node, time.Hour); err != nil {
		return err
	}
	rows, err := w.st.Outbox().Queue(outbox.ToBroker).Read(ctx, 0, 1, outbox.Ownership{})
	if err == nil {
		_, err = w.st.Outbox().Queue(outbox.ToBroker).Bury(ctx, node, []outbox.DeadRow{{Seq: rows[0].Seq, ID: sixfold.NewID(), Type: "test.thing", Source: "s", Reason: "unroutable", Attempts: 1}})
	}
	return err
}

// letters is what people read of parked messages, and of those that are gone.
func letters(ctx context.Context, w *world, p sqltx.Runner, st *store.Store) error {
	if err := w.parked(ctx); err != nil {
		return err
	}
	d := st.DeadLetters()
	list, err := d.List(ctx, deadletter.Filter{State: deadletter.All}, deadletter.Page{Limit: 100})
	if err != nil || len(list) != 6 {
		return errors.Join(err, check(err != nil, "%d are parked", len(list)))
	}
	if _, err := d.Show(ctx, list[0].N); err != nil {
		return err
	}
	if _, err := d.Summary(ctx, deadletter.Filter{}); err != nil {
		return err
	}
	if _, err := d.Audit(ctx, deadletter.Trail{Message: list[0].ID}); err != nil {
		return err
	}
	for _, table := range []string{"inbox", "delivered"} {
		if err == nil {
			err = p.EachRow(ctx, w.sql("SELECT count(*) FROM sixfold."+table), nil, func(sqltx.Rows) error { return nil })
		}
	}
	return err
}

// operate is what people do to parked messages.
func operate(ctx context.Context, w *world, _ sqltx.Runner, st *store.Store) error {
	if err := w.parked(ctx); err != nil {
		return err
	}
	d := st.DeadLetters()
	list, err := d.List(ctx, deadletter.Filter{State: deadletter.All}, deadletter.Page{Limit: 100})
	if err != nil {
		return err
	}
	if err := d.Edit(ctx, list[0].N, deadletter.Edit{Who: "me", Body: []byte("[]"), SetBody: true}); err != nil {
		return err
	}
	for i, action := range []string{"release", "redrive", "redrive", "discard"} {
		run := deadletter.Run{ID: sixfold.NewID(), Action: action, Who: "me", Reason: "why"}
		step, limit := d.Redrive, 100
		switch i {
		case 0:
			run.Filter.State, step = deadletter.Waiting, d.Release
		case 1:
			limit = 1
		case 3:
			run.Filter.State, step = deadletter.All, d.Discard
		}
		if run, err = d.Begin(ctx, run); err != nil {
			return err
		}
		done, err := step(ctx, run, 0, limit)
		if err != nil || len(done.Done) == 0 {
			return errors.Join(err, check(err != nil, "%s did nothing: %+v", action, done))
		}
		for _, m := range done.Done {
			if _, err := d.Fate(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}
