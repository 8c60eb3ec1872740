package nats

import (
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
)

// heartbeat is how often the server says that a request for messages is still open, and how often that is checked.
const heartbeat = 5 * time.Second

// Messages may be large: a request asks for 4 MB, or two messages of the largest size, and nothing is asked for while
// 32 MB wait here.
const (
	pullBytes   = 4 << 20
	mostWaiting = 32 << 20
)

// A pull is a request for messages.
type pull struct {
	subject, reply string
	n              int
}

// pulls says what to ask for now. mu is held.
func (s *source) pulls() (out []pull) {
	if s.ses == nil || s.closed {
		return nil
	}
	for _, f := range s.feeds {
		out = s.ses.pullFor(f, out)
	}
	return out
}

// pullFor adds what to ask for f now. mu is held.
func (ses *session) pullFor(f *feed, out []pull) []pull {
	n := f.want()
	if n <= 0 {
		return out
	}
	return append(out, pull{ses.s.t.api("CONSUMER.MSG.NEXT." + f.stream + "." + f.consumer), ses.inbox + ".m." + strconv.Itoa(f.index), n})
}

// pull asks for messages. Requests stay open for 30 s.
func (ses *session) pull(pulls []pull) {
	for _, p := range pulls {
		body := append(make([]byte, 0, 112), `{"batch":`...)
		body = strconv.AppendInt(body, int64(p.n), 10)
		body = append(body, `,"max_bytes":`...)
		body = strconv.AppendInt(body, max(pullBytes, 2*ses.payload), 10)
		body = append(body, `,"expires":30000000000,"idle_heartbeat":`...)
		body = strconv.AppendInt(body, int64(heartbeat), 10)
		body = append(body, '}')
		if err := ses.nc.PublishRequest(p.subject, p.reply, body); err != nil {
			ses.end(err)
			return
		}
	}
}

// arrived takes what comes for a feed. It runs on a goroutine of the client.
func (ses *session) arrived(m *natsgo.Msg) {
	if m.Reply == "" {
		ses.status(m)
		return
	}
	s := ses.s
	a := parseAck(m.Reply)
	if !a.wellFormed {
		s.t.o.Logger.Warn("nats: a delivery without the subject for its acknowledgement was dropped", "subject", m.Subject)
		return
	}
	s.mu.Lock()
	f := ses.names[a.from] // the subject is that of the stream
	s.mu.Unlock()
	if f == nil {
		return
	}
	h := s.decode(f, a, m)
	s.mu.Lock()
	if f.dead || ses.names[a.from] != f {
		s.mu.Unlock()
		return
	}
	if !f.add(h, a) {
		ses.loseFeed(f)
	}
	var pulls []pull
	if s.ses == ses && !s.closed {
		pulls = ses.pullFor(f, nil)
		if s.held < s.max {
			s.bell.Ring()
		}
	}
	s.mu.Unlock()
	if pulls != nil {
		ses.pull(pulls)
	}
}

// decode makes a delivery of a message.
func (s *source) decode(f *feed, a ackSubject, m *natsgo.Msg) *held {
	h := &held{f: f, seq: a.seq, ack: m.Reply, size: m.Size()}
	h.delivery.Damaged = s.binding.Read(&h.delivery.Envelope, func(yield func(string, string) bool) {
		for k, vs := range m.Header {
			if sixfold.IsReservedHeader(k) && (k[0] == 'N' || k[0] == 'n') { // NATS's own
				continue
			}
			for _, v := range vs {
				if !yield(k, v) {
					return
				}
			}
		}
	}, m.Data)
	h.delivery.Topic = f.topic
	h.delivery.Redelivered = a.delivered > 1
	if s.kind == shared {
		h.until = time.Now().Add(s.ours())
	}
	return h
}

// status takes what the server says about a request instead of a message (ADR-13 of NATS).
func (ses *session) status(m *natsgo.Msg) {
	s := ses.s
	index, err := strconv.Atoi(m.Subject[len(ses.inbox)+len(".m."):])
	if err != nil {
		return
	}
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	s.mu.Lock()
	if index >= len(ses.feeds) || ses.feeds[index].dead {
		s.mu.Unlock()
		return
	}
	f := ses.feeds[index]
	f.heard = true
	switch {
	case code == "100": // a heartbeat
	case code == "503", text == "Consumer Deleted", text == "Consumer is push based":
		ses.loseFeed(f)
	case text == "Leadership Change":
		f.asked = 0
	case err == nil:
		f.asked = max(f.asked-left, 0)
	case code == "404", code == "408":
		f.asked = 0
	default: // a limit of the consumer's, perhaps: not at once again
		s.t.o.Logger.Warn("nats: the server refused a request for messages", "stream", f.stream, "consumer", f.consumer, "status", code, "description", text)
		f.asked, f.again = 0, true
	}
	pulls := s.pulls()
	s.mu.Unlock()
	ses.pull(pulls)
}
