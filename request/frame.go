package request

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold/cloudevents"
)

// A frame is a packet in one piece: a mark, its headers as lines, an empty line, and the body. Carriers whose headers cost more than their bodies
// take it as a body. docs/protocol.md has the form.
const (
	frameMark = "SIXFOLD/1.0" + lineEnd
	lineEnd   = "\r\n"
)

// frameBinding is that of the lines, on whatever carrier: values are printable ASCII, so that none of them ends a line. It does not change.
var frameBinding = cloudevents.NATS()

// Those that a frame may leave out, and what they are then.
const (
	lineVersion = "ce-specversion" // 1.0
	lineID      = "ce-id"          // the id of the request
)

// MaxFramed is the largest body in bytes of which lanes make a frame. To copy a larger one costs more than headers do.
const MaxFramed = 64 << 10

// AppendFrame appends p as a frame to dst, its body too, which may be used again then. It fails, with dst as it was, where a
// header cannot be written.
func (p *Packet) AppendFrame(dst []byte) ([]byte, error) {
	if dst, ok := p.appendPlain(dst); ok {
		return dst, nil
	}
	return p.appendFrame(dst)
}

// appendFrame is AppendFrame for all that there is.
func (p *Packet) appendFrame(dst []byte) ([]byte, error) {
	var room [24]cloudevents.Header
	heads, err := p.AppendHeaders(room[:0], frameBinding)
	if err != nil {
		return dst, err
	}
	before := len(dst)
	dst = append(dst, frameMark...)
	for i := range heads {
		h := &heads[i]
		if strings.IndexByte(h.Value, '\n') >= 0 || strings.IndexByte(h.Value, '\r') >= 0 {
			return dst[:before], fmt.Errorf("request: frame: %w", invalid("header %.64q: its value has an end of line; leave that out", h.Name))
		}
		if h.Name == lineVersion || h.Name == lineID && h.Value == p.Request {
			continue
		}
		dst = append(dst, h.Name...)
		dst = append(dst, ':', ' ')
		dst = append(dst, h.Value...)
		dst = append(dst, lineEnd...)
	}
	dst = append(dst, lineEnd...)
	return append(dst, p.Envelope.Body...), nil
}

// IsFrame reports whether data begins as a frame does.
func IsFrame(data []byte) bool {
	return len(data) >= len(frameMark) && string(data[:len(frameMark)]) == frameMark
}

var errNoFrame = errors.New("request: it is no frame: the mark or the empty line is missing, or a line has no colon")

// ReadFrame reads a frame as ReadPacket reads headers, and says so in Framed. The packet keeps data, of which its body is the end. What is no
// frame becomes a packet without any header, which nobody answers.
func ReadFrame(data []byte) *Packet {
	if IsFrame(data) {
		p := packets.Get().(*Packet)
		if p.readPlain(data) {
			p.Framed = true
			return p
		}
		p.release()
	}
	return readFrame(data)
}

// readFrame is ReadFrame for all that there is.
func readFrame(data []byte) *Packet {
	head, body, ok := data, []byte(nil), IsFrame(data)
	if ok {
		head, body, ok = bytes.Cut(data, []byte(lineEnd+lineEnd))
	}
	if !ok || len(head) < len(frameMark) {
		return &Packet{Framed: true, Damaged: errNoFrame}
	}
	if len(body) == 0 {
		body = nil // unless it is marked as empty
	}
	lines := string(head[len(frameMark):]) // all values are parts of it
	p := packets.Get().(*Packet)
	p.Framed = true
	whole := true
	p.read(frameBinding, func(yield func(string, string) bool) {
		var event, version, id bool
		for more := true; more; {
			var line string
			line, lines, more = strings.Cut(lines, lineEnd)
			name, value, colon := strings.Cut(line, ":")
			if !colon {
				whole = false
				continue
			}
			for value != "" && (value[0] == ' ' || value[0] == '\t') {
				value = value[1:]
			}
			switch {
			case len(name) < 3 || name[2] != '-':
			case is(name, lineVersion):
				event, version = true, true
			case is(name, lineID):
				event, id = true, true
			case is(name[:3], "ce-"):
				event = true
			}
			yield(name, value)
		}
		if !event {
			return
		}
		if !version {
			yield(lineVersion, "1.0")
		}
		if !id && p.Request != "" {
			yield(lineID, p.Request)
		}
	}, body)
	if !whole && p.Damaged == nil {
		p.Damaged = errNoFrame
	}
	return p
}
