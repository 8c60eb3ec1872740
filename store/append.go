package store

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/sixfold-go/sixfold/outbox"
)

// roundTrip is how many bytes of rows go to the database in one statement.
const roundTrip = 16 << 20

// maxRow is how many bytes one row may have: a statement's parameter ends at 1 GB, and so does a row.
const maxRow = 512 << 20

// chunks cuts rows into statements of at most roundTrip bytes; a larger row goes alone.
func chunks(rows []outbox.Row) (parts [][2]int, err error) {
	from, size := 0, 0
	for i := range rows {
		n := sizeOf(&rows[i])
		if n > maxRow {
			return nil, fmt.Errorf("store: append: row %d of %d has %d bytes, the limit is %d; put the data elsewhere and send a reference", i+1, len(rows), n, maxRow)
		}
		if size+n > roundTrip && i > from {
			parts = append(parts, [2]int{from, i})
			from, size = i, 0
		}
		size += n
	}
	return append(parts, [2]int{from, len(rows)}), nil
}

func sizeOf(r *outbox.Row) int {
	return 64 + len(r.Topic) + len(r.Class) + len(r.Key) + len(r.Claim) + len(r.Attrs) + len(r.Body)
}

func totalSize(rows []outbox.Row) (n int) {
	for i := range rows {
		n += sizeOf(&rows[i])
	}
	return n
}

func anyClaims(rows []outbox.Row) bool {
	for i := range rows {
		if rows[i].Claim != "" {
			return true
		}
	}
	return false
}

// claimKey is what a claim is stored as: itself, or its hash where it would be too long for an index.
func claimKey(claim string) string {
	if len(claim) <= 1024 {
		return claim
	}
	sum := sha256.Sum256([]byte(claim))
	return "sha256\x1f" + hex.EncodeToString(sum[:])
}

// repeats answers the rows whose claim an earlier row has, nil when there are none: one statement cannot enter it twice.
func repeats(rows []outbox.Row) map[int]bool {
	var again map[int]bool
	seen := make(map[string]bool, len(rows))
	for i := range rows {
		c := rows[i].Claim
		switch {
		case c == "":
		case !seen[c]:
			seen[c] = true
		case again == nil:
			again = map[int]bool{i: true}
		default:
			again[i] = true
		}
	}
	return again
}
