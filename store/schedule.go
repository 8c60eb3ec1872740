package store

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Schedule is the scheduler's part of a Store; it implements schedule.Store.
type Schedule struct {
	delayed   delayedTable
	recurring scheduleTable
	history   *tickTable
	next      myStatement
	passing   func(error) bool
}

var _ schedule.Store = (*Schedule)(nil)

// Schedule of the store. Always the same one.
func (s *Store) Schedule() *Schedule { return &s.schedule }

func newSchedule(s *Store, d *scheduleSQL) Schedule {
	history := newTickTable(d)
	return Schedule{newDelayedTable(d, s.outbox.Bell), newScheduleTable(d, s, history), history, d.statement(d.next), s.inbox.Passing}
}

// Delayed implements schedule.Store.
func (s *Schedule) Delayed() schedule.DelayedStore { return &s.delayed }

// Recurring implements schedule.Store.
func (s *Schedule) Recurring() schedule.RecurringStore { return &s.recurring }

// History implements schedule.Store.
func (s *Schedule) History() schedule.HistoryStore { return s.history }

// Next implements schedule.Store.
func (s *Schedule) Next(ctx context.Context, from time.Time) (due schedule.Due, err error) {
	var delayed, recurring, now int64
	since := int64(0)
	if !from.IsZero() {
		since = from.UnixMicro()
	}
	d := s.delayed.scheduleSQL
	err = d.rows(ctx, s.next, func(r sqltx.Rows) error { return r.Scan(&delayed, &recurring, &now) }, since)
	in := func(at int64) time.Duration {
		switch {
		case at == 0:
			return schedule.Never
		case at-now > math.MaxInt64/1000: // further away than a duration says
			return schedule.Never - 1
		}
		return time.Duration(at-now) * time.Microsecond
	}
	return schedule.Due{Delayed: in(delayed), Recurring: in(recurring)}, failed("ask what is due next", err)
}

// Passing implements schedule.Store.
func (s *Schedule) Passing(err error) bool { return s.passing(err) }

// scheduleSQL is what databases do differently for the scheduler's tables. Its statements have parameters as ?1, times as
// microseconds since 1970, and the words of scheduleWords.
type scheduleSQL struct {
	db sqltx.Runner
	// statement fills in names and words.
	statement func(sql string) myStatement
	// late fills in what is known when a statement runs only. Nil: nothing.
	late func(sql string) string
	// upsert is the end of an INSERT that replaces columns of a row whose key is there. ignore and ignoreTail are the
	// beginning and the end of one that leaves it alone.
	upsert     func(key string, columns []string) string
	ignore     string
	ignoreTail func(key string) string
	// claimed enters claims and answers which rows are refused.
	claimed func(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) (refused []int, err error)
	// next asks when, in microseconds or 0, the next message from ?1 on and the next schedule are due, and what time it is.
	next    string
	promote func(ctx context.Context, limit int, from time.Time) (schedule.Promotion, error)
	// find locks the schedule ?1, due those that are due, at most ?1, and listed has occurrences of the schedule ?1 before ?2, at most ?3: all are
	// what stands behind FROM.
	find, due, listed string
	// unhandled, enter and save do their part of Advance in one statement for any number. Nil: it takes several.
	unhandled func(ctx context.Context, tx sqltx.Tx, es []schedule.Entry) error
	enter     func(ctx context.Context, tx sqltx.Tx, os []schedule.Occurrence) (entered int64, err error)
	save      func(ctx context.Context, tx sqltx.Tx, es []*schedule.Entry) error
	// purge is the number of occurrences older than ?1 that it removes, at most ?2. Empty: they are removed one by one.
	purge string
	// cancel and move change the message ?1, the latter to the time ?2 or in ?3 from now, and answer a schedule.Found. Empty: two
	// statements do.
	cancel, move string
}

// The same of find, due and listed.
const (
	scheduleFind = "{{schedule}} WHERE name = ?1 @update"
	scheduleDue  = "{{schedule}} WHERE wake_at <= @now ORDER BY wake_at LIMIT ?1 @skip"
	tickListed   = "{{tick}} WHERE schedule = ?1 AND planned < @at(?2) ORDER BY planned DESC LIMIT ?3"
)

// scheduleNext is the next of scheduleSQL where plans need no guard.
const scheduleNext = `SELECT coalesce((SELECT @us(due_at) FROM {{delayed}} WHERE due_at >= @at(?1) ORDER BY due_at, n LIMIT 1), 0),
coalesce((SELECT @us(wake_at) FROM {{schedule}} WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1), 0), @clock`

// batchSizes are the numbers of rows that one statement writes, so that few texts are ever prepared.
var batchSizes = [...]int{64, 8, 1}

// text is the statement as it runs now.
func (d *scheduleSQL) text(s myStatement) string {
	if d.late != nil {
		return d.late(s.sql)
	}
	return s.sql
}

func (d *scheduleSQL) exec(ctx context.Context, tx sqltx.Tx, s myStatement, args ...any) (int64, error) {
	return tx.Exec(ctx, d.text(s), s.values(args)...)
}

func (d *scheduleSQL) each(ctx context.Context, tx sqltx.Tx, s myStatement, scan func(sqltx.Rows) error, args ...any) error {
	return tx.Each(ctx, d.text(s), s.values(args), scan)
}

func (d *scheduleSQL) rows(ctx context.Context, s myStatement, scan func(sqltx.Rows) error, args ...any) error {
	return d.db.EachRow(ctx, d.text(s), s.values(args), scan)
}

// values are the arguments in the dialect's order.
func (s myStatement) values(args []any) []any {
	if s.order == nil {
		return args
	}
	return s.args(args)
}

// batches are one INSERT for each of batchSizes rows. row is the list of one row's values, with parameters from ?1 on, and
// width their number.
type batches struct {
	width int
	sized [len(batchSizes)]myStatement
}

func (d *scheduleSQL) batches(head, row, tail string, width int) (b batches) {
	b.width = width
	for i, n := range batchSizes {
		var sql strings.Builder
		sql.WriteString(head)
		for r := range n {
			if r > 0 {
				sql.WriteString(", ")
			}
			sql.WriteString(shifted(row, r*width))
		}
		sql.WriteString(tail)
		b.sized[i] = d.statement(sql.String())
	}
	return b
}

// run writes the rows whose values are args, one after the other, and answers how many were written.
func (b *batches) run(ctx context.Context, d *scheduleSQL, tx sqltx.Tx, args []any) (n int64, err error) {
	for i, rows := range batchSizes {
		for len(args) >= rows*b.width {
			m, err := d.exec(ctx, tx, b.sized[i], args[:rows*b.width]...)
			if err != nil {
				return n, err
			}
			n += m
			args = args[rows*b.width:]
		}
	}
	return n, nil
}

// runIdempotent is run for rows that may be written twice in a statement. The last one of them is, where that makes one statement of many.
func (b *batches) runIdempotent(ctx context.Context, d *scheduleSQL, tx sqltx.Tx, args []any) (n int64, err error) {
	for i, rows := range batchSizes {
		less := 1
		if i+1 < len(batchSizes) {
			less = batchSizes[i+1]
		}
		over := len(args) / b.width % rows
		if over <= 2*less {
			continue
		}
		last := args[len(args)-b.width:]
		for ; over < rows; over++ {
			args = append(args, last...)
		}
		break
	}
	return b.run(ctx, d, tx, args)
}

// microsOf is t for a parameter; nil for none.
func microsOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// instant is the opposite; 0 is no time.
func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
