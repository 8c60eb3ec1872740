package signature

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/signed"
)

// Header is the header of an envelope that holds its signature; on the wire it is the CloudEvents attribute of that name.
const Header = signed.Header

// label keeps these signatures apart from all others that a key may ever make.
const label = "sixfold signature 1"

// Exchange has what a request, a reply or another packet of a call says beside its envelope, as package request names it.
type Exchange struct {
	// Protocol is the kind and the version, as in "request/1".
	Protocol string
	// Request is the id of the request.
	Request string
	// Timeout, Status, Versions and Number are the headers of these names; empty where there is none.
	Timeout, Status, Versions, Number string
}

// canonical is what is signed: each part with its length in four bytes, big-endian, in front, in a fixed order. So no two
// different messages have the same bytes. docs/protocol.md lists the parts.
//
// What brokers, bridges and relays change is left out: the trace context, the sequence, the framework's own headers. So is the
// address for answers of a request, which some brokers write themselves.
func canonical(t *token, env *sixfold.Envelope, x *Exchange) []byte {
	size := 512
	for k, v := range env.Headers {
		size += 8 + len(k) + len(v)
	}
	b := make([]byte, 0, size)
	b = part(b, label)
	replyTo := env.ReplyTo
	if x == nil {
		x = &Exchange{Protocol: "message/1"}
	} else {
		replyTo = ""
	}
	b = part(b, x.Protocol)
	b = part(b, t.key)
	b = part(b, strconv.FormatInt(t.issuedAt, 10))
	b = part(b, t.audience)
	b = part(b, env.Type)
	b = part(b, env.ID)
	b = part(b, env.Source)
	b = part(b, env.Subject)
	b = timePart(b, env.Time)
	b = part(b, env.Key)
	b = part(b, env.ContentType)
	b = part(b, env.CorrelationID)
	b = part(b, env.CausationID)
	b = timePart(b, env.Expires)
	b = part(b, replyTo)
	b = part(b, x.Request)
	b = part(b, x.Timeout)
	b = part(b, x.Status)
	b = part(b, x.Versions)
	if x.Number != "" { // headers come in pairs, so that the number of parts tells whether it is there
		b = part(b, x.Number)
	}
	b = headerParts(b, env.Headers)
	if env.Body == nil {
		return part(b, "")
	}
	sum := sha256.Sum256(env.Body)
	return part(b, sum[:])
}

func part[T string | []byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// timePart is a time of RFC 3339 in UTC, with as many digits of the second as it needs; empty: none.
func timePart(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return part(b, "")
	}
	var buf [40]byte
	return part(b, t.UTC().AppendFormat(buf[:0], time.RFC3339Nano))
}

// headerParts are the number of the user's headers, then name and value of each, in the order of the names' bytes.
func headerParts(b []byte, headers map[string]string) []byte {
	if len(headers) == 0 || len(headers) == 1 && isOwn(headers) {
		return part(b, "0")
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(headers)), unsigned)
	b = part(b, strconv.Itoa(len(names)))
	for _, name := range names {
		b = part(part(b, name), headers[name])
	}
	return b
}

func isOwn(headers map[string]string) bool {
	_, ok := headers[Header]
	return ok
}

// unsigned reports whether a header is not the user's: the signature itself, and what the framework adds on the way.
func unsigned(name string) bool { return name == Header || sixfold.IsReservedHeader(name) }

// oneOfEach reports whether no two headers have names that differ in their case only: a handler, or a bridge, may take one for the other.
func oneOfEach(headers map[string]string) bool {
	if len(headers) < 2 {
		return true
	}
	seen := make(map[string]bool, len(headers))
	for name := range headers {
		name = strings.ToLower(name)
		if seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}
