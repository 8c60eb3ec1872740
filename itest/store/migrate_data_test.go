package store

import (
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Sagas and requests go and come with their migrations, whatever is in their tables, and nothing else is touched: a message that was written before
// is there afterwards.
func TestMigrationsWithDataInThem(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (*store.Store, sqltx.Runner){
		"PostgreSQL": func(t *testing.T) (*store.Store, sqltx.Runner) { st, p := migrated(t, nil); return st, sqltx.PgxDB(p) },
		"MariaDB": func(t *testing.T) (*store.Store, sqltx.Runner) {
			st, db := onMariaDB(t, nil)
			return st, sqltx.StdDB(db)
		},
		"SQLite": func(t *testing.T) (*store.Store, sqltx.Runner) { return lite(t, "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			st, db := open(t)
			fill := func() {
				t.Helper()
				must(t, db.InTx(t.Context(), func(tx sqltx.Tx) error {
					in, err := st.Sagas().Instances().Load(t.Context(), tx, "renewal", "ann", sixfold.NewID())
					if err != nil {
						return err
					}
					if in.Version != 0 {
						t.Errorf("there is an instance of version %d", in.Version)
					}
					in.State, in.Schema, in.Step = []byte("{}"), 1, "s"
					if err := st.Sagas().Instances().Save(t.Context(), tx, in, &saga.Entry{Instance: in.ID, Kind: saga.Stepped, Step: "s", Version: 1}); err != nil {
						return err
					}
					first, _, _, _, err := st.Answers().Enter(t.Context(), tx, [16]byte{1}, [16]byte{2})
					if err == nil && !first {
						t.Error("a request was entered before")
					}
					if err != nil {
						return err
					}
					return st.Answers().Save(t.Context(), tx, [16]byte{1}, "application/json", []byte("1"))
				}))
				must(t, st.Requests().Stay(t.Context(), "ear/1", []string{"request/stock"}, time.Minute))
				if n, err := st.Requests().Put(t.Context(), "request/stock", false, []byte("[]"), nil, time.Minute); n != 1 || err != nil {
					t.Errorf("%d requests were put: %v", n, err)
				}
			}
			put(t, st, db, row("before"))
			fill()
			for _, down := range []int{5, 4} {
				must(t, st.Migrations().Down(t.Context(), down))
				if _, err := st.Outbox().Keeper().Check(t.Context()); err == nil {
					t.Errorf("a program that knows sagas and requests runs on schema %d", down)
				}
				must(t, st.Migrate(t.Context()))
				if down == 4 {
					fill()
				}
			}
			list, err := st.Sagas().Records().List(t.Context(), saga.Filter{}, saga.Page{Limit: 10})
			if err != nil || len(list) != 1 || list[0].Version != 1 {
				t.Errorf("%+v, %v", list, err)
			}
			taken := 0
			if n, err := st.Requests().Take(t.Context(), "ear/1", 10, func(string, []byte, []byte, time.Duration) { taken++ }); n != 1 || taken != 1 || err != nil {
				t.Errorf("%d requests were taken: %v", n, err)
			}
			rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 10, everything(""))
			if err != nil || len(rows) != 1 || rows[0].Key != "before" {
				t.Errorf("%+v, %v", rows, err)
			}
			if _, err := st.Outbox().Keeper().Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
