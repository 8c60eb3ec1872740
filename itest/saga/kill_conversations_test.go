package saga

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Two kinds of conversations move money between accounts while their processes are killed: transfers, in the event form, and
// orders, in the flow form. Their participants are in the same processes, and note each message that they handle.
type (
	transfer struct{ N int }
	debit    struct{ N int }
	debited  struct{ N int }
	credit   struct{ N int }
	credited struct{ N int }
	refused  struct{ N int }
	refund   struct{ N int }
	refunded struct{ N int }
	overdue  struct{ N int }

	order struct{ N int }
	task  struct {
		N    int
		Step string
	}
	do     task
	done   task
	denied task
	undo   task
	undone task
)

func (transfer) MessageName() string { return "bank.transfer" }
func (debit) MessageName() string    { return "bank.debit" }
func (debited) MessageName() string  { return "bank.debited" }
func (credit) MessageName() string   { return "bank.credit" }
func (credited) MessageName() string { return "bank.credited" }
func (refused) MessageName() string  { return "bank.refused" }
func (refund) MessageName() string   { return "bank.refund" }
func (refunded) MessageName() string { return "bank.refunded" }
func (overdue) MessageName() string  { return "bank.overdue" }
func (order) MessageName() string    { return "shop.order" }
func (do) MessageName() string       { return "shop.do" }
func (done) MessageName() string     { return "shop.done" }
func (denied) MessageName() string   { return "shop.denied" }
func (undo) MessageName() string     { return "shop.undo" }
func (undone) MessageName() string   { return "shop.undone" }

func transferKey(n int) string { return fmt.Sprint("t-", n) }
func orderKey(n int) string    { return fmt.Sprint("o-", n) }

func (m transfer) MessageKey() string { return transferKey(m.N) }
func (m debit) MessageKey() string    { return transferKey(m.N) }
func (m debited) MessageKey() string  { return transferKey(m.N) }
func (m credit) MessageKey() string   { return transferKey(m.N) }
func (m credited) MessageKey() string { return transferKey(m.N) }
func (m refused) MessageKey() string  { return transferKey(m.N) }
func (m refund) MessageKey() string   { return transferKey(m.N) }
func (m refunded) MessageKey() string { return transferKey(m.N) }
func (m order) MessageKey() string    { return orderKey(m.N) }
func (m do) MessageKey() string       { return orderKey(m.N) }
func (m done) MessageKey() string     { return orderKey(m.N) }
func (m denied) MessageKey() string   { return orderKey(m.N) }
func (m undo) MessageKey() string     { return orderKey(m.N) }
func (m undone) MessageKey() string   { return orderKey(m.N) }

// What becomes of a conversation is in its number, but for time limits, which pass when nobody is alive.
func creditRefused(n int) bool { return n%4 == 1 }
func debitSilent(n int) bool   { return n%4 == 2 }
func stepDenied(n int) string  { return map[int]string{1: "pay", 2: "ship"}[n%5] }
func paySilent(n int) bool     { return n%5 == 3 }

// accounts of customers, and what each holds at the beginning. Orders are paid to the shop.
const (
	customers = 4
	funds     = 1_000_000
	price     = 100
)

func account(n int) string { return fmt.Sprint("customer ", n%customers) }

// steps of an order that take something.
func orderSteps() []string { return []string{"reserve", "pay", "pack", "label", "ship", "announce"} }

// town is all that takes part, on one database.
type town struct {
	driver string
	out    *outbox.Outbox
	in     *inbox.Box[*sql.Tx]
	st     *store.Store
	routes map[string][]sixfold.Route // by consumer
}

// newTown makes it of a store, with handlers whose transactions are those of db.
func newTown(driver string, st *store.Store, db sqltx.DB[*sql.Tx]) (*town, error) {
	t := &town{driver: driver, st: st}
	var err error
	t.out, err = outbox.New(st.Outbox(), nil, outbox.ToConsumer("sagas", transfer{}, debited{}, credited{}, refused{}, refunded{}, overdue{}, order{}, done{}, denied{}, undone{}, flow.Timer("order")),
		outbox.ToConsumer("participants", debit{}, credit{}, refund{}, do{}, undo{}))
	if err != nil {
		return nil, err
	}
	if t.in, err = inbox.New(db, st.Inbox(), &inbox.Options{Logger: quiet()}); err != nil {
		return nil, err
	}
	box, err := saga.NewBox(t.in, t.out, st.Sagas(), &saga.Options{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	transfers, err := t.transfers(box)
	if err != nil {
		return nil, err
	}
	orders, err := t.orders(box)
	if err != nil {
		return nil, err
	}
	t.routes = map[string][]sixfold.Route{"sagas": append(transfers.Routes(), orders.Routes()...), "participants": t.participants()}
	return t, nil
}

// transferState is what a transfer knows. Turned: the money goes back.
type transferState struct{ Debited, Turned bool }

func (t *town) transfers(box *saga.Box[*sql.Tx]) (*saga.Saga[*sql.Tx, transferState], error) {
	type state = transferState
	type tx = *sql.Tx
	return saga.Define("transfer", box,
		saga.StartedBy(transfer.MessageKey, func(_ context.Context, _ tx, s *state, m transfer, fx *saga.Effects) error {
			within := time.Hour
			if debitSilent(m.N) {
				within = 200 * time.Millisecond
			}
			fx.Send(debit(m))
			fx.After(within, overdue(m))
			return nil
		}),
		saga.On(debited.MessageKey, func(_ context.Context, _ tx, s *state, m debited, fx *saga.Effects) error {
			s.Debited = true
			fx.Send(credit(m))
			return nil
		}),
		saga.On(credited.MessageKey, func(_ context.Context, _ tx, s *state, m credited, fx *saga.Effects) error {
			fx.Complete()
			return nil
		}),
		saga.On(refused.MessageKey, func(_ context.Context, _ tx, s *state, m refused, fx *saga.Effects) error {
			s.Turned = true
			fx.Send(refund(m))
			return nil
		}),
		saga.OnTimeout(func(_ context.Context, _ tx, s *state, m overdue, fx *saga.Effects) error {
			s.Turned = true
			fx.Send(refund(m)) // the debit may have been, or may yet be; it has its key
			return nil
		}),
		saga.On(refunded.MessageKey, func(_ context.Context, _ tx, s *state, m refunded, fx *saga.Effects) error {
			fx.Fail("the money is back")
			return nil
		}))
}

// orderState is what an order knows. Done are its steps in the order in which they were heard to be done.
type orderState struct {
	N    int
	Done []string
}

func orderStep(name string) flow.Task[orderState] {
	t := flow.Step(name,
		flow.Do(func(s *orderState) do { return do{s.N, name} }),
		flow.Then(done.MessageKey, func(s *orderState, m done) error { s.Done = append(s.Done, m.Step); return nil }),
		flow.Refused(denied.MessageKey, func(*orderState, denied) error { return nil }),
		flow.Undo(func(s *orderState) undo { return undo{s.N, name} }, flow.Undone(undone.MessageKey)))
	if name == "pay" {
		t = t.Within(2 * time.Second).UndoAttempts(sixfold.Retry{MaxAttempts: 1000, Backoff: func(int) time.Duration { return 100 * time.Millisecond }})
	}
	return t
}

func (t *town) orders(box *saga.Box[*sql.Tx]) (*flow.Flow[*sql.Tx, orderState], error) {
	return flow.New("order", box, &flow.Options{Logger: quiet()},
		flow.Begin(order.MessageKey, func(s *orderState, m order) error { s.N = m.N; return nil }),
		orderStep("reserve"), orderStep("pay"),
		flow.Parallel("prepare", orderStep("pack"), orderStep("label")),
		orderStep("ship").Pivot(),
		flow.Step("announce", flow.Do(func(s *orderState) do { return do{s.N, "announce"} })))
}

// participants move the money. Each message that is handled has its line.
func (t *town) participants() []sixfold.Route {
	return []sixfold.Route{
		inbox.On(t.in, func(ctx context.Context, tx *sql.Tx, m debit) error {
			_, err := t.note(ctx, tx, transferKey(m.N), "debit")
			if err == nil {
				err = t.move(ctx, tx, account(m.N), -price)
			}
			if err != nil || debitSilent(m.N) {
				return err
			}
			return t.answer(ctx, tx, debited(m))
		}),
		inbox.On(t.in, func(ctx context.Context, tx *sql.Tx, m credit) error {
			if _, err := t.note(ctx, tx, transferKey(m.N), "credit"); err != nil {
				return err
			}
			if creditRefused(m.N) {
				return t.answer(ctx, tx, refused(m))
			}
			if err := t.move(ctx, tx, account(m.N+1), price); err != nil {
				return err
			}
			return t.answer(ctx, tx, credited(m))
		}),
		inbox.On(t.in, func(ctx context.Context, tx *sql.Tx, m refund) error {
			if _, err := t.note(ctx, tx, transferKey(m.N), "refund"); err != nil {
				return err
			}
			if err := t.move(ctx, tx, account(m.N), price); err != nil {
				return err
			}
			return t.answer(ctx, tx, refunded(m))
		}),
		inbox.On(t.in, func(ctx context.Context, tx *sql.Tx, m do) error {
			_, err := t.note(ctx, tx, orderKey(m.N), "do "+m.Step)
			switch {
			case err != nil:
				return err
			case stepDenied(m.N) == m.Step:
				return t.answer(ctx, tx, denied(m))
			case m.Step == "pay":
				if err := t.move(ctx, tx, account(m.N), -price); err != nil {
					return err
				}
				if err := t.move(ctx, tx, "shop", price); err != nil || paySilent(m.N) {
					return err
				}
			case m.Step == "announce":
				return nil
			}
			return t.answer(ctx, tx, done(m))
		}),
		inbox.On(t.in, func(ctx context.Context, tx *sql.Tx, m undo) error {
			before, err := t.note(ctx, tx, orderKey(m.N), "undo "+m.Step)
			if err != nil {
				return err
			}
			if m.Step == "pay" && slices.Contains(before, "do pay") && !slices.Contains(before, "undo pay") && stepDenied(m.N) != "pay" {
				if err := t.move(ctx, tx, account(m.N), price); err != nil {
					return err
				}
				if err := t.move(ctx, tx, "shop", -price); err != nil {
					return err
				}
			}
			return t.answer(ctx, tx, undone(m))
		}),
	}
}

// note writes the line of the message at hand, and answers what was noted of its conversation before.
func (t *town) note(ctx context.Context, tx *sql.Tx, key, what string) (before []string, err error) {
	rows, err := tx.QueryContext(ctx, t.sql("SELECT what FROM handled WHERE conversation = ? ORDER BY n"), key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var w string
		if err := rows.Scan(&w); err != nil {
			return nil, err
		}
		before = append(before, w)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, t.sql("INSERT INTO handled (conversation, what, message) VALUES (?, ?, ?)"), key, what, sixfold.InfoFrom(ctx).Envelope.ID)
	return before, err
}

func (t *town) move(ctx context.Context, tx *sql.Tx, account string, cents int) error {
	_, err := tx.ExecContext(ctx, t.sql("UPDATE account SET cents = cents + ? WHERE name = ?"), cents, account)
	return err
}

func (t *town) answer(ctx context.Context, tx *sql.Tx, m sixfold.Message) error {
	_, err := t.out.Publish(ctx, sqltx.Std(tx), m)
	return err
}

// sql has placeholders as the driver wants them.
func (t *town) sql(q string) string {
	if t.driver != "pgx" {
		return q
	}
	for n := 1; strings.Contains(q, "?"); n++ {
		q = strings.Replace(q, "?", fmt.Sprint("$", n), 1)
	}
	return q
}
