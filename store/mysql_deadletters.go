package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold/sqltx"
)

// What dead letters do otherwise on MySQL, which has neither RETURNING nor UPDATE … FROM, and locks the rows that a statement
// reads in the order in which it reads them.

// myList is the condition that a column is one of ns. They are numbers, and written out: with a list in a subquery MySQL
// would walk over the whole table, and lock it.
func myList(ns []int64) string {
	if len(ns) == 0 {
		return "IN (NULL)"
	}
	list := jsonInts(ns)
	return "IN (" + list[1:len(list)-1] + ")"
}

func myBusyOrDeadlocked(err error) bool {
	code := mysqlCode(err)
	return code == myDeadlock || code == myLockTimeout
}

// enteredAs changes the state of the inbox's records of parked messages.
func (q *letterSQL) enteredAs(state, from int, where string) string {
	if q.my {
		return fmt.Sprintf("UPDATE (SELECT consumer, message FROM {{parked}} WHERE %s) p STRAIGHT_JOIN {{inbox}} b FORCE INDEX (PRIMARY) ON b.consumer = p.consumer AND b.message = p.message SET b.state = %d, b.at = %s WHERE b.state = %d",
			where, state, q.instant(), from)
	}
	return fmt.Sprintf("WITH p AS MATERIALIZED (SELECT consumer, message FROM {{parked}} WHERE %s) UPDATE {{inbox}} AS b SET state = %d, at = %s FROM p WHERE b.consumer = p.consumer AND b.message = p.message AND b.state = %d",
		where, state, q.instant(), from)
}

// exists reports whether a query answers a row.
func (q *letterSQL) exists(ctx context.Context, tx sqltx.Tx, sql string) (there bool, err error) {
	err = q.each(ctx, tx, sql, func(sqltx.Rows) error { there = true; return nil })
	return there, err
}

// myLockLines locks the lines of ns, and those that they could go to, in the order in which everybody locks them.
func (d *DeadLetters) myLockLines(ctx context.Context, tx sqltx.Tx, ns []int64) error {
	q := d.sql()
	var ids []int64
	mine := "FROM {{parked}} p STRAIGHT_JOIN {{line}} k ON %s WHERE p.n " + q.list(ns)
	err := q.each(ctx, tx, "SELECT u.id FROM (SELECT k.id, k.consumer, k.key "+fmt.Sprintf(mine, "k.id = p.line")+" UNION SELECT k.id, k.consumer, k.key "+
		fmt.Sprintf(mine, "k.consumer = p.consumer AND k.key = p.key")+") u ORDER BY u.consumer, u.key, u.id", scanInts(&ids))
	for _, id := range ids {
		if err == nil {
			q := d.sql()
			err = q.each(ctx, tx, "SELECT id FROM {{line}} WHERE id = "+q.arg(id)+" FOR UPDATE", func(sqltx.Rows) error { return nil })
		}
	}
	return err
}

// myOwnLines makes a line for each message that has neither a line nor a key.
func (d *DeadLetters) myOwnLines(ctx context.Context, tx sqltx.Tx, rows []parkedRow) (err error) {
	for i := range rows {
		p := &rows[i]
		if p.line != 0 || p.key != "" {
			continue
		}
		q := d.sql()
		_, err = q.exec(ctx, tx, "INSERT INTO {{line}} (consumer, due, size) VALUES ("+q.arg(p.consumer)+", "+q.instant()+", 1)")
		if err == nil {
			q = d.sql()
			_, err = q.exec(ctx, tx, "UPDATE {{parked}} SET line = LAST_INSERT_ID() WHERE n = "+q.arg(p.n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// myAudit writes entries, fifty at a time.
func (d *DeadLetters) myAudit(ctx context.Context, tx sqltx.Tx, who, action, run, reason string, entries []auditEntry) error {
	for len(entries) > 0 {
		part := entries[:min(len(entries), 50)]
		entries = entries[len(part):]
		q := d.sql()
		var tuples []string
		for _, e := range part {
			values := []string{q.arg(who), q.arg(action), q.arg(run), q.arg(reason), q.arg(e.N), q.arg(e.Consumer), q.arg(e.Message), q.arg(bytesOrNil(e.Before)), q.arg(bytesOrNil(e.After)), q.instant()}
			tuples = append(tuples, "("+strings.Join(values, ", ")+")")
		}
		if _, err := q.exec(ctx, tx, "INSERT INTO {{audit}} (who, action, run, reason, n, consumer, message, before, after, at) VALUES "+strings.Join(tuples, ", ")); err != nil {
			return err
		}
	}
	return nil
}

func bytesOrNil(s string) any {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// myConsumers answers the names of consumers that the inbox knows, by skipping through its primary key.
func (d *DeadLetters) myConsumers(ctx context.Context, tx sqltx.Tx) (names []string, err error) {
	last := ""
	for range 1000 {
		q, found := d.sql(), false
		err = q.each(ctx, tx, "SELECT consumer FROM {{inbox}} WHERE consumer > "+q.arg(last)+" ORDER BY consumer LIMIT 1", func(r sqltx.Rows) error { found = true; return r.Scan(&last) })
		if err != nil || !found {
			break
		}
		names = append(names, last)
	}
	return names, err
}
