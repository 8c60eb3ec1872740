package store

import (
	"slices"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// mask has a bit for each partition that is held.
func mask(own *outbox.Ownership) int64 {
	var m uint64
	for p, held := range own.Partitions {
		if held {
			m |= 1 << p
		}
	}
	return int64(m)
}

// rowScan collects rows as read and look-up answer them.
type rowScan struct {
	limit int // of the rows that may come
	rows  []outbox.Row
	r     outbox.Row
	// tellsNull: a ninth column says whether the body is NULL, for libraries that read an empty one as nil.
	tellsNull bool
	null      bool
	dest      [9]any
}

func (in *rowScan) into(class string) func(sqltx.Rows) error {
	r := &in.r
	in.dest = [9]any{&r.Seq, &r.Partition, &r.Attempts, &r.ID, &r.Topic, &r.Key, &r.Attrs, &r.Body, &in.null}
	dest := in.dest[:8]
	if in.tellsNull {
		dest = in.dest[:]
	}
	return func(rows sqltx.Rows) error {
		*r = outbox.Row{}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		switch {
		case r.ID == "":
			*r = outbox.Row{Seq: r.Seq, Partition: r.Partition, Foreign: true}
		case in.tellsNull && !in.null && r.Body == nil:
			r.Body = []byte{}
			fallthrough
		default:
			r.Class = class
		}
		if len(in.rows) == cap(in.rows) {
			// Steeper than append, which would copy a full read five times over.
			in.rows = slices.Grow(in.rows, max(1, min(8+7*len(in.rows), in.limit-len(in.rows))))
		}
		in.rows = append(in.rows, *r)
		return nil
	}
}

// scanClaimed collects the numbers of rows, and of those again that are behind others.
func scanClaimed(there, behind *[]int64) func(sqltx.Rows) error {
	var n int64
	var waits bool
	dest := []any{&n, &waits}
	return func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		*there = append(*there, n)
		if waits {
			*behind = append(*behind, n)
		}
		return nil
	}
}

// scanInts collects a column of numbers.
func scanInts(to *[]int64) func(sqltx.Rows) error {
	var n int64
	dest := []any{&n}
	return func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		*to = append(*to, n)
		return nil
	}
}
