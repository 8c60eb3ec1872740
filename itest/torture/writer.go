package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// errOnPurpose rolls a transaction back.
var errOnPurpose = errors.New("rolled back on purpose")

// writer is one goroutine of the publisher.
type writer struct {
	*publisher
	rng *rand.Rand
}

func newWriter(p *publisher, i int) *writer {
	return &writer{p, rand.New(rand.NewPCG(p.Options.Seed, uint64(p.Incarnation)<<16|uint64(i)))}
}

// plan is what a transaction will do.
type plan struct {
	how       string // "do", "do plain" or "publish"
	keys      []string
	ownIDs    bool
	ids       []string
	rollBack  bool
	savepoint bool
	hold      time.Duration
	cut       bool
	swallow   bool
	poison    bool
}

func (w *writer) per(cent int) bool { return w.rng.IntN(100) < cent }

// plan draws a transaction. Its keys are sorted, so that transactions do not deadlock; a key that comes several times has
// several messages in flight at once.
func (w *writer) plan() *plan {
	o := &w.Options
	p := &plan{how: [...]string{"do", "do plain", "publish", "publish"}[w.rng.IntN(4)]}
	n := 1 + w.rng.IntN(5)
	switch {
	case w.per(5):
		for range 3 + w.rng.IntN(3) {
			p.keys = append(p.keys, hotKey)
		}
	case w.per(10):
		key := keyName(1 + w.rng.IntN(o.Keys-1))
		for range n {
			p.keys = append(p.keys, key)
		}
	default:
		for range n {
			p.keys = append(p.keys, keyName(1+w.rng.IntN(o.Keys-1)))
		}
		slices.Sort(p.keys)
	}
	p.rollBack = w.per(10)
	p.ownIDs = w.per(20)
	p.savepoint = p.how == "publish" && w.per(5)
	if w.per(o.Hold) && p.keys[0] != hotKey {
		least := o.HoldFor / 15
		p.hold = least + time.Duration(w.rng.Int64N(int64(o.HoldFor-least)))
	}
	p.cut = !p.rollBack && w.rng.IntN(map[bool]int{true: 60, false: 300}[p.ownIDs]) == 0
	p.swallow = w.per(50)
	p.poison = !w.poison.Load() && w.sum.Load() > int64(o.Messages)/3 && p.keys[0] != hotKey && !p.cut && !p.rollBack
	if p.ownIDs {
		for range p.keys {
			p.ids = append(p.ids, sixfold.NewID())
		}
	}
	return p
}

// attempt does a transaction and answers what is known of it.
func (w *writer) attempt(ctx context.Context, p *plan) (Said, error) {
	t := &Tx{How: p.how, Held: p.hold > 0, Said: Begun}
	id, err := parseMsgID(sixfold.NewID())
	if err != nil {
		return Unknown, err
	}
	t.ID = id
	finished := false // fn has done its part, so COMMIT may have been sent
	var conn *cuttable
	ctx = context.WithoutCancel(ctx) // a planned stop lets transactions end
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body := func(tx pgx.Tx, publish func(Order, ...outbox.Option) (string, error)) error {
		if err := w.business(ctx, tx, p, t, publish); err != nil {
			return err
		}
		w.txs.add(t)
		if p.hold > 0 {
			wait(ctx, p.hold)
		}
		if p.rollBack {
			return errOnPurpose
		}
		if p.cut {
			p.cut = false
			if c, ok := tx.Conn().PgConn().Conn().(*cuttable); ok {
				conn = c
				c.arm(map[bool]cut{true: cutExecute, false: cutCommit}[p.how == "do"], p.swallow)
			}
		}
		finished = true
		return nil
	}
	switch p.how {
	case "publish":
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			return body(tx, func(m Order, opts ...outbox.Option) (string, error) {
				return w.publish(ctx, tx, m, opts)
			})
		})
	default:
		db := w.fast
		if p.how == "do plain" {
			db = w.plain
		}
		err = outbox.Do(ctx, w.box, db, func(_ context.Context, tx pgx.Tx, u *outbox.Unit) error {
			return body(tx, func(m Order, opts ...outbox.Option) (string, error) {
				if planted.Is(planted.PublishApart) {
					return w.publish(ctx, tx, m, opts)
				}
				return u.Publish(m, opts...), nil
			})
		})
	}
	if t.Messages == nil {
		return RolledBack, err // nothing was published
	}
	said := saidOf(p.how, err, finished)
	line := Tx{ID: t.ID, Said: said, Cut: conn != nil && conn.done.Load()}
	if err != nil && !errors.Is(err, errOnPurpose) {
		line.Err = err.Error()
	}
	w.txs.add(line)
	if said == OK && p.how == "publish" {
		w.box.Committed()
	}
	return said, err
}

// saidOf is what the answer of a transaction says about it. Do finds out by itself, and says when it could not; a plain
// COMMIT that was not answered is unknown. pgx is not asked whether it was safe to retry: of a connection that dies while
// it waits for the answer it says that nothing was sent.
func saidOf(how string, err error, finished bool) Said {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return OK
	case errors.Is(err, outbox.ErrDuplicateMessage):
		return Duplicate
	case errors.Is(err, sqltx.ErrCommitUnknown):
		return Unknown
	case !finished || how != "publish", errors.Is(err, pgx.ErrTxCommitRollback):
		return RolledBack
	case errors.As(err, &pg) && pg.Severity == "ERROR":
		return RolledBack
	}
	return Unknown
}

// business is what the application itself writes, and then the messages. The counters' row locks order the writers of a
// key, so that its numbers have no gaps.
func (w *writer) business(ctx context.Context, tx pgx.Tx, p *plan, t *Tx, publish func(Order, ...outbox.Option) (string, error)) error {
	numbers := make([]int64, len(p.keys))
	var b pgx.Batch
	for i, key := range p.keys {
		b.Queue("UPDATE ledger_key SET n = n + 1 WHERE key = $1 RETURNING n", key).QueryRow(func(r pgx.Row) error { return r.Scan(&numbers[i]) })
	}
	b.Queue("INSERT INTO ledger_tx (tx) VALUES ($1)", t.ID.String())
	poison := ""
	if p.poison {
		poison = w.Options.Poison[w.rng.IntN(len(w.Options.Poison))]
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("torture: count: %w", err)
	}
	if poison != "" {
		tag, err := tx.Exec(ctx, "INSERT INTO ledger_poison (consumer, key, n) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", poison, p.keys[0], numbers[0])
		if err != nil {
			return fmt.Errorf("torture: note the poison: %w", err)
		}
		if tag.RowsAffected() == 0 {
			poison = ""
		}
	}
	for i, key := range p.keys {
		m := Order{Key: key, N: numbers[i]}
		if i == 0 {
			m.Poison = poison
		}
		var opts []outbox.Option
		if p.ownIDs {
			opts = append(opts, outbox.ID(p.ids[i]))
		}
		if p.savepoint {
			if err := w.undone(ctx, tx, t, m); err != nil {
				return err
			}
		}
		text, err := publish(m, opts...)
		if text == "" && p.ownIDs {
			text = p.ids[i]
		}
		id, perr := parseMsgID(text)
		if perr == nil {
			t.Messages = append(t.Messages, Message{ID: id, Key: key, N: numbers[i]})
		}
		if err := errors.Join(err, perr); err != nil {
			if len(t.Messages) > 0 {
				w.txs.add(t)
			}
			return err
		}
	}
	return nil
}

// undone publishes m below a savepoint and takes it back.
func (w *writer) undone(ctx context.Context, tx pgx.Tx, t *Tx, m Order) error {
	below, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	text, err := w.box.Publish(ctx, sqltx.Pgx(below), m)
	if err != nil {
		return err
	}
	id, err := parseMsgID(text)
	if err != nil {
		return err
	}
	t.Messages = append(t.Messages, Message{ID: id, Key: m.Key, N: m.N, Undone: true})
	return below.Rollback(ctx)
}

// publish records m in tx; with the bug planted, in a transaction of its own.
func (w *writer) publish(ctx context.Context, tx pgx.Tx, m Order, opts []outbox.Option) (id string, err error) {
	if planted.Is(planted.PublishApart) {
		err = pgx.BeginFunc(ctx, w.pool, func(own pgx.Tx) error {
			id, err = w.box.Publish(ctx, sqltx.Pgx(own), m, opts...)
			return err
		})
		return id, err
	}
	return w.box.Publish(ctx, sqltx.Pgx(tx), m, opts...)
}
