package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// OccurrenceID is the id of the message that the schedule of that name sends for a planned time: a UUID of version 8
// (RFC 9562) of the SHA-256 of both, the same in every process and attempt. The time is cut to microseconds first, since
// that is what databases keep of it.
func OccurrenceID(name string, planned time.Time) string {
	sum := digest("occurrence", name, planned)
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func digest(what, name string, planned time.Time) [sha256.Size]byte {
	b := append([]byte("sixfold/"+what+"\x00"+name+"\x00"), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(planned.UnixMicro()))
	return sha256.Sum256(b)
}

// wake is when an occurrence is due with its jitter.
func (d *definition) wake(name string, planned time.Time) time.Time {
	if d.Jitter < time.Microsecond || planned.IsZero() {
		return planned
	}
	sum := digest("jitter", name, planned)
	us := binary.BigEndian.Uint64(sum[:8]) % uint64(d.Jitter/time.Microsecond)
	return planned.Add(time.Duration(us) * time.Microsecond)
}

// rows are the rows of a message with that id and time.
func (m *message) rows(id string, at time.Time) (broker, local []outbox.Row) {
	env := sixfold.Envelope{ID: id, Type: m.Type, Source: m.Source, Subject: m.Subject, Time: at, Key: m.Key, ContentType: m.ContentType,
		CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo, Headers: m.Headers}
	if m.CorrelationID == "" {
		env.CorrelationID = id
	}
	if m.Expires > 0 {
		env.Expires = at.Add(m.Expires)
	}
	spread := m.Key
	if spread == "" {
		spread = id // nothing orders them, so they may go anywhere
	}
	for _, to := range m.To {
		r := outbox.Row{Partition: outbox.PartitionOf(spread), ID: id, Class: to.Class, Topic: to.Topic, Key: m.Key,
			Attrs: outbox.EncodeAttrs(&env, outbox.Flags{MustReach: to.MustReach}), Body: m.Body}
		if to.Local {
			local = append(local, r)
		} else {
			broker = append(broker, r)
		}
	}
	return broker, local
}
