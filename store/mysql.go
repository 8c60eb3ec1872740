package store

import (
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// MySQL makes the store of a MySQL or MariaDB database: MariaDB 10.6 or later, MySQL 8.0.14 or later. With
// go-sql-driver/mysql open it as
//
//	user:password@tcp(host:3306)/shop?interpolateParams=true&tx_isolation='READ-COMMITTED'
//
// (MySQL 8 and MariaDB from 11.1 on call it transaction_isolation; the quotes are written %27 in a DSN). READ COMMITTED
// is what the statements are written for: REPEATABLE READ, the server's default, locks gaps between rows, so that
// transactions deadlock and are run again. interpolateParams saves two round trips for each statement. Times are kept in
// UTC whatever the session's zone, and parseTime makes no difference. Nothing is asked of the database before the first
// call. Errors name every option that is wrong.
func MySQL(db sqltx.Runner, opts *Options) (*Store, error) {
	s, err := newStore(db, opts, mysql{}, "", "sixfold_")
	if err != nil {
		return nil, err
	}
	m := &my{db: s.db, names: s.names, keep: s.keep}
	w := newMyWriter(m)
	w.later = &s.schedule.delayed
	s.outbox.writer = w
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		s.outbox.queues[t] = newMyQueue(m, t)
	}
	s.outbox.leases = newMyLeases(m)
	s.outbox.keeper = newMyKeeper(m, s)
	s.inbox.Store = newMyInbox(m)
	s.broker = newBroker(s, newMyBroker(m, s))
	s.broker.maxBody = myMaxBody
	s.blobs = Blobs{s.db, newMyBlobs(m)}
	later := newMySchedule(m, w)
	s.schedule = newSchedule(s, later)
	s.sagas = newSagas(s, &sagaSQL{scheduleSQL: later, peek: true})
	s.requests = newRequests(s, later)
	s.answers = newAnswers(s, later)
	return s, nil
}

type mysql struct{}

// my is what the parts of a MySQL store share. MySQL's functions need privileges of their own where there is a binary log,
// so every statement comes from here.
type my struct {
	db    sqltx.Runner
	names names
	keep  time.Duration
}
