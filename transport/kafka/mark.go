package kafka

import (
	"strconv"
	"strings"
)

// A mark travels with a committed offset, as its metadata. It tells the partition's next owner what may have been in the
// hands of this one: everything below Handed, without what is Done.
type mark struct {
	handed int64  // nothing at or above was handed out
	done   []span // settled above the committed offset, in order
}

// A span is a run of offsets, the last one included.
type span struct{ first, last int64 }

const (
	markVersion = "sixfold1"
	// maxMark is less than the brokers' offset.metadata.max.bytes, 4,096 by default.
	maxMark = 3500
)

// text is the form in a commit: offsets are told by their distance from the one before. Runs that have no room are left out: they
// come again.
func (m mark) text(from int64) string {
	b := append(make([]byte, 0, 64), markVersion...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, m.handed-from, 10)
	for _, s := range m.done {
		if len(b) > maxMark {
			break
		}
		if s.first = max(s.first, from); s.last < from {
			continue
		}
		b = append(b, ' ')
		b = strconv.AppendInt(b, s.first-from, 10)
		if s.last > s.first {
			b = append(b, '+')
			b = strconv.AppendInt(b, s.last-s.first, 10)
		}
		from = s.last
	}
	return string(b)
}

// parseMark reads a mark. ok is false for what another program has committed.
func parseMark(text string, from int64) (m mark, ok bool) {
	if len(text) > 2*maxMark {
		return mark{}, false
	}
	fields := strings.Fields(text)
	if len(fields) < 2 || fields[0] != markVersion {
		return mark{}, false
	}
	distance, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || distance < 0 || distance > 1<<40 {
		return mark{}, false
	}
	m.handed = from + distance
	for _, f := range fields[2:] {
		first, more, long := strings.Cut(f, "+")
		a, err := strconv.ParseInt(first, 10, 64)
		n := int64(0)
		if err == nil && long {
			n, err = strconv.ParseInt(more, 10, 64)
		}
		if err != nil || a < 0 || n < 0 || a > 1<<40 || n > 1<<40 {
			return mark{}, false
		}
		m.done = append(m.done, span{from + a, from + a + n})
		from += a + n
	}
	return m, true
}
