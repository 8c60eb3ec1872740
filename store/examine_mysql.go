package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// mysql runs the checks that only MySQL and MariaDB have.
func (e *examination) mysql(ctx context.Context, k *myKeeper) {
	e.each("sequence", Problem, errors.Join(k.sequence(ctx, outbox.ToBroker.String()), k.sequence(ctx, outbox.ToLocal.String())), "numbers never come again")
	e.each("gate", Problem, k.gate(ctx), "every writer can be seen")
	vars, err := k.variables(ctx)
	if err != nil {
		e.failed("durability", err)
		return
	}
	e.all("durability", vars.durability(), "what is committed survives a crash")
	e.all("cluster", vars.cluster(), "one server gives out the numbers, without leaving any out")
	for _, c := range []struct{ check, fine string }{{"isolation", "this session reads what is committed"}, {"sql_mode", "nothing is cut in silence"}} {
		var of []Finding
		for _, f := range vars.session() {
			if f.Check == c.check {
				of = append(of, f)
			}
		}
		e.all(c.check, of, c.fine)
	}
	e.openOnMySQL(ctx)
}

// all reports findings, or that there are none.
func (e *examination) all(check string, found []Finding, fine string) {
	e.found = append(e.found, found...)
	if len(found) == 0 {
		e.report(check, Fine, fine, "")
	}
}

// openOnMySQL reports transactions that are open for long: they keep the server from removing rows that were delivered.
func (e *examination) openOnMySQL(ctx context.Context) {
	const q = "SELECT trx_mysql_thread_id, trx_rows_modified, TIMESTAMPDIFF(SECOND, trx_started, NOW()) FROM information_schema.INNODB_TRX WHERE TIMESTAMPDIFF(SECOND, trx_started, NOW()) >= ? ORDER BY trx_started LIMIT 5"
	some := false
	err := e.s.db.EachRow(ctx, q, []any{int64(e.o.OldTransaction / time.Second)}, func(r sqltx.Rows) error {
		some = true
		var thread, rows, age int64
		if err := r.Scan(&thread, &rows, &age); err != nil {
			return err
		}
		if thread == 0 { // nobody's, until a coordinator decides
			e.report("transactions", Warning, fmt.Sprintf("a prepared XA transaction with %d changed rows has been open for %v", rows, time.Duration(age)*time.Second),
				"see XA RECOVER, then XA COMMIT or XA ROLLBACK it, as its coordinator decided")
			return nil
		}
		e.report("transactions", Warning, fmt.Sprintf("connection %d has had a transaction open for %v, with %d changed rows", thread, time.Duration(age)*time.Second, rows),
			fmt.Sprintf("end it where it began, or with KILL %d", thread))
		return nil
	})
	if code := mysqlCode(err); code == 1227 || code == 1142 || code == 1044 {
		e.report("transactions", Warning, "this user may not see other users' transactions", "run this with a user that has the privilege PROCESS")
	} else if err != nil {
		e.failed("transactions", err)
	} else if !some {
		e.report("transactions", Fine, fmt.Sprintf("none has been open for %v", e.o.OldTransaction), "")
	}
}
