package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
)

// Attributes of a row that are no columns of their own are one JSON object, so that other writers can make it and
// people can read it: CloudEvents names with string values, the user's headers as an object "headers", and Flags that
// are set. Only "type" is required. What nearly every message says is said by saying nothing, since each byte of a row
// is written twice (table and log): without "datacontenttype" it is application/json, and without "correlationid" the
// message is the first of its chain, so that its own id is meant. Empty ones are written as "".

const usualContentType = "application/json"

// Flags of a row, kept among its attributes.
type Flags struct {
	MustReach bool // "mustreach": an unroutable message is a failure
	Relayed   bool // "relayed": a relay brought the row, perhaps more than once, so that only an inbox can tell repeats
	// Epoch, "epoch", is how often people had the message sent again after it had become a dead letter. It goes to the
	// broker, so that one that drops repeats of an id does not drop the message.
	Epoch int
}

// EncodeAttrs writes the attributes of env for Row.Attrs.
func EncodeAttrs(env *sixfold.Envelope, flags Flags) []byte {
	var space [512]byte // nearly always enough, so that what is kept is as long as it must be
	return bytes.Clone(appendAttrs(space[:0], env, flags))
}

func appendAttrs(b []byte, env *sixfold.Envelope, flags Flags) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, env.Type)
	attr := func(name, v string) {
		if v != "" {
			b = append(append(append(b, ',', '"'), name...), '"', ':')
			b = appendString(b, v)
		}
	}
	attr("source", env.Source)
	attr("subject", env.Subject)
	if !env.Time.IsZero() {
		b = append(b, `,"time":"`...)
		b = env.Time.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	if env.ContentType != usualContentType {
		b = append(b, `,"datacontenttype":`...)
		b = appendString(b, env.ContentType)
	}
	if env.CorrelationID != env.ID {
		b = append(b, `,"correlationid":`...)
		b = appendString(b, env.CorrelationID)
	}
	attr("causationid", env.CausationID)
	attr("traceparent", env.TraceParent)
	attr("tracestate", env.TraceState)
	if !env.Expires.IsZero() {
		b = append(b, `,"expirytime":"`...)
		b = env.Expires.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	attr("replyto", env.ReplyTo)
	attr("sequence", env.Sequence) // of what a relay brought
	attr("issuer", env.Issuer())   // of what was verified before it was parked
	if flags.MustReach {
		b = append(b, `,"mustreach":true`...)
	}
	if flags.Relayed {
		b = append(b, `,"relayed":true`...)
	}
	if flags.Epoch > 0 {
		b = strconv.AppendInt(append(b, `,"epoch":`...), int64(flags.Epoch), 10)
	}
	if len(env.Headers) > 0 {
		b = append(b, `,"headers":{`...)
		first := true
		for k, v := range env.Headers {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendString(b, k)
			b = append(b, ':')
			b = appendString(b, v)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendString appends s as a JSON string. Everything that may stand unescaped does, so that reading it back is a copy.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// DecodeAttrs reads what EncodeAttrs or another writer wrote, into env, whose ID is there already. It is strict about
// types and lenient about unknown attributes, which a newer version may have written.
func DecodeAttrs(attrs []byte, env *sixfold.Envelope) (Flags, error) {
	if flags, ok := decodePlain(attrs, env); ok {
		return flags, nil
	}
	return decodeAny(attrs, env)
}

type jsonAttrs struct {
	Type            string            `json:"type"`
	Source          string            `json:"source"`
	Subject         string            `json:"subject"`
	Time            string            `json:"time"`
	DataContentType *string           `json:"datacontenttype"`
	CorrelationID   *string           `json:"correlationid"`
	CausationID     string            `json:"causationid"`
	TraceParent     string            `json:"traceparent"`
	TraceState      string            `json:"tracestate"`
	ExpiryTime      string            `json:"expirytime"`
	ReplyTo         string            `json:"replyto"`
	Sequence        string            `json:"sequence"`
	Issuer          string            `json:"issuer"`
	MustReach       bool              `json:"mustreach"`
	Relayed         bool              `json:"relayed"`
	Epoch           int               `json:"epoch"`
	Headers         map[string]string `json:"headers"`
}

// decodeAny takes every JSON object, at the price of encoding/json.
func decodeAny(attrs []byte, env *sixfold.Envelope) (Flags, error) {
	var a jsonAttrs
	if !utf8.Valid(attrs) {
		return Flags{}, errors.New("outbox: read attributes: they are not valid UTF-8")
	}
	if err := json.Unmarshal(attrs, &a); err != nil {
		return Flags{}, fmt.Errorf("outbox: read attributes: %w", err)
	}
	if a.Type == "" {
		return Flags{}, errors.New(`outbox: read attributes: "type" is missing; write {"type": "<message name>"}`)
	}
	env.Time, env.Expires = time.Time{}, time.Time{}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{a.Time, &env.Time}, {a.ExpiryTime, &env.Expires}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, t.text)
		if err != nil {
			return Flags{}, fmt.Errorf("outbox: read attributes: time %s is not of RFC 3339", strconv.Quote(t.text[:min(64, len(t.text))]))
		}
		*t.to = at.UTC()
	}
	env.ContentType, env.CorrelationID = usualContentType, env.ID
	if a.DataContentType != nil {
		env.ContentType = *a.DataContentType
	}
	if a.CorrelationID != nil {
		env.CorrelationID = *a.CorrelationID
	}
	env.Type, env.Source, env.Subject = a.Type, a.Source, a.Subject
	env.CausationID, env.TraceParent, env.TraceState = a.CausationID, a.TraceParent, a.TraceState
	env.ReplyTo, env.Sequence, env.Headers = a.ReplyTo, a.Sequence, a.Headers
	env.SetIssuer(a.Issuer)
	return Flags{a.MustReach, a.Relayed, max(0, a.Epoch)}, nil
}

// decodePlain takes the form that EncodeAttrs writes, without escapes and white space, in a fraction of the time.
// It answers false, having promised nothing about env, for all else.
func decodePlain(b []byte, env *sixfold.Envelope) (flags Flags, ok bool) {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' || bytes.IndexByte(b, '\\') >= 0 || !utf8.Valid(b) {
		return flags, false
	}
	env.ContentType, env.CorrelationID = usualContentType, env.ID
	text := string(b) // one copy, of which all attributes are parts
	var headers map[string]string
	i := 1
	for {
		name, next, ok := plainString(text, i)
		if !ok || next >= len(text) || text[next] != ':' {
			return flags, false
		}
		i = next + 1
		switch name {
		case "mustreach", "relayed":
			if len(text) < i+4 || text[i:i+4] != "true" {
				return flags, false
			}
			i += 4
			flags.MustReach = flags.MustReach || name == "mustreach"
			flags.Relayed = flags.Relayed || name == "relayed"
		case "epoch":
			if flags.Epoch, i, ok = plainNumber(text, i); !ok {
				return flags, false
			}
		case "headers":
			if headers != nil { // twice: encoding/json merges them
				return flags, false
			}
			if headers, i, ok = plainHeaders(text, i); !ok {
				return flags, false
			}
		default:
			var v string
			if v, i, ok = plainString(text, i); !ok || !setAttr(env, name, v) {
				return flags, false
			}
		}
		if i >= len(text) {
			return flags, false
		}
		if text[i] == '}' {
			env.Headers = headers
			return flags, i == len(text)-1 && env.Type != ""
		}
		if text[i] != ',' {
			return flags, false
		}
		i++
	}
}

func plainHeaders(text string, i int) (map[string]string, int, bool) {
	if i+1 >= len(text) || text[i] != '{' || text[i+1] != '"' {
		return nil, i, false
	}
	headers := make(map[string]string, 4)
	for i++; ; i++ {
		k, next, ok := plainString(text, i)
		if !ok || next >= len(text) || text[next] != ':' {
			return nil, i, false
		}
		v, next, ok := plainString(text, next+1)
		if !ok || next >= len(text) {
			return nil, i, false
		}
		headers[k] = v
		if i = next; text[i] == '}' {
			return headers, i + 1, true
		}
		if text[i] != ',' {
			return nil, i, false
		}
	}
}

// plainString reads the string that begins at i and answers the index behind its closing quote.
func plainString(text string, i int) (string, int, bool) {
	if i >= len(text) || text[i] != '"' {
		return "", i, false
	}
	for j := i + 1; j < len(text); j++ {
		if text[j] == '"' {
			return text[i+1 : j], j + 1, true
		}
		if text[j] < ' ' {
			return "", i, false
		}
	}
	return "", i, false
}

// plainNumber reads a number of one to nine digits without a leading zero and answers the index behind it.
func plainNumber(text string, i int) (n, next int, ok bool) {
	for next = i; next < len(text) && next < i+9 && text[next] >= '0' && text[next] <= '9'; next++ {
		n = 10*n + int(text[next]-'0')
	}
	return n, next, next > i && text[i] != '0'
}

func setAttr(env *sixfold.Envelope, name, v string) bool {
	switch name {
	case "type":
		env.Type = v
	case "source":
		env.Source = v
	case "subject":
		env.Subject = v
	case "datacontenttype":
		env.ContentType = v
	case "correlationid":
		env.CorrelationID = v
	case "causationid":
		env.CausationID = v
	case "traceparent":
		env.TraceParent = v
	case "tracestate":
		env.TraceState = v
	case "replyto":
		env.ReplyTo = v
	case "sequence":
		env.Sequence = v
	case "issuer":
		env.SetIssuer(v)
	case "time", "expirytime":
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return false
		}
		if name == "time" {
			env.Time = at.UTC()
		} else {
			env.Expires = at.UTC()
		}
	default:
		return false
	}
	return true
}
