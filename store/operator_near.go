package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

const (
	// nearSample is how many rows say which time a place of the table is of. Few rows were written long after their ids
	// were minted, by a long transaction or by a clock that is wrong, so the one in the middle can be believed.
	nearSample = 64
	// nearRange is how many seqs the search leaves, and how far around them rows are looked at first.
	nearRange = 8_192
	// nearWide is how far they are looked at then.
	nearWide = 65_536
)

// Near answers the rows of t with an id, whole, if they are where the time in the id leads. Ids that Sixfold mints (UUIDs
// of version 7) rise almost as seqs do, so a binary search over the primary key comes to the place with a few rows; then at
// most some 150,000 rows around it are looked at. It finds nothing where the id is of another version, was minted long
// before its row was written, or stands among ids of other kinds; and of an id that was used twice it may find one row.
// Find looks at every row.
func (o *Operator) Near(ctx context.Context, t outbox.Table, id string) (list []Entry, err error) {
	want, ok := minted(id)
	if !ok {
		return nil, nil
	}
	err = o.look(ctx, func(tx sqltx.Tx, q questions) error {
		lo, hi, err := q.place(ctx, tx, t, want)
		if err != nil || hi == 0 {
			return err
		}
		for _, around := range []int64{nearRange, nearWide} {
			err := q.each(ctx, tx, q.rows(t, true)+" WHERE seq > ?2 AND seq <= ?3 AND id = ?4{{uuid}} ORDER BY seq LIMIT 100",
				q.args(lo-around, hi+around, strings.ToLower(id)), q.entry(&list))
			if err != nil || len(list) > 0 {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed("find a row of "+t.String(), err)
	}
	return list, nil
}

// minted answers the first eight bytes of a UUID of version 7, which rise with time (RFC 9562, section 5.7).
func minted(id string) (rank uint64, ok bool) {
	u, err := sixfold.ParseID(id)
	return binary.BigEndian.Uint64(u[:8]), err == nil && u[6]>>4 == 7
}

// place answers the range above lo up to hi in which an id of that rank belongs; a hi of 0 is that there is none. Each step
// looks at rows of the upper half alone, so dead rows are walked over once in all steps together.
func (q questions) place(ctx context.Context, tx sqltx.Tx, t outbox.Table, want uint64) (lo, hi int64, err error) {
	highest := "SELECT coalesce(max(seq), 0) FROM {{" + t.String() + "}}"
	if err := q.each(ctx, tx, highest, nil, func(r sqltx.Rows) error { return r.Scan(&hi) }); err != nil {
		return 0, 0, err
	}
	for hi-lo > nearRange {
		middle := lo + (hi-lo)/2
		rank, last, err := q.sample(ctx, tx, t, middle, hi)
		switch {
		case err != nil:
			return 0, 0, err
		case last > 0 && rank == 0: // of other kinds, among which there is no order
			return 0, 0, nil
		case last > 0 && rank < want:
			lo = last
		default: // too late, or nothing is there
			hi = middle
		}
	}
	return lo, hi, nil
}

// sample answers the middle one of the ranks of the first rows between two seqs, 0 without ids of version 7, and the seq of
// the last of these rows, 0 without rows.
func (q questions) sample(ctx context.Context, tx sqltx.Tx, t outbox.Table, after, upTo int64) (rank uint64, last int64, err error) {
	id := "id"
	if q.pg {
		id = "id::text"
	}
	var ranks []uint64
	first := "SELECT seq, " + id + " FROM {{" + t.String() + "}} WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"
	err = q.each(ctx, tx, first, []any{after, upTo, nearSample}, func(r sqltx.Rows) error {
		var id string
		if err := r.Scan(&last, &id); err != nil {
			return err
		}
		if rank, ok := minted(id); ok {
			ranks = append(ranks, rank)
		}
		return nil
	})
	if err != nil || len(ranks) == 0 {
		return 0, last, err
	}
	slices.SortFunc(ranks, cmp.Compare[uint64])
	return ranks[len(ranks)/2], last, nil
}
