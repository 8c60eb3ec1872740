package store

import (
	"testing"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// A server that recovers from a crash gives numbers of transactions out again that never reached its log, so
// "committed" proves nothing about a transaction of an earlier run.
func TestOutcomeIsNotBelievedAfterACrash(t *testing.T) { // guarantees: O3
	server := servers.PrivatePostgres(t, nil)
	dsn, err := server.CreateDatabase(t.Context(), t.Name())
	must(t, err)
	db := sqltx.PgxDB(pool(t, roles.On(t, dsn, nil).Application))
	st, err := store.Postgres(db, nil)
	must(t, err)
	var xact string
	must(t, db.InTx(t.Context(), func(tx sqltx.Tx) (err error) {
		_, xact, err = st.Outbox().Writer().Append(t.Context(), tx, outbox.ToBroker, []outbox.Row{row("k")}, true)
		return err
	}))
	if got, err := st.Outbox().Writer().Outcome(t.Context(), xact); err != nil || got != outbox.Committed {
		t.Fatalf("in the same run: outcome %v, %v", got, err)
	}
	server.Restart(t, servers.Immediate)
	if got, err := st.Outbox().Writer().Outcome(t.Context(), xact); err == nil || got != outbox.Unknown {
		t.Errorf("after a crash: outcome %v, %v; want Unknown and why", got, err)
	}
}
