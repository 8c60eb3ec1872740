package store

import (
	"strings"
	"time"
)

// farthest is the longest delay that is kept: a longer one ends then. Beyond it times of the database would overflow.
const farthest = 100 * 365 * 24 * time.Hour

// micros is d in the unit of the tables, at least 0.
func micros(d time.Duration) int64 { return min(max(d, 0), farthest).Microseconds() }

// plain is s as every database can hold it. What is parked may come from a message that was damaged on its way.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
