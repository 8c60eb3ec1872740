package bus

import (
	"hash/fnv"
	"strconv"
	"testing"
)

// Keys of one partition, which is FNV-1a modulo a power of two as the number of lanes often is, use all lanes.
func TestKeysOfOnePartitionUseAllLanes(t *testing.T) {
	r := &run{lanes: make([]*lane, 16)}
	counts := make([]int, len(r.lanes))
	n := 0
	for i := range 64_000 {
		key := strconv.Itoa(i)
		h := fnv.New32a()
		h.Write([]byte(key))
		if h.Sum32()%64 == 7 {
			counts[r.laneOf(key)]++
			n++
		}
	}
	for l, c := range counts {
		if c < n/len(counts)/2 || c > 2*n/len(counts) {
			t.Errorf("lane %d has %d of %d keys", l, c, n)
		}
	}
}
