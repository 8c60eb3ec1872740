package store

import (
	"errors"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
)

// farthest is the longest delay that is kept: a longer one ends then. Beyond it times of the database would overflow.
const farthest = 100 * 365 * 24 * time.Hour

// micros is d in the unit of the tables, at least 0.
func micros(d time.Duration) int64 { return min(max(d, 0), farthest).Microseconds() }

// plain is s as every database can hold it. What is parked may come from a message that was damaged on its way.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

var errNotBuried = errors.New("store: bury rows of local: their consumer parks them; bury rows on their way to a broker")

// messageOf is the number that the inbox would know the message of a row by.
func messageOf(d *outbox.DeadRow) [16]byte {
	return inbox.RecordOf(&sixfold.Envelope{Source: d.Source, ID: d.ID, Type: d.Type}).Message
}
