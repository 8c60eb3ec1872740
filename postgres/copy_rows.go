package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/outbox"
)

// copyHead is what a binary COPY begins with: signature, no flags, no extension (PostgreSQL manual, COPY, "Binary
// Format").
const copyHead = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// copyColumns are the columns that add writes, in its order. The rest have defaults.
const copyColumns = "partition, id, class, topic, key, attrs, body"

// A copier collects rows of one table, either for COPY or, with claims, for INSERT.
//
// It writes the binary format itself: pgx's CopyFrom asks for the columns' types each time, and takes every value
// through an interface.
type copier struct {
	table   outbox.Table
	sql     string
	buf     []byte
	rows    int64
	claims  []outbox.Row
	claimed int // bytes of them
	any     bool
}

func newCopier(t outbox.Table, schema, table string) *copier {
	c := &copier{table: t, sql: "copy " + pgx.Identifier{schema, table}.Sanitize() + " (" + copyColumns + ") from stdin (format binary)"}
	c.begin()
	return c
}

func (c *copier) begin() { c.buf, c.rows = append(c.buf[:0], copyHead...), 0 }

func (c *copier) empty() bool { return c.rows == 0 }

func (c *copier) size() int { return len(c.buf) + c.claimed }

// end completes what COPY reads.
func (c *copier) end() []byte {
	c.buf = append(c.buf, 0xff, 0xff)
	return c.buf
}

// add appends one row. No key is NULL, and so is a nil body.
func (c *copier) add(r *outbox.Row) error {
	id, err := hex.DecodeString(strings.ReplaceAll(r.ID, "-", ""))
	if err != nil || len(id) != 16 {
		return fmt.Errorf("postgres: publish: id %.64q: it is not a UUID; let Sixfold make it, or give one", r.ID)
	}
	b := binary.BigEndian.AppendUint16(c.buf, 7) // columns
	b = binary.BigEndian.AppendUint32(b, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Partition))
	b = appendField(b, id)
	b = appendField(b, r.Class)
	b = appendField(b, r.Topic)
	if r.Key == "" {
		b = appendNull(b)
	} else {
		b = appendField(b, r.Key)
	}
	b = appendField(b, r.Attrs)
	if r.Body == nil {
		b = appendNull(b)
	} else {
		b = appendField(b, r.Body)
	}
	c.buf = b
	c.rows++
	return nil
}

func appendField[T string | []byte](b []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, 0xffffffff) }
