package outbox

import "math/rand/v2"

// PartitionOf is the partition of a key: FNV-1a (32 bits, draft-eastlake-fnv) over its bytes, modulo Partitions.
// It is the same in every process, version and language, since writers of other kinds compute it too.
func PartitionOf(key string) int16 {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h ^= uint32(key[i])
		h *= 16777619
	}
	return int16(h % Partitions)
}

// partitionFor spreads rows without a key at random, since nothing orders them.
func partitionFor(key string) int16 {
	if key == "" {
		return int16(rand.Uint32N(Partitions))
	}
	return PartitionOf(key)
}
