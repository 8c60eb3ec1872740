package store

import (
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Postgres makes the store of a PostgreSQL database, 13 or later. Make db with sqltx.PgxDB, sqltx.StdDB or package
// postgres. Nothing is asked of the database before the first call. Errors name every option that is wrong.
func Postgres(db sqltx.Runner, opts *Options) (*Store, error) {
	s, err := newStore(db, opts, postgres{}, "sixfold", "")
	if err != nil {
		return nil, err
	}
	s.outbox.writer = newPgWriter(s)
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		s.outbox.queues[t] = newPgQueue(s, t)
	}
	s.outbox.leases = newPgLeases(s)
	s.outbox.keeper = newPgKeeper(s)
	s.inbox.Store = newPgInbox(s)
	s.broker = newBroker(s, newPgBroker(s))
	s.blobs = Blobs{s.db, newPgBlobs(s)}
	later := newPgSchedule(s)
	s.schedule = newSchedule(s, later)
	s.sagas = newSagas(s, newPgSaga(later))
	s.requests = newRequests(s, later)
	s.answers = newAnswers(s, later)
	return s, nil
}

type postgres struct{}
