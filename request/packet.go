package request

import (
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// Version is the version of the wire protocol that this package speaks.
const Version = 1

// Names of the protocol's own headers. docs/protocol.md says what they hold.
const (
	HeaderProtocol  = "sixfold-protocol"  // "<kind>/<version>"
	HeaderRequest   = "sixfold-request"   // the id of the request
	HeaderTimeout   = "sixfold-timeout"   // milliseconds that were left when it was sent
	HeaderStatus    = "sixfold-status"    // of a reply: "ok" or a Category
	HeaderVersions  = "sixfold-versions"  // with the status "unsupported": the versions that the responder speaks
	HeaderNumber    = "sixfold-number"    // of a stream's packets: a number of items
	HeaderSignature = "sixfold-signature" // as package signature has it
)

// Kinds of packets.
const (
	KindRequest = "request"
	KindReply   = "reply"
	KindCancel  = "cancel"
	KindScatter = "scatter" // a request to all who listen
	KindItem    = "item"    // one of a stream
	KindCredit  = "credit"  // how far a stream may go
	KindAlive   = "alive"   // how far a stream has gone, where there is nothing else to say
)

// isKind reports whether kind is one of them.
func isKind(kind string) bool {
	switch kind {
	case KindRequest, KindReply, KindCancel, KindScatter, KindItem, KindCredit, KindAlive:
		return true
	}
	return false
}

// FaultType is the type of the envelope of a reply that is a fault. That of an answer is the request's with ReplySuffix, that of
// one of a stream's items with ItemSuffix.
const (
	FaultType   = "sixfold.fault"
	ReplySuffix = ".reply"
	ItemSuffix  = ".item"
)

// statusOK is the status of a reply that is an answer.
const statusOK = "ok"

// A Packet is a request, a reply or another of the protocol's kinds as a lane carries it: an envelope, and beside it the protocol's own
// headers as they came, which nobody has checked.
type Packet struct {
	// Envelope has the attributes and the body. Empty where Bare says so.
	Envelope sixfold.Envelope
	// Damaged says why Envelope could not be read. Nil: it could.
	Damaged error
	// ReplyTo is the address for answers, in the lane's own form. A port fills it in where it sends; the lane reads it where
	// its carrier has a place for it, and leaves it empty where it is none of the lane's addresses.
	ReplyTo string
	// Protocol, Request, Timeout, Status, Versions, Number and Signature are the headers of these names.
	Protocol, Request, Timeout, Status, Versions, Number, Signature string
	// Framed says that it came as a frame. What answers it goes the same way, since its sender may know no other.
	Framed bool
	// Waited is how long the packet has waited at the broker, where the lane knows.
	Waited time.Duration
}

// packets are to be used again. Only what this package has made or been given, and nobody else can have kept, comes back.
var packets = sync.Pool{New: func() any { return new(Packet) }}

// Clone is a copy with the same body and the same map of user headers, for lanes that hand over what they were given.
func (p *Packet) Clone() *Packet {
	q := packets.Get().(*Packet)
	*q = *p
	return q
}

// release gives a packet up.
func (p *Packet) release() {
	*p = Packet{}
	packets.Put(p)
}

// AppendHeaders appends the headers of p to dst: those of the envelope as b has them, then the protocol's own.
func (p *Packet) AppendHeaders(dst []cloudevents.Header, b *cloudevents.Binding) ([]cloudevents.Header, error) {
	before := len(dst)
	if p.Envelope.Type != "" {
		var err error
		if dst, err = b.AppendHeaders(dst, &p.Envelope); err != nil {
			return dst[:before], err
		}
	}
	for _, h := range [...]cloudevents.Header{{Name: HeaderProtocol, Value: p.Protocol}, {Name: HeaderRequest, Value: p.Request},
		{Name: HeaderTimeout, Value: p.Timeout}, {Name: HeaderStatus, Value: p.Status}, {Name: HeaderVersions, Value: p.Versions},
		{Name: HeaderNumber, Value: p.Number}, {Name: HeaderSignature, Value: p.Signature}} {
		if h.Value != "" {
			dst = append(dst, h)
		}
	}
	return dst, nil
}

// ReadPacket reads what came. What is wrong with the envelope is in Damaged; the protocol's headers are there all the same.
// The packet keeps body. Of a header that came twice the first counts.
func ReadPacket(b *cloudevents.Binding, headers iter.Seq2[string, string], body []byte) *Packet {
	p := packets.Get().(*Packet)
	p.read(b, headers, body)
	return p
}

// read is ReadPacket for a packet that is empty.
func (p *Packet) read(b *cloudevents.Binding, headers iter.Seq2[string, string], body []byte) {
	event := false
	err := b.Read(&p.Envelope, func(yield func(string, string) bool) {
		headers(func(name, value string) bool {
			if at := p.header(name); at != nil {
				if *at == "" {
					*at = value
				}
				return true
			}
			event = true
			return yield(name, value)
		})
	}, body)
	if err != nil && !event && p.Bare() {
		err = nil // it has no envelope
	}
	p.Damaged = err
}

// header is where the value of a header goes, or nil if it is none of the protocol's.
func (p *Packet) header(name string) *string {
	const prefix = "sixfold-"
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return nil
	}
	switch {
	case is(name, HeaderProtocol):
		return &p.Protocol
	case is(name, HeaderRequest):
		return &p.Request
	case is(name, HeaderTimeout):
		return &p.Timeout
	case is(name, HeaderStatus):
		return &p.Status
	case is(name, HeaderVersions):
		return &p.Versions
	case is(name, HeaderNumber):
		return &p.Number
	case is(name, HeaderSignature):
		return &p.Signature
	}
	return nil
}

// is compares names of headers in either case, of ASCII: letters of others that fold to it have more bytes.
func is(name, header string) bool { return len(name) == len(header) && strings.EqualFold(name, header) }

// Those that are written. Comparing with the first three is the quick way through kind.
const (
	requestV1 = KindRequest + "/1"
	replyV1   = KindReply + "/1"
	cancelV1  = KindCancel + "/1"
	scatterV1 = KindScatter + "/1"
	itemV1    = KindItem + "/1"
	creditV1  = KindCredit + "/1"
	aliveV1   = KindAlive + "/1"
)

// says is the kind that Protocol begins with, which nobody has checked.
func (p *Packet) says() string {
	kind, _, _ := strings.Cut(p.Protocol, "/")
	return kind
}

// Bare reports whether the packet is of a kind that has no envelope.
func (p *Packet) Bare() bool {
	switch p.says() {
	case KindCancel, KindCredit, KindAlive:
		return true
	}
	return false
}

// ToAll reports whether the packet goes to all who listen at its destination, by the way of cancellations. Else one of them gets it.
func (p *Packet) ToAll() bool {
	switch p.says() {
	case KindCancel, KindCredit, KindScatter:
		return true
	}
	return false
}

// kind reads Protocol. ok is false where that is nothing that a peer of any version writes.
func (p *Packet) kind() (kind string, version int, ok bool) {
	switch p.Protocol {
	case requestV1:
		return KindRequest, 1, true
	case replyV1:
		return KindReply, 1, true
	case cancelV1:
		return KindCancel, 1, true
	}
	kind, v, found := strings.Cut(p.Protocol, "/")
	version, ok = digits(v)
	if !found || !ok || !isKind(kind) {
		return "", 0, false
	}
	return kind, version, true
}

// digits reads a number of 1 to 9 decimal digits.
func digits(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// isID reports whether s can be the id of a request: 1 to 255 bytes of printable ASCII without spaces.
func isID(s string) bool {
	if s == "" || len(s) > sixfold.MaxName {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
