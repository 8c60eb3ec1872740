package store

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pgSchedule is what PostgreSQL does in its own way for the scheduler.
type pgSchedule struct {
	db                                                sqltx.Runner
	promote, claims, unhandledRows, enterAll, saveAll string
}

func newPgSchedule(s *Store) *scheduleSQL {
	p := &pgSchedule{db: s.db,
		promote:       s.names.fill("SELECT moved, coalesce(" + pgMicros("last") + ", 0) FROM {{delayed_promote}}($1::integer, " + pgTime("$2") + ")"),
		unhandledRows: s.names.fill("SELECT n FROM {{schedule_unhandled}}($1::text::bigint[], $2::text::bigint[], $3::text::text[]) u(n)"),
		enterAll: s.names.fill("SELECT {{tick_enter}}($1::text::text[], $2::text::timestamptz[], $3::text::timestamptz[], $4::text::smallint[], " +
			"$5::text::text[], $6::text::integer[], $7::text::boolean[], $8::text::boolean[], $9::text::text[])"),
		saveAll: s.names.fill("SELECT {{schedule_save}}($1::text::text[], $2::text::smallint[], $3::text::bigint[], $4::text::timestamptz[], $5::text::timestamptz[], $6::text::timestamptz[], " +
			"$7::text::text[], $8::text::bigint[], $9::text::bigint[], $10::text::text[])"),
		// In the order of all who enter claims.
		claims: s.names.fill(`WITH u AS MATERIALIZED (SELECT * FROM unnest($1::text::text[], $2::text::uuid[], $3::text::bigint[], $4::text::integer[]) u(claim, id, within, n)),
c AS (INSERT INTO {{published}} AS p (claim, id, until)
    SELECT u.claim, u.id, CASE WHEN u.within = 0 THEN 'infinity' ELSE clock_timestamp() + u.within::double precision * interval '1 microsecond' END FROM u ORDER BY u.claim
    ON CONFLICT (claim) DO UPDATE SET id = excluded.id, until = excluded.until WHERE p.until < clock_timestamp() RETURNING claim)
SELECT u.n FROM u WHERE u.claim NOT IN (SELECT c.claim FROM c)`)}
	// A statement's beginning is a time that an index can be searched for, which the clock itself is not.
	const now = "statement_timestamp()"
	words := scheduleWords{now: now, clock: pgMicros(now), at: pgTime, us: pgMicros, text: func(x string) string { return x + "::text" },
		in: func(x string) string {
			return now + " + " + x + "::bigint::double precision * interval '1 microsecond'"
		},
		ago: func(x string) string {
			return now + " - " + x + "::bigint::double precision * interval '1 microsecond'"
		},
		id: func(x string) string { return x + "::text::uuid" }, lock: "FOR UPDATE", skip: "FOR UPDATE SKIP LOCKED"}
	return &scheduleSQL{db: s.db, upsert: onConflictUpdate, ignore: "INSERT ", ignoreTail: onConflictNothing, claimed: p.claimed, promote: p.promoted,
		find: "{{schedule_find}}(?1::text)", due: "{{schedule_due}}(?1::integer)", listed: "{{tick_list}}(?1::text, @at(?2), ?3::integer)", purge: "{{tick_purge}}(@ago(?1), ?2::integer)", unhandled: p.unhandled, enter: p.enter, save: p.save,
		cancel: "SELECT {{delayed_cancel}}(@id(?1))", move: "SELECT {{delayed_move}}(@id(?1), coalesce(@at(?2), @in(?3)))",
		next: "SELECT coalesce(@us(delayed), 0), coalesce(@us(recurring), 0), @clock FROM {{schedule_next}}(@at(?1))",
		statement: func(sql string) myStatement {
			return myStatement{sql: s.names.fill(dollars(words.fill(sql)))}
		}}
}

// pgTime is the time of microseconds since 1970. All operators are given the very types that PostgreSQL has them for: where an argument
// would have to be converted, an operator of a schema in the search_path could fit better. Hours and what is left of them are exact in the floating point in which
// PostgreSQL multiplies intervals, which all microseconds until the year 9999 are not; and no zone changes their length.
func pgTime(us string) string {
	return "(timestamptz 'epoch' + (" + us + "::bigint / 3600000000)::double precision * interval '1 hour' + (" + us + "::bigint % 3600000000)::double precision * interval '1 microsecond')"
}

// pgMicros is the opposite. Before version 14 an epoch is a floating point number, which ends before the microseconds do.
func pgMicros(at string) string {
	return "(floor(extract(epoch FROM " + at + ")::numeric / 60::numeric)::bigint * 60000000 + extract(microseconds FROM " + at + " AT TIME ZONE 'UTC')::bigint)"
}

func (p *pgSchedule) promoted(ctx context.Context, limit int, from time.Time) (out schedule.Promotion, err error) {
	var last int64
	since := int64(0)
	if !from.IsZero() {
		since = from.UnixMicro()
	}
	err = p.db.EachRow(ctx, p.promote, []any{limit, since}, func(r sqltx.Rows) error { return r.Scan(&out.Moved, &last) })
	if out.Moved < 0 {
		return schedule.Promotion{Busy: true}, err
	}
	out.Last = instant(last)
	return out, err
}

func (p *pgSchedule) claimed(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) (refused []int, err error) {
	again := repeats(rows)
	claims, ids, withins, numbers := newArray(48*len(rows)), newArray(39*len(rows)), newArray(8*len(rows)), newArray(4*len(rows))
	for i := range rows {
		switch {
		case again[i]:
			refused = append(refused, i)
		case rows[i].Claim != "":
			claims.text(claimKey(rows[i].Claim))
			ids.text(rows[i].ID)
			withins.int(rows[i].ClaimFor.Microseconds())
			numbers.int(int64(i))
		}
	}
	err = tx.Each(ctx, p.claims, []any{claims.String(), ids.String(), withins.String(), numbers.String()}, func(r sqltx.Rows) error {
		var n int
		err := r.Scan(&n)
		refused = append(refused, n)
		return err
	})
	return refused, err
}

// Delay implements outbox.Writer.
func (w *pgWriter) Delay(ctx context.Context, tx sqltx.Tx, rows []outbox.DelayedRow, wantXact bool) (refused []int, xact string, err error) {
	if refused, err = w.later.Delay(ctx, tx, rows); err != nil || !wantXact {
		return refused, "", err
	}
	err = tx.Each(ctx, "SELECT "+pgXact, nil, func(r sqltx.Rows) error { return r.Scan(&xact) })
	return refused, xact, failed("delay", err)
}
