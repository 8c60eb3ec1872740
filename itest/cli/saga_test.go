package cli

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

type (
	placed     struct{ Number string }
	reserve    struct{ Number string }
	reserved   struct{ Number string }
	missing    struct{ Number string }
	release    struct{ Number string }
	pay        struct{ Number string }
	paid       struct{ Number string }
	subscribed struct{ Number string }
	renew      struct{ Number string }
	ended      struct{ Number string }
)

func (placed) MessageName() string     { return "shop.placed" }
func (reserve) MessageName() string    { return "shop.reserve" }
func (reserved) MessageName() string   { return "shop.reserved" }
func (missing) MessageName() string    { return "shop.missing" }
func (release) MessageName() string    { return "shop.release" }
func (pay) MessageName() string        { return "shop.pay" }
func (paid) MessageName() string       { return "shop.paid" }
func (subscribed) MessageName() string { return "shop.subscribed" }
func (renew) MessageName() string      { return "shop.renew" }
func (ended) MessageName() string      { return "shop.ended" }

type order struct{ Secret string }

// sagas are a flow and a saga on an SQLite file, as a service has them.
type sagas struct {
	db         *sql.DB
	fulfilment *flow.Flow[*sql.Tx, order]
	renewal    *saga.Saga[*sql.Tx, order]
	routes     []sixfold.Route
}

func openSagas(ctx context.Context, path string) (*sagas, error) {
	file, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return nil, err
	}
	db := sqltx.StdDB(file)
	st, err := store.SQLite(db, nil)
	if err != nil {
		return nil, err
	}
	if err := st.Migrate(ctx); err != nil {
		return nil, err
	}
	out, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("stock", reserve{}, release{}, pay{}), outbox.ToConsumer("orders", renew{}, flow.Timer("fulfilment")))
	if err != nil {
		return nil, err
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return nil, err
	}
	box, err := saga.NewBox(in, out, st.Sagas(), nil)
	if err != nil {
		return nil, err
	}
	s := &sagas{db: file}
	s.fulfilment, err = flow.New("fulfilment", box, nil,
		flow.Begin(func(m placed) string { return m.Number }, func(s *order, m placed) error { s.Secret = "of " + m.Number; return nil }),
		flow.Step("reserve",
			flow.Do(func(*order) reserve { return reserve{} }),
			flow.Then(func(m reserved) string { return m.Number }, func(*order, reserved) error { return nil }),
			flow.Refused(func(m missing) string { return m.Number }, func(*order, missing) error { return nil }),
			flow.Undo(func(*order) release { return release{} })),
		flow.Step("pay",
			flow.Do(func(*order) pay { return pay{} }),
			flow.Then(func(m paid) string { return m.Number }, func(*order, paid) error { return nil })).NoUndo("it is the last one"))
	if err != nil {
		return nil, err
	}
	s.renewal, err = saga.Define("renewal", box,
		saga.StartedBy(func(m subscribed) string { return m.Number }, func(_ context.Context, _ *sql.Tx, s *order, m subscribed, fx *saga.Effects) error {
			s.Secret = "of " + m.Number
			fx.After(time.Hour, renew(m))
			return nil
		}),
		saga.On(func(m ended) string { return m.Number }, func(_ context.Context, _ *sql.Tx, _ *order, _ ended, fx *saga.Effects) error {
			fx.Complete()
			return nil
		}),
		saga.OnTimeout(func(context.Context, *sql.Tx, *order, renew, *saga.Effects) error { return nil }))
	if err != nil {
		return nil, err
	}
	s.routes = append(s.fulfilment.Routes(), s.renewal.Routes()...)
	return s, nil
}

// tell has a message handled, as an answer to another one if cause is not empty.
func (s *sagas) tell(ctx context.Context, m sixfold.Message, cause string) error {
	env, err := sixfold.NewEnvelope(ctx, "shop", nil, m)
	if err != nil {
		return err
	}
	env.CausationID = cause
	for _, r := range s.routes {
		if r.Name == m.MessageName() {
			return r.Handle(sixfold.WithInfo(ctx, &sixfold.Info{Envelope: env, Consumer: "orders", Attempt: 1}), env)
		}
	}
	return fmt.Errorf("no route takes %s", m.MessageName())
}

// asked is the id of the last command to the stock.
func (s *sagas) asked(ctx context.Context) (id string, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT id FROM sixfold_local WHERE class = 'stock' ORDER BY seq DESC LIMIT 1").Scan(&id)
	return id, err
}

// fill makes instances: of the flow "first", which waits for the stock, and "second", which waits to be paid; of the other saga
// "ann" with a timer, and "bob", which has ended.
func (s *sagas) fill(ctx context.Context) error {
	for _, m := range []sixfold.Message{placed{"first"}, placed{"second"}} {
		if err := s.tell(ctx, m, ""); err != nil {
			return err
		}
	}
	id, err := s.asked(ctx)
	if err != nil {
		return err
	}
	if err := s.tell(ctx, reserved{"second"}, id); err != nil {
		return err
	}
	for _, m := range []sixfold.Message{subscribed{"ann"}, subscribed{"bob"}, ended{"bob"}} {
		if err := s.tell(ctx, m, ""); err != nil {
			return err
		}
	}
	return nil
}

// Each file of testdata/saga is what a user does to sagas. "exits" runs sixfold as it is; "own" one that knows the sagas, and the
// messages of consumer orders; "older" one that knows neither renewal nor the message of its timer.
func TestSagaScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "saga", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	type key struct{}
	with := func(opts func(s *sagas) []cli.Option) func(ts *testscript.TestScript, neg bool, args []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			want, err := strconv.Atoi(args[0])
			if err != nil || neg {
				ts.Fatalf("write: own CODE ARGUMENTS")
			}
			got, err := here(ts.MkAbs("."), []string{"SIXFOLD_DSN=" + ts.Getenv("SIXFOLD_DSN")}, args[1:], opts(ts.Value(key{}).(*sagas))...)
			ts.Check(err)
			_, _ = io.WriteString(ts.Stdout(), got.out)
			_, _ = io.WriteString(ts.Stderr(), got.err)
			if got.code != want {
				ts.Fatalf("the exit code is %d, want %d: %s", got.code, want, got.err)
			}
		}
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: func(e *testscript.Env) error {
				e.Setenv("SIXFOLD_DSN", "sqlite:a.db")
				s, err := openSagas(t.Context(), filepath.Join(e.WorkDir, "a.db"))
				if err != nil {
					return err
				}
				e.Defer(func() { s.db.Close() })
				e.Values[key{}] = s
				return s.fill(t.Context())
			}, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"exits": exits,
				"own": with(func(s *sagas) []cli.Option {
					return []cli.Option{cli.Sagas(s.fulfilment, s.renewal), cli.Routes("orders", s.routes...)}
				}),
				"older": with(func(s *sagas) []cli.Option {
					return []cli.Option{cli.Sagas(s.fulfilment), cli.Routes("orders", s.fulfilment.Routes()...)}
				}),
				"sql": func(ts *testscript.TestScript, _ bool, args []string) {
					_, err := ts.Value(key{}).(*sagas).db.Exec(args[0])
					ts.Check(err)
				}}})
		})
	}
}
