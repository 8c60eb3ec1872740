package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
)

// maxChannel is the limit of a channel's name in bytes, as of every identifier.
const maxChannel = 63

// spokenOf are the tables of which a Listener speaks. Their names are the words of its notifications.
func spokenOf() [3]outbox.Table {
	return [3]outbox.Table{outbox.ToBroker, outbox.ToLocal, outbox.Later}
}

// channelOf names the channel of a set of tables. No name has a dot, so none is that of another set.
func channelOf(schema, table string) string {
	name := schema + "." + table
	if len(name) <= maxChannel {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sixfold:" + hex.EncodeToString(sum[:16])
}

// said reports whether a payload speaks of t. What says nothing that we know speaks of all.
func said(payload string, t outbox.Table) bool {
	known := false
	for word := range strings.FieldsSeq(payload) {
		if word == t.String() {
			return true
		}
		for _, other := range spokenOf() {
			known = known || word == other.String()
		}
	}
	return !known
}
