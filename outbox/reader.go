package outbox

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// writersEvery bounds how often the list of lock holders is taken: it costs the database more than a look-up does.
const writersEvery = 15 * time.Millisecond

// lookUpLimit bounds the rows of one look-up.
const lookUpLimit = 5000

// readBytes is about what one read may bring into memory.
const readBytes = 32 << 20

// reader reads one class of one table in the order that its rows may be sent: a cursor that goes up, with the gaps that
// earlier reads left below it looked up after each read and before its rows are used. The gaps that a read itself leaves
// can wait for the next: a read has one snapshot, and who began behind a row of it would show in it what that row had to
// wait for. So a relay that begins above a hundred thousand dead rows walks over them once, and not twice, before its
// first send. It remembers nothing between incarnations. It belongs to one goroutine.
type reader struct {
	queue Queue
	// inOrder: rows become visible in the order of their numbers, so that nothing ever appears in a gap.
	inOrder bool
	cursor  int64 // every row up to here was read, or is in a gap
	gaps    gaps

	highest   int64     // the cursor's highest place so far; rows above it were never read
	writersAt time.Time // of the last list
	backlog   bool      // the last read was cut by its limit
	meanBytes int       // of a row, at the last read
	late      int       // rows that the last read found in gaps
}

// rewind reads from behind seq again, for rows that were given up, and for those that appeared below the cursor.
func (r *reader) rewind(seq int64) {
	if seq >= r.cursor || seq == 0 && planted.Is(planted.SweepSkipped) {
		return
	}
	r.cursor = seq
	r.gaps.forgetAbove(seq)
}

// reset begins again like a new incarnation.
func (r *reader) reset() {
	r.cursor, r.gaps = 0, gaps{}
	if planted.Is(planted.SweepSkipped) {
		rows, _ := r.queue.Read(context.Background(), 0, 1<<20, Ownership{})
		for i := range rows {
			r.cursor = rows[i].Seq
		}
	}
}

// next answers the next rows that are owned, in order of seq. skip says of a row that was read before whether it is
// still in somebody's hands.
func (r *reader) next(ctx context.Context, limit int, own *Ownership, skip func(seq int64) bool) ([]Row, error) {
	limit = r.bounded(limit)
	owed := r.gaps.open()
	var early []Row
	if planted.Is(planted.LookUpBeforeRead) && r.gaps.open() {
		early, _ = r.lookUp(ctx, own)
	}
	before, seen := r.cursor, r.highest
	rows, err := r.queue.Read(ctx, before, limit, *own)
	if err != nil {
		return nil, err
	}
	r.backlog = len(rows) == limit
	for i := range rows {
		if !r.inOrder && !planted.Is(planted.CursorSkips) {
			r.gaps.notice(Range{r.cursor + 1, rows[i].Seq - 1})
		}
		r.cursor = rows[i].Seq
	}
	r.highest = max(seen, r.cursor)
	var late []Row
	if planted.Is(planted.LookUpBeforeRead) {
		late = early
	} else if owed {
		if late, err = r.lookUp(ctx, own); err != nil {
			r.rewind(before) // nothing of this read is used, so that no row overtakes one in a gap
			return nil, err
		}
	}
	r.weigh(rows)
	r.late = len(late)
	// A row that a look-up finds was invisible to every read since the cursor passed it, so it is in nobody's hands.
	out := rows[:0] // in place: a second slice of rows would be a third of what a relay allocates
	for i := range rows {
		if !rows[i].Foreign && (rows[i].Seq > seen || !skip(rows[i].Seq)) {
			if len(out) == i {
				out = rows[:i+1]
			} else {
				out = append(out, rows[i])
			}
		}
	}
	if len(late) > 0 {
		out = append(out, late...)
		slices.SortFunc(out, func(a, b Row) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return out, nil
}

// lookUp answers the owned rows that have appeared in gaps. The list of writers comes first, so that a gap which it
// finds without an opener is closed by the very look-ups that follow. A full answer closes nothing and is repeated,
// since a row that it has left out may belong before one that was read.
func (r *reader) lookUp(ctx context.Context, own *Ownership) (late []Row, err error) {
	if now := time.Now(); now.Sub(r.writersAt) >= writersEvery {
		writers, err := r.queue.Writers(ctx)
		if err != nil {
			return nil, err
		}
		r.writersAt = now
		r.gaps.check(writers)
		if planted.Is(planted.GapClosesEarly) {
			r.gaps.check(nil)
		}
	}
	for r.gaps.open() {
		found, err := r.queue.LookUp(ctx, r.gaps.missing(), lookUpLimit, *own)
		if err != nil {
			for i := range late {
				r.rewind(late[i].Seq - 1)
			}
			return nil, err
		}
		for i := range found {
			r.gaps.fill(found[i].Seq)
			if !found[i].Foreign {
				late = append(late, found[i])
			}
		}
		if len(found) < lookUpLimit {
			r.gaps.lookedUp()
			break
		}
	}
	return late, nil
}

// bounded and weigh keep what one read brings into memory near readBytes.
func (r *reader) bounded(limit int) int {
	if r.meanBytes == 0 {
		return limit
	}
	return max(1, min(limit, readBytes/r.meanBytes))
}

func (r *reader) weigh(rows []Row) {
	if len(rows) == 0 {
		return
	}
	total := 0
	for i := range rows {
		total += len(rows[i].Body) + len(rows[i].Attrs)
	}
	r.meanBytes = max(1, total/len(rows))
}
