package store

import (
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// SQLite makes the store of an SQLite database, 3.35 or later, in one process or several of one machine. With
// modernc.org/sqlite open the file as
//
//	file:app.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)
//
// _txlock=immediate matters most: a transaction that reads before it writes fails at once otherwise when another one has
// written meanwhile, and the error says so. ":memory:" is another database for each connection: limit the pool to one.
// Nothing is asked of the database before the first call. Errors name every option that is wrong.
func SQLite(db sqltx.Runner, opts *Options) (*Store, error) {
	var bad error
	if opts != nil && opts.Schema != "" {
		bad = errors.New("store: option Schema " + quoteCut(opts.Schema) + ": SQLite has no schemas; set Prefix")
	}
	s, err := newStore(db, opts, sqlite{}, "", "sixfold_")
	if err := errors.Join(bad, err); err != nil {
		return nil, err
	}
	l := &lite{db: s.db, names: s.names, keep: s.keep, clock: time.Now}
	if opts != nil && opts.Clock != nil {
		l.clock = opts.Clock
	}
	w := newLiteWriter(l)
	w.later = &s.schedule.delayed
	s.outbox.writer = w
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		s.outbox.queues[t] = newLiteQueue(l, t)
	}
	s.outbox.leases = newLiteLeases(l)
	s.outbox.keeper = newLiteKeeper(l, &s.migrations)
	s.inbox.Store = newLiteInbox(l)
	s.broker = newBroker(s, newLiteBroker(l, s))
	s.blobs = Blobs{s.db, newLiteBlobs(l)}
	later := newLiteSchedule(l)
	s.schedule = newSchedule(s, later)
	s.sagas = newSagas(s, &sagaSQL{scheduleSQL: later})
	s.requests = newRequests(s, later)
	s.answers = newAnswers(s, later)
	return s, nil
}

type sqlite struct{}

// lite is what the parts of an SQLite store share. SQLite has no functions to keep statements in, and needs none: it
// plans each by the rowid, and a statement costs no round trip.
type lite struct {
	db    sqltx.Runner
	names names
	keep  time.Duration
	clock func() time.Time
}

// now is the clock in the unit of the tables.
func (l *lite) now() int64 { return l.clock().UnixMicro() }

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// jsonInts is the JSON array of ns, for json_each.
func jsonInts(ns []int64) string {
	b := []byte(intArray(ns))
	b[0], b[len(b)-1] = '[', ']'
	return string(b)
}
