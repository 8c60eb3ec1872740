package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// What a transaction that advances schedules asks and writes is one statement of each kind for any number of them: with one for
// each few, a thousand occurrences a second were late for the round trips alone.

// enterAtMost is how many occurrences one statement enters, which bounds its size.
const enterAtMost = 5000

// time adds t in a form that no setting of the session changes the meaning of, NULL for none.
func (w *arrayWriter) time(t time.Time) {
	if t.IsZero() {
		w.null()
		return
	}
	w.comma()
	w.b = append(w.b, '"')
	w.b = t.UTC().AppendFormat(w.b, "2006-01-02 15:04:05.999999+00")
	w.b = append(w.b, '"')
}

func (p *pgSchedule) unhandled(ctx context.Context, tx sqltx.Tx, es []schedule.Entry) error {
	var asked []int
	froms, tos, ids := newArray(64), newArray(64), newArray(64)
	for i := range es {
		if es[i].NoOverlap && es[i].LastID != "" {
			asked = append(asked, i)
			froms.int(es[i].LastFrom)
			tos.int(es[i].LastTo)
			ids.text(es[i].LastID)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	return tx.Each(ctx, p.unhandledRows, []any{froms.String(), tos.String(), ids.String()}, func(r sqltx.Rows) error {
		var place int
		err := r.Scan(&place)
		if place > 0 {
			es[asked[place-1]].Unhandled = true
		}
		return err
	})
}

func (p *pgSchedule) enter(ctx context.Context, tx sqltx.Tx, os []schedule.Occurrence) (entered int64, err error) {
	for ; len(os) > 0 && err == nil; os = os[min(enterAtMost, len(os)):] {
		some := os[:min(enterAtMost, len(os))]
		names, planned, promoted, ids, notes := newArray(24*len(some)), newArray(30*len(some)), newArray(30*len(some)), newArray(39*len(some)), newArray(3*len(some))
		outcomes, missed, local, relayed := newArray(2*len(some)), newArray(2*len(some)), newArray(6*len(some)), newArray(6*len(some))
		for i := range some {
			o := &some[i]
			names.text(o.Schedule)
			planned.time(o.Planned)
			promoted.time(o.Promoted)
			outcomes.int(int64(o.Outcome))
			ids.text(o.ID)
			missed.int(int64(o.Missed))
			local.bool(o.Local)
			relayed.bool(o.Relayed)
			notes.text(o.Note)
		}
		var n int64
		err = tx.Each(ctx, p.enterAll, []any{names.String(), planned.String(), promoted.String(), outcomes.String(), ids.String(), missed.String(), local.String(), relayed.String(), notes.String()},
			func(r sqltx.Rows) error { return r.Scan(&n) })
		entered += n
	}
	return entered, err
}

func (p *pgSchedule) save(ctx context.Context, tx sqltx.Tx, es []*schedule.Entry) error {
	names, next, wake, last, ids, problems := newArray(24*len(es)), newArray(30*len(es)), newArray(30*len(es)), newArray(30*len(es)), newArray(39*len(es)), newArray(3*len(es))
	states, runs, from, to := newArray(2*len(es)), newArray(8*len(es)), newArray(8*len(es)), newArray(8*len(es))
	for _, e := range es {
		names.text(e.Name)
		states.int(int64(e.State))
		runs.int(e.Runs)
		next.time(e.Next)
		wake.time(e.Wake)
		last.time(e.Last)
		ids.text(e.LastID)
		from.int(e.LastFrom)
		to.int(e.LastTo)
		problems.text(e.Problem)
	}
	_, err := tx.Exec(ctx, p.saveAll, names.String(), states.String(), runs.String(), next.String(), wake.String(), last.String(), ids.String(), from.String(), to.String(), problems.String())
	return err
}
