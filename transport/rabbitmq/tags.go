package rabbitmq

import "github.com/sixfold-go/sixfold/bus/driver"

// State of a delivery tag.
type tagState uint8

const (
	open    tagState = iota // not settled, or not even arrived here
	settled                 // the node does not know it yet
	acked                   // alone, while an earlier one was open; or nothing to acknowledge
)

// tags are the deliveries of one channel, which the node numbers from 1. All up to the floor, below the first that is open,
// are acknowledged at once.
type tags struct {
	list  driver.Queue[tagState]
	first uint64 // of list
	owed  int    // settled ones in list
}

// ack is an acknowledgement to send.
type ack struct {
	tag      uint64
	multiple bool
}

// settle notes one tag.
func (t *tags) settle(tag uint64) {
	if tag >= t.first {
		t.note(tag, settled)
		t.owed++
	}
}

// skip notes a tag that the node does not want to be acknowledged.
func (t *tags) skip(tag uint64) { t.note(tag, acked) }

func (t *tags) note(tag uint64, state tagState) {
	for uint64(t.list.Len()) <= tag-t.first {
		t.list.Push(open)
	}
	*t.list.At(int(tag - t.first)) = state
}

// raise adds the acknowledgement of all up to the floor, if it has moved. A node takes an acknowledgement of several
// for a tag only that is still open to it, so it names the last that was not acknowledged alone.
func (t *tags) raise(out []ack) []ack {
	last := uint64(0)
	for t.list.Len() > 0 && *t.list.At(0) != open {
		if t.list.Pop() == settled {
			last = t.first
			t.owed--
		}
		t.first++
	}
	if last > 0 {
		out = append(out, ack{last, true})
	}
	return out
}

// alone adds acknowledgements of single tags above the floor, at most n, the oldest first.
func (t *tags) alone(n int, out []ack) []ack {
	for i := 0; i < t.list.Len() && n > 0 && t.owed > 0; i++ {
		if at := t.list.At(i); *at == settled {
			*at = acked
			out = append(out, ack{t.first + uint64(i), false})
			t.owed--
			n--
		}
	}
	return out
}
