// Package libtest runs one set of tests on each library's example: what the library and Sixfold write in one transaction
// is written together or not at all.
package libtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/shop"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A Library is one, with a transaction of type X.
type Library[X any] struct {
	DB sqltx.DB[X]
	// Insert writes an order by the library's own means.
	Insert func(ctx context.Context, tx X, order string) error
	// Nested runs fn in a savepoint of the library's own; nil: it has none.
	Nested func(ctx context.Context, tx X, fn func(X) error) error
}

var errBoom = errors.New("boom")

// Run runs the tests. The database is empty.
func Run[X any](t *testing.T, dsn string, lib Library[X]) {
	ctx := t.Context()
	_, box, err := shop.Open(ctx, lib.DB)
	if err != nil {
		t.Fatal(err)
	}
	both := func(tx X, order string) error {
		if err := lib.Insert(ctx, tx, order); err != nil {
			return err
		}
		_, err := box.Publish(ctx, lib.DB.Tx(tx), shop.OrderPlaced{OrderID: order})
		return err
	}
	// sqltx's savepoints work inside of the library's transaction, and what the library writes in them obeys too.
	savepoint := func(tx X, fn func(X) error) error {
		return lib.DB.Tx(tx).Savepoint(ctx, func(sqltx.Tx) error { return fn(tx) })
	}
	nested := func(tx X, fn func(X) error) error { return lib.Nested(ctx, tx, fn) }
	if lib.Nested == nil {
		nested = savepoint
	}
	for _, c := range []struct {
		name string
		fn   func(tx X) error
		want error
		kept string
	}{
		{"commit", func(tx X) error { return both(tx, "1") }, nil, "1"},
		{"roll back", func(tx X) error { return errors.Join(both(tx, "2"), errBoom) }, errBoom, ""},
		{"savepoint", func(tx X) error { return inParts(tx, both, savepoint) }, nil, "first last"},
		{"the library's own savepoint", func(tx X) error { return inParts(tx, both, nested) }, nil, "first last"},
		{"a failed statement in a savepoint", func(tx X) error {
			err := savepoint(tx, func(tx X) error { return errors.Join(both(tx, "3"), lib.Insert(ctx, tx, "3")) })
			if err == nil {
				return errors.New("an order was placed twice")
			}
			return both(tx, "4")
		}, nil, "4"},
		{"rolled back with a savepoint inside", func(tx X) error {
			return errors.Join(savepoint(tx, func(tx X) error { return both(tx, "5") }), errBoom)
		}, errBoom, ""},
	} {
		t.Run(c.name, func(t *testing.T) { // guarantees: O1
			if err := lib.DB.Run(ctx, c.fn); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			holds(t, dsn, c.kept)
		})
	}
	t.Run("panic", func(t *testing.T) { // guarantees: O1
		func() {
			defer func() { _ = recover() }()
			_ = lib.DB.Run(ctx, func(tx X) error {
				if err := both(tx, "6"); err != nil {
					t.Error(err)
				}
				panic("boom")
			})
		}()
		holds(t, dsn, "")
	})
	t.Run("unit of work", func(t *testing.T) { // guarantees: O1
		for _, fail := range []error{nil, errBoom} {
			err := outbox.Do(ctx, box, lib.DB, func(ctx context.Context, tx X, u *outbox.Unit) error {
				if err := lib.Insert(ctx, tx, "7"); err != nil {
					return err
				}
				u.Publish(shop.OrderPlaced{OrderID: "7"})
				return fail
			})
			if !errors.Is(err, fail) {
				t.Fatal(err)
			}
			if fail == nil {
				holds(t, dsn, "7")
			} else {
				holds(t, dsn, "")
			}
		}
	})
}

// inParts writes three orders, the second in a savepoint that fails.
func inParts[X any](tx X, both func(X, string) error, savepoint func(X, func(X) error) error) error {
	if err := both(tx, "first"); err != nil {
		return err
	}
	if err := savepoint(tx, func(tx X) error { return errors.Join(both(tx, "second"), errBoom) }); !errors.Is(err, errBoom) {
		return errors.Join(errors.New("the savepoint lost its error"), err)
	}
	return both(tx, "last")
}

// holds looks, past the library, for orders and messages, expects the same of both, and removes them.
func holds(t *testing.T, dsn, want string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, q := range []string{"WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d", "WITH d AS (DELETE FROM sixfold.local RETURNING key) SELECT key FROM d"} {
		rows, err := conn.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s answers %q, want %q", q, text, want)
		}
	}
}

// Program runs an example until it has shipped what it placed, twice on one database, and looks at the tables.
func Program(t *testing.T, run func(ctx context.Context, dsn string, out io.Writer) error) {
	dsn := roles.Service(t, servers.Postgres(t).Database(t))
	for n := 1; n <= 2; n++ {
		ctx, stop := context.WithCancel(t.Context())
		out := &output{stop: stop}
		if err := run(ctx, dsn, out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(out.String())
		if len(lines) != 4 || lines[0] != "placed" || lines[2] != "shipped" || lines[1] != lines[3] {
			t.Errorf("run %d printed %q", n, out)
		}
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var orders, shipped, left int
	err = conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM orders JOIN shipments ON order_id = id), (SELECT count(*) FROM sixfold.local)").Scan(&orders, &shipped, &left)
	if err != nil || orders != 2 || shipped != 2 || left != 0 {
		t.Errorf("%d orders, %d shipped, %d messages left, %v", orders, shipped, left, err)
	}
}

// output stops the program once it has shipped.
type output struct {
	strings.Builder
	stop context.CancelFunc
}

func (o *output) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "shipped") {
		o.stop()
	}
	return o.Builder.Write(p)
}
