package outbox

import (
	"slices"
	"time"
)

// blocks are the keys that wait because the broker does not take one of their rows. A row without a key blocks nothing
// but itself. The zero value with retry set is ready; its user locks.
type blocks struct {
	retry func(attempt int) time.Duration
	by    map[blockKey]*FailedRow
}

type blockKey struct {
	key string
	seq int64 // of rows without a key
}

func blockOf(key string, seq int64) blockKey {
	if key != "" {
		seq = 0
	}
	return blockKey{key, seq}
}

// add blocks the key of a row that failed and answers the block.
func (b *blocks) add(r outRow, now time.Time, reason error) *FailedRow {
	k := blockOf(r.out.Key, r.seq)
	f := b.by[k]
	if f == nil || f.Seq != r.seq {
		f = &FailedRow{Seq: r.seq, ID: r.out.ID, Topic: r.out.Topic, Type: r.out.Type, Key: r.out.Key, Since: now}
		if b.by == nil {
			b.by = make(map[blockKey]*FailedRow)
		}
		b.by[k] = f
	}
	f.partition = r.partition
	f.Attempts++
	f.Reason = reason.Error()
	f.refusal, f.code = f.Reason, codeOf(reason)
	f.Next = now.Add(max(b.retry(f.Attempts), time.Millisecond))
	f.trying = false
	return f
}

// hold reports whether a row must stay where it is. What comes before the failed row does not: it was committed late, or
// waited for an earlier one.
func (b *blocks) hold(key string, seq int64) bool {
	f := b.by[blockOf(key, seq)]
	return f != nil && !f.trying && seq >= f.Seq
}

// settled forgets the block of a row that has got through.
func (b *blocks) settled(r outRow) {
	if k := blockOf(r.out.Key, r.seq); b.by[k] != nil && b.by[k].Seq == r.seq {
		delete(b.by, k)
	}
}

// next is when the first block is due, or the zero time.
func (b *blocks) next() (at time.Time) {
	for _, f := range b.by {
		if !f.trying && (at.IsZero() || f.Next.Before(at)) {
			at = f.Next
		}
	}
	return at
}

// try opens the keys that are due and answers the lowest of their rows, or 0.
func (b *blocks) try(now time.Time) (lowest int64) {
	for k, f := range b.by {
		if f.trying { // and nothing is in flight: its row is gone, or far behind what is read
			delete(b.by, k)
			continue
		}
		if f.Next.After(now) {
			continue
		}
		f.trying = true
		if lowest == 0 || f.Seq < lowest {
			lowest = f.Seq
		}
	}
	return lowest
}

// drop forgets the blocks of partitions that are no longer ours.
func (b *blocks) drop(partitions []int16) {
	for k, f := range b.by {
		if slices.Contains(partitions, f.partition) {
			delete(b.by, k)
		}
	}
}

// trials are the rows that are being tried again, by seq.
func (b *blocks) trials() (seqs []int64) {
	for _, f := range b.by {
		if f.trying {
			seqs = append(seqs, f.Seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// list answers copies, by seq.
func (b *blocks) list() []FailedRow {
	out := make([]FailedRow, 0, len(b.by))
	for _, f := range b.by {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(x, y FailedRow) int { return int(x.Seq - y.Seq) })
	return out
}
