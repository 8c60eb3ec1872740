package request

import (
	"bytes"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/cloudevents"
)

// Nearly all frames are plain: the attributes and headers that this package writes, in lower case and once each, with values of printable ASCII that
// nothing has to be encoded in. Those are read and written here without an intermediate form. Whatever else there is, wrong or only unusual,
// goes the way through the binding, which alone knows the rules: this one refuses instead of judging.

// A line's place among those of which each comes once.
const (
	lineSource = 1 << iota
	lineType
	lineSubject
	lineTime
	lineContentType
	lineKey
	lineCorrelation
	lineCausation
	lineTrace
	lineExpiry
	lineReplyTo
	lineSequence
	lineEventID
)

// readPlain reads a plain frame into p, which is empty. It reports false, with p in any state, where it is not plain.
func (p *Packet) readPlain(data []byte) bool {
	env, seen := &p.Envelope, 0
	lines := data[len(frameMark):]
	for {
		end := bytes.IndexByte(lines, '\n')
		if end < 1 || lines[end-1] != '\r' {
			return false
		}
		line := lines[:end-1]
		lines = lines[end+1:]
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return false
		}
		v := line[colon+1:]
		if len(v) > 0 && v[0] == ' ' {
			v = v[1:]
		}
		var ok bool
		bit, at := 0, (*string)(nil)
		switch string(line[:colon]) {
		case "ce-source":
			bit, at = lineSource, &env.Source
		case "ce-type":
			bit, at = lineType, &env.Type
		case "ce-subject":
			bit, at = lineSubject, &env.Subject
		case "ce-partitionkey":
			bit, at = lineKey, &env.Key
		case "ce-causationid":
			bit, at = lineCausation, &env.CausationID
		case "ce-replyto":
			bit, at = lineReplyTo, &env.ReplyTo
		case "ce-sequence":
			bit, at = lineSequence, &env.Sequence
		case "ce-correlationid":
			bit, at = lineCorrelation, &env.CorrelationID
		case lineID:
			bit, at = lineEventID, &env.ID
		case "ce-datacontenttype":
			bit, at = lineContentType, &env.ContentType
		case "ce-traceparent":
			bit, at = lineTrace, &env.TraceParent
		case "ce-time":
			if env.Time, ok = plainTime(v); !ok || seen&lineTime != 0 {
				return false
			}
			seen |= lineTime
			continue
		case "ce-expirytime":
			if env.Expires, ok = plainTime(v); !ok || seen&lineExpiry != 0 {
				return false
			}
			seen |= lineExpiry
			continue
		case HeaderProtocol:
			at = &p.Protocol
		case HeaderRequest:
			at = &p.Request
		case HeaderTimeout:
			at = &p.Timeout
		case HeaderStatus:
			at = &p.Status
		case HeaderVersions:
			at = &p.Versions
		case HeaderNumber:
			at = &p.Number
		case HeaderSignature:
			at = &p.Signature
		default:
			return false
		}
		if *at != "" {
			return false
		}
		seen |= bit
		switch at {
		case &env.Source, &env.Type, &env.ContentType, &p.Protocol, &p.Status: // there are few of them
			*at, ok = known(v)
		case &p.Request:
			if ok = env.CorrelationID == string(v); ok { // the first of a chain is its own correlation
				p.Request = env.CorrelationID
				break
			}
			fallthrough
		default:
			if ok = isPlain(v); ok {
				*at = string(v)
			}
		}
		if !ok || at == &env.ContentType && !isPlainMedia(*at) || at == &env.TraceParent && !isPlainTrace(*at) {
			return false
		}
	}
	switch {
	case seen == 0 && p.Bare():
	case seen&lineSource == 0 || seen&lineType == 0 || seen&lineEventID == 0 && p.Request == "":
		return false
	}
	if seen != 0 && seen&lineEventID == 0 {
		env.ID = p.Request
	}
	if env.Source == cloudevents.UnnamedSource {
		env.Source = ""
	}
	if len(lines) > 0 {
		env.Body = lines
	}
	return true
}

// appendPlain appends p as a frame if that is plain. Else dst is as it was.
func (p *Packet) appendPlain(dst []byte) ([]byte, bool) {
	before := dst
	dst = append(dst, frameMark...)
	if env := &p.Envelope; env.Type != "" {
		source := env.Source
		if source == "" {
			source = cloudevents.UnnamedSource
		}
		if env.ID == "" || len(env.Headers) > 0 || len(env.Body) == 0 || env.TraceState != "" || env.ContentType != "" && !isPlainMedia(env.ContentType) ||
			env.TraceParent != "" && !isPlainTrace(env.TraceParent) || !isPlain(env.ID) {
			return before, false
		}
		if env.ID != p.Request {
			dst = appendLine(dst, lineID, env.ID)
		}
		ok1, ok2 := false, false
		if dst, ok1 = appendPlainLines(dst, line{"ce-source", source}, line{"ce-type", env.Type}, line{"ce-subject", env.Subject}); !ok1 {
			return before, false
		}
		dst, ok1 = appendTime(dst, "ce-time", env.Time)
		if env.ContentType != "" {
			dst = appendLine(dst, "ce-datacontenttype", env.ContentType)
		}
		dst, ok2 = appendPlainLines(dst, line{"ce-partitionkey", env.Key}, line{"ce-correlationid", env.CorrelationID}, line{"ce-causationid", env.CausationID}, line{"ce-traceparent", env.TraceParent})
		if !ok1 || !ok2 {
			return before, false
		}
		dst, ok1 = appendTime(dst, "ce-expirytime", env.Expires)
		if dst, ok2 = appendPlainLines(dst, line{"ce-replyto", env.ReplyTo}, line{"ce-sequence", env.Sequence}); !ok1 || !ok2 {
			return before, false
		}
	}
	dst, ok := appendPlainLines(dst, line{HeaderProtocol, p.Protocol}, line{HeaderRequest, p.Request}, line{HeaderTimeout, p.Timeout}, line{HeaderStatus, p.Status},
		line{HeaderVersions, p.Versions}, line{HeaderNumber, p.Number}, line{HeaderSignature, p.Signature})
	if !ok {
		return before, false
	}
	dst = append(dst, lineEnd...)
	return append(dst, p.Envelope.Body...), true
}

type line struct{ name, value string }

// appendPlainLines appends those that have a value, and stops at one that is not plain.
func appendPlainLines(dst []byte, lines ...line) ([]byte, bool) {
	for i := range lines {
		l := &lines[i]
		if l.value == "" {
			continue
		}
		if !isPlain(l.value) {
			return dst, false
		}
		dst = appendLine(dst, l.name, l.value)
	}
	return dst, true
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, lineEnd...)
}

// appendTime appends a time unless it is zero, and stops at one of a year that plainTime does not read.
func appendTime(dst []byte, name string, t time.Time) ([]byte, bool) {
	if t.IsZero() {
		return dst, true
	}
	t = t.UTC()
	if y := t.Year(); y < 1000 || y > 9999 {
		return dst, false
	}
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = t.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, lineEnd...), true
}

// isPlain reports whether a value is the same encoded and not: 1 to 255 bytes of printable ASCII, without space, quote and percent.
func isPlain[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			return false
		}
	}
	return true
}

// isPlainMedia reports whether s is a media type without parameters, in lower case.
func isPlainMedia(s string) bool {
	if s == "application/json" {
		return true
	}
	main, sub, _ := strings.Cut(s, "/")
	return len(s) <= 255 && isPlainName(main) && isPlainName(sub)
}

func isPlainName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '+' {
			return false
		}
	}
	return s != ""
}

// isPlainTrace reports whether s is a traceparent of version 00 (W3C Trace Context, section 3.2.2).
func isPlainTrace(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' || strings.Trim(s[3:35], "0") == "" || strings.Trim(s[36:52], "0") == "" {
		return false
	}
	for i := 3; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && i != 35 && i != 52 {
			return false
		}
	}
	return true
}

// plainTime reads a time in UTC, with up to nine digits below the second.
func plainTime(s []byte) (t time.Time, ok bool) {
	const form = "2006-01-02T15:04:05"
	last := len(s) - 1
	if last < len(form) || last > len(form)+10 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[last] != 'Z' {
		return t, false
	}
	nanos := 0
	if last > len(form) {
		if s[len(form)] != '.' || last == len(form)+1 {
			return t, false
		}
		unit := 100_000_000
		for _, c := range s[len(form)+1 : last] {
			if c < '0' || c > '9' {
				return t, false
			}
			nanos += int(c-'0') * unit
			unit /= 10
		}
	}
	two := func(i int) int {
		a, b := s[i]-'0', s[i+1]-'0'
		if a > 9 || b > 9 {
			ok = false
		}
		return 10*int(a) + int(b)
	}
	ok = true
	year, month, day, hour, minute, second := 100*two(0)+two(2), two(5), two(8), two(11), two(14), two(17)
	if !ok || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	return t, day <= 28 || t.Day() == day // else the month has not that many
}

// values are the last plain ones of headers that nearly always say the same: to compare is cheaper than to allocate. What is in there makes no difference
// but that.
var (
	values     [256]atomic.Pointer[string]
	valuesSeed = maphash.MakeSeed()
)

// known is the string of a plain value; ok is false where it is not plain.
func known(v []byte) (s string, ok bool) {
	at := &values[maphash.Bytes(valuesSeed, v)%uint64(len(values))]
	if have := at.Load(); have != nil && *have == string(v) {
		return *have, true
	}
	if !isPlain(v) {
		return "", false
	}
	have := string(v)
	at.Store(&have)
	return have, true
}
