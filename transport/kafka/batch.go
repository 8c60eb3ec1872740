package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// batchHead is the length of what stands before the records of a batch, in the format of version 2 of Kafka's messages.
const batchHead = 61

// maxRecord is the most that a record's length, time and offset add to what the encoder makes.
const maxRecord = 5 + 1 + 10 + 5

// A slot is one message whose confirm has not come.
type slot struct {
	p    *driver.Batch
	i    int
	size int
}

// A batch is a run of records of one partition, which the broker takes whole or not at all.
type batch struct {
	part        *partition
	buf         []byte // batchHead empty bytes, then the records
	slots       []slot
	first, last int64 // milliseconds since 1970
}

// add appends a record.
func (b *batch) add(rest []byte, now int64, s slot) {
	if len(b.slots) == 0 {
		b.first, b.last = now, now
		b.buf = append(b.buf[:0], make([]byte, batchHead)...)
	}
	b.last = max(b.last, now)
	delta, offset := now-b.first, int32(len(b.slots))
	length := 1 + kbin.VarlongLen(delta) + kbin.VarintLen(offset) + len(rest)
	b.buf = kbin.AppendVarint(b.buf, int32(length))
	b.buf = append(b.buf, 0)
	b.buf = kbin.AppendVarlong(b.buf, delta)
	b.buf = kbin.AppendVarint(b.buf, offset)
	b.buf = append(b.buf, rest...)
	b.slots = append(b.slots, s)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal compresses the records and writes the head. out is scratch; the answer may be it, or the batch's own buffer.
func (b *batch) seal(c kgo.Compressor, out *bytes.Buffer, producer int64, epoch int16, sequence int32) []byte {
	wire := b.buf
	attributes := int16(0)
	if c != nil {
		out.Reset()
		packed, codec := c.Compress(out, b.buf[batchHead:])
		if codec > 0 && len(packed) < len(b.buf)-batchHead {
			attributes = int16(codec)
			wire = append(b.buf[:batchHead:batchHead], packed...)
		}
	}
	n := int32(len(b.slots))
	be := binary.BigEndian
	be.PutUint64(wire[0:], 0)                    // offset, which the broker gives
	be.PutUint32(wire[8:], uint32(len(wire)-12)) // length
	be.PutUint32(wire[12:], ^uint32(0))          // leader epoch, which the broker knows
	wire[16] = 2                                 // version
	be.PutUint16(wire[21:], uint16(attributes))  //
	be.PutUint32(wire[23:], uint32(n-1))         // last offset
	be.PutUint64(wire[27:], uint64(b.first))     //
	be.PutUint64(wire[35:], uint64(b.last))      //
	be.PutUint64(wire[43:], uint64(producer))    //
	be.PutUint16(wire[51:], uint16(epoch))       //
	be.PutUint32(wire[53:], uint32(sequence))    //
	be.PutUint32(wire[57:], uint32(n))           //
	be.PutUint32(wire[17:], crc32.Checksum(wire[21:], castagnoli))
	return wire
}

// A partition is where batches of a sender go, one after the other. It is guarded by the sender's mu.
type partition struct {
	topic  string
	number int32
	line   *line
	most   int // bytes of a batch before compression

	open     *batch               // is being filled
	ready    driver.Queue[*batch] // full
	sequence int32                // of the next record: the broker takes only what follows what it has
	inFlight int
	// proven: the broker has taken something of this sender here. Until then one batch at a time goes out: a broker that knows nothing
	// of a producer takes any sequence number, so the second batch after a first that it refused.
	proven bool
	queued bool // in its line's queue
}

// waits reports whether there is something to send.
func (p *partition) waits() bool { return p.open != nil || p.ready.Len() > 0 }

// may reports whether the next batch may go out.
func (p *partition) may() bool { return p.inFlight == 0 || p.proven }

// next takes the next batch out.
func (p *partition) next() (b *batch, sequence int32) {
	if p.ready.Len() > 0 {
		b = p.ready.Pop()
	} else {
		b, p.open = p.open, nil
	}
	sequence = p.sequence
	p.sequence = int32((int64(p.sequence) + int64(len(b.slots))) & 0x7fffffff) // begins again at 0 after 2³¹−1
	p.inFlight++
	return b, sequence
}
