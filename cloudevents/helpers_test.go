package cloudevents_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// sameEnvelope compares all fields; %+v of an envelope would show none of them.
func sameEnvelope(t *testing.T, got, want *sixfold.Envelope) {
	t.Helper()
	if diff := difference(got, want); diff != "" {
		t.Error(diff)
	}
}

func difference(got, want *sixfold.Envelope) string {
	for _, f := range []struct{ name, got, want string }{
		{"ID", got.ID, want.ID}, {"Source", got.Source, want.Source}, {"Type", got.Type, want.Type},
		{"Subject", got.Subject, want.Subject}, {"Key", got.Key, want.Key}, {"ContentType", got.ContentType, want.ContentType},
		{"CorrelationID", got.CorrelationID, want.CorrelationID}, {"CausationID", got.CausationID, want.CausationID},
		{"TraceParent", got.TraceParent, want.TraceParent}, {"TraceState", got.TraceState, want.TraceState},
		{"ReplyTo", got.ReplyTo, want.ReplyTo}, {"Sequence", got.Sequence, want.Sequence},
		{"Time", got.Time.String(), want.Time.UTC().Round(0).String()}, {"Expires", got.Expires.String(), want.Expires.UTC().Round(0).String()},
		{"Body", string(got.Body), string(want.Body)},
	} {
		if f.got != f.want {
			return f.name + " is " + quoted(f.got) + ", want " + quoted(f.want)
		}
	}
	if (got.Body == nil) != (want.Body == nil) {
		return "nil and empty body are confused"
	}
	if !maps.Equal(got.Headers, want.Headers) {
		return "headers are " + quotedMap(got.Headers) + ", want " + quotedMap(want.Headers)
	}
	if got.Headers != nil && len(got.Headers) == 0 {
		return "headers are empty instead of nil"
	}
	return ""
}

// seq is what a driver does with what it received.
func seq(headers []cloudevents.Header) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, h := range headers {
			if !yield(h.Name, h.Value) {
				return
			}
		}
	}
}

// bindings are made anew for each caller.
func bindings() map[string]*cloudevents.Binding {
	return map[string]*cloudevents.Binding{
		"nats": cloudevents.NATS(), "http": cloudevents.HTTP(), "kafka": cloudevents.Kafka(), "amqp": cloudevents.AMQP(),
	}
}

func names(headers []cloudevents.Header) []string {
	var out []string
	for _, h := range headers {
		out = append(out, h.Name)
	}
	return out
}

func value(headers []cloudevents.Header, name string) string {
	i := slices.IndexFunc(headers, func(h cloudevents.Header) bool { return h.Name == name })
	if i < 0 {
		return ""
	}
	return headers[i].Value
}

func quoted(s string) string { return strconv.QuoteToASCII(s) }

func quotedMap(m map[string]string) string { return fmt.Sprintf("%+q", m) }
