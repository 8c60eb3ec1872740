package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Requests is the database as what carries requests and replies between processes: rows that wait at an address until who
// listens there has read them, once, or until their time has passed. It satisfies sqlqueue.RequestStore, whose words say
// what each method does. Times are the database's. It is safe for concurrent use.
type Requests struct {
	*scheduleSQL
	marked                        func(error) error
	bell                          *outbox.Bell
	puts                          *puts
	listens, places, put          myStatement
	waiting, take                 myStatement
	stay, leave, sweep, forgotten myStatement
}

const (
	// placeGoneFor is how long a place may have been over before it is removed.
	placeGoneFor = time.Minute
	// sweepRows is how many rows one Stay removes at most.
	sweepRows = 500
)

// Requests of the store. Always the same one.
func (s *Store) Requests() *Requests { return &s.requests }

func newRequests(s *Store, d *scheduleSQL) Requests {
	return Requests{scheduleSQL: d, puts: new(puts), marked: s.broker.marked, bell: s.broker.bell,
		listens: d.statement("SELECT 1 FROM {{request_place}} WHERE address = ?1 AND until > @now LIMIT 1"),
		places:  d.statement("SELECT place FROM {{request_place}} WHERE address = ?1 AND until > @now ORDER BY place"),
		put:     d.statement("INSERT INTO {{request}} (address, head, body, sent_at, expires_at) VALUES (?1, ?2, ?3, @now, @in(?4))"),
		waiting: d.statement("SELECT n, address, head, body, @clock - @us(sent_at) FROM {{request}} WHERE address IN " +
			"(SELECT address FROM {{request_place}} WHERE place = ?1) AND expires_at > @now ORDER BY n LIMIT ?2"),
		take:      d.statement("DELETE FROM {{request}} WHERE n = ?1"),
		stay:      d.statement("INSERT INTO {{request_place}} (place, address, until) VALUES (?1, ?2, @in(?3))" + d.upsert("place, address", []string{"until"})),
		leave:     d.statement("DELETE FROM {{request_place}} WHERE place = ?1 AND address = ?2"),
		sweep:     d.statement("DELETE FROM {{request}} WHERE n IN (SELECT n FROM (SELECT n FROM {{request}} WHERE expires_at <= @now ORDER BY expires_at LIMIT ?1) old)"),
		forgotten: d.statement("DELETE FROM {{request_place}} WHERE until < @ago(?1)"),
	}
}

// do runs one statement that writes by itself.
func (r *Requests) do(ctx context.Context, s myStatement, args ...any) (int64, error) {
	return r.db.ExecSQL(ctx, r.text(s), s.values(args)...)
}

// Stay enters a place at addresses, or keeps it there, for so long; 0 ends it. It also removes some of what nobody will read.
func (r *Requests) Stay(ctx context.Context, place string, addresses []string, ttl time.Duration) error {
	for _, address := range addresses {
		if _, err := r.do(ctx, r.stay, place, address, ttl.Microseconds()); err != nil {
			return r.marked(failed("listen at "+quoteCut(address), err))
		}
	}
	_, err := r.do(ctx, r.sweep, sweepRows)
	if err == nil {
		_, err = r.do(ctx, r.forgotten, placeGoneFor.Microseconds())
	}
	return r.marked(failed("remove old requests", err))
}

// Leave takes a place away from addresses.
func (r *Requests) Leave(ctx context.Context, place string, addresses []string) error {
	for _, address := range addresses {
		if _, err := r.do(ctx, r.leave, place, address); err != nil {
			return r.marked(failed("leave "+quoteCut(address), err))
		}
	}
	return nil
}

// letter is a row that was read.
type letter struct {
	n          int64
	address    string
	head, body []byte
	waited     int64
}

// Take removes up to limit rows from the addresses of a place, the oldest first, and hands over those that it removed itself
// after they are gone for good, with the time that they waited. It answers how many.
func (r *Requests) Take(ctx context.Context, place string, limit int, hand func(address string, head, body []byte, waited time.Duration)) (int, error) {
	var found []letter
	err := r.rows(ctx, r.waiting, func(row sqltx.Rows) error {
		var l letter
		err := row.Scan(&l.n, &l.address, &l.head, &l.body, &l.waited)
		found = append(found, l)
		return err
	}, place, limit)
	if err != nil || len(found) == 0 {
		return 0, r.marked(failed("look for requests", err))
	}
	var ours []letter
	err = r.db.InTx(ctx, func(tx sqltx.Tx) error {
		ours = ours[:0] // the library may run this again
		for _, l := range found {
			n, err := r.exec(ctx, tx, r.take, l.n)
			if err != nil {
				return err
			}
			if n == 1 { // else another has it
				ours = append(ours, l)
			}
		}
		return nil
	})
	if err != nil { // perhaps they are gone: then they were taken by nobody, which is better than twice
		return 0, r.marked(failed("take requests", err))
	}
	for _, l := range ours {
		hand(l.address, l.head, l.body, time.Duration(max(l.waited, 0))*time.Microsecond)
	}
	return len(ours), nil
}

// Bell rings when something may have come. It is that of the local table, which package postgres tells other processes of.
func (r *Requests) Bell() *outbox.Bell { return r.bell }
