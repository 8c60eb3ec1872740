package rabbitmq

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// sortRun restores the order of what a queue delivers again. A quorum queue puts what a dead consumer had behind what it is
// already giving back: after two deaths 4 5 6 comes before 1 2 3. Each pass through that round counts in
// x-delivery-count, so what has gone round more often belongs in front of what has not; that holds for messages of any
// sender. Where a relay has sent them, the numbers of its rows decide, within one partition of one source.
func sortRun(run []*held) {
	slices.SortStableFunc(run, func(a, b *held) int { return cmp.Compare(b.again, a.again) })
	type partition struct{ source, number string }
	type row struct {
		h   *held
		seq uint64
	}
	rows := make(map[partition][]row)
	at := make(map[partition][]int)
	for i, h := range run {
		number, text, ok := strings.Cut(h.delivery.Sequence, "/")
		seq, err := strconv.ParseUint(text, 10, 64)
		if !ok || err != nil {
			continue
		}
		p := partition{h.delivery.Source, number}
		rows[p] = append(rows[p], row{h, seq})
		at[p] = append(at[p], i)
	}
	for p, list := range rows {
		slices.SortStableFunc(list, func(a, b row) int { return cmp.Compare(a.seq, b.seq) })
		for i, r := range list {
			run[at[p][i]] = r.h
		}
	}
}
