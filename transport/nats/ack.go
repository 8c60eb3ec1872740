package nats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
)

// confirmOf reads the stream's answer to a message: nil when it was taken, or dropped as a duplicate of one that was.
func confirmOf(m *natsgo.Msg) error {
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) && bytes.Contains(m.Data, []byte(`"seq":`)) && !bytes.Contains(m.Data, []byte(`"error"`)) {
		return nil
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return fmt.Errorf("%w: its stream has gone; declare the topic again", bus.ErrUnroutable)
	}
	var ack struct {
		Stream string              `json:"stream"`
		Seq    uint64              `json:"seq"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return fmt.Errorf("%w: the stream's answer cannot be read; the message is in doubt", bus.ErrUnavailable)
	case ack.Error != nil && ack.Error.ErrorCode == codeMessageTooLarge:
		return fmt.Errorf("%w: %w", bus.ErrTooLarge, ack.Error)
	case ack.Error != nil && isFull(ack.Error):
		return fmt.Errorf("%w: the stream is full, or the server short of memory or disk: %w", bus.ErrUnavailable, ack.Error)
	case ack.Error != nil:
		return classify(ack.Error)
	case ack.Stream == "" || ack.Seq == 0:
		return fmt.Errorf("%w: the stream's answer has no sequence; the message is in doubt", bus.ErrUnavailable)
	}
	return nil
}

// isFull reports whether a refusal says that there is no room now.
func isFull(err *jetstream.APIError) bool {
	const storeFailed, streamNotFound = 10077, 10059 // "maximum messages exceeded" and the like
	return err.ErrorCode == storeFailed || err.Code == 429 || err.Code == 503 && err.ErrorCode != streamNotFound
}

// An ackSubject is what the subject for the acknowledgement of a delivery says. It is read from the end, since newer
// servers may put more in front: $JS.ACK[.<domain>.<account>].<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
type ackSubject struct {
	from       string // "<stream>.<consumer>"
	delivered  uint64 // how often
	seq        uint64 // in the stream
	consumed   uint64 // in the consumer
	wellFormed bool
}

// parseAck follows ADR-15 of NATS: nine tokens, or eleven and more with domain and account hash, of which a twelfth may
// be random.
func parseAck(s string) (a ackSubject) {
	const before = "$JS.ACK."
	if len(s) < len(before) || s[:len(before)] != before {
		return a
	}
	var starts [16]int
	n := 1
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			if n == len(starts) {
				return a
			}
			starts[n] = i + 1
			n++
		}
	}
	first := 4 // token of the number of deliveries
	switch {
	case n == 9:
	case n >= 11:
		first = 6
	default:
		return a
	}
	ok := true
	number := func(token int) (v uint64) {
		for i := starts[token]; i < len(s) && s[i] != '.'; i++ {
			if s[i] < '0' || s[i] > '9' {
				ok = false
				return 0
			}
			v = v*10 + uint64(s[i]-'0')
		}
		return v
	}
	a.delivered, a.seq, a.consumed = number(first), number(first+1), number(first+2)
	a.from = s[starts[first-2] : starts[first]-1]
	a.wellFormed = ok && a.seq > 0
	return a
}

// violates reports whether err says that a publication was not allowed.
func violates(err error) bool { return errors.Is(err, natsgo.ErrPermissionViolation) }
