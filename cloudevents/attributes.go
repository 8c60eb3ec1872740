package cloudevents

import (
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// attr is one attribute that has a place of its own in an Envelope.
type attr uint8

const (
	attrSpecVersion attr = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrContentType
	attrSchema // a core attribute without a field: it is the header "dataschema"
	attrKey
	attrCorrelation
	attrCausation
	attrTraceParent
	attrTraceState
	attrExpiry
	attrReplyTo
	attrSequence
	attrHeaders // our own: headers that cannot go under their own names
	attrBody    // our own: tells no body from an empty one in binary mode
	attrCount
)

// attrNames are the names of the specification, in the order in which attributes are written.
var attrNames = [attrCount]string{
	attrSpecVersion: "specversion", attrID: "id", attrSource: "source", attrType: "type", attrSubject: "subject",
	attrTime: "time", attrContentType: "datacontenttype", attrSchema: "dataschema", attrKey: "partitionkey",
	attrCorrelation: "correlationid", attrCausation: "causationid", attrTraceParent: "traceparent",
	attrTraceState: "tracestate", attrExpiry: "expirytime", attrReplyTo: "replyto", attrSequence: "sequence",
	attrHeaders: "sixfoldheaders", attrBody: "sixfoldbody",
}

// attrNamed finds an attribute by its exact name.
func attrNamed(name string) (attr, bool) {
	switch name {
	case "specversion":
		return attrSpecVersion, true
	case "id":
		return attrID, true
	case "source":
		return attrSource, true
	case "type":
		return attrType, true
	case "subject":
		return attrSubject, true
	case "time":
		return attrTime, true
	case "datacontenttype":
		return attrContentType, true
	case "dataschema":
		return attrSchema, true
	case "partitionkey":
		return attrKey, true
	case "correlationid":
		return attrCorrelation, true
	case "causationid":
		return attrCausation, true
	case "traceparent":
		return attrTraceParent, true
	case "tracestate":
		return attrTraceState, true
	case "expirytime":
		return attrExpiry, true
	case "replyto":
		return attrReplyTo, true
	case "sequence":
		return attrSequence, true
	case "sixfoldheaders":
		return attrHeaders, true
	case "sixfoldbody":
		return attrBody, true
	}
	return 0, false
}

// values are an envelope's attributes as text; an empty one is unset.
type values [attrCount]string

// fill takes the attributes of env, all but those that stand for headers and body, and checks what it takes.
func (v *values) fill(env *sixfold.Envelope) error {
	if env == nil {
		return invalid("envelope: it is nil; pass one")
	}
	v[attrSpecVersion] = specVersion
	v[attrID] = env.ID
	v[attrSource] = env.Source
	v[attrType] = env.Type
	v[attrSubject] = env.Subject
	v[attrContentType] = env.ContentType
	v[attrKey] = env.Key
	v[attrCorrelation] = env.CorrelationID
	v[attrCausation] = env.CausationID
	v[attrReplyTo] = env.ReplyTo
	v[attrSequence] = env.Sequence
	if env.Source == "" {
		v[attrSource] = UnnamedSource
	}
	if env.ID == "" || env.Type == "" {
		return invalid("envelope: its ID is %s and its Type %s, both are required; make it with sixfold.NewEnvelope", quote(env.ID), quote(env.Type))
	}
	for a, s := range v {
		if problem := textProblem(s); problem != "" {
			return attrError(attr(a), s, problem)
		}
	}
	if env.ContentType != "" && !isMediaType(env.ContentType) {
		return attrError(attrContentType, env.ContentType, notMediaType)
	}
	if validTraceParent(env.TraceParent) {
		v[attrTraceParent] = env.TraceParent
		if validTraceState(env.TraceState) {
			v[attrTraceState] = env.TraceState
		}
	}
	var err error
	if v[attrTime], err = formatTime(env.Time); err != nil {
		return fmt.Errorf("attribute %q: %w", attrNames[attrTime], err)
	}
	if v[attrExpiry], err = formatTime(env.Expires); err != nil {
		return fmt.Errorf("attribute %q: %w", attrNames[attrExpiry], err)
	}
	return nil
}

func formatTime(t time.Time) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return "", invalid("time: its year is %d, RFC 3339 has 0 to 9999; check the unit of the duration it was made from", y)
	}
	var buf [40]byte
	return string(t.AppendFormat(buf[:0], time.RFC3339Nano)), nil
}
