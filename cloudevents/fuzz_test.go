package cloudevents_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

func seeds() []string {
	return []string{
		``, `null`, `[]`, `{}`, `[{},{}]`, event(), event(`"data":{"a":[1e400,-0,9007199254740993]}`), event(`"data_base64":"AP8="`),
		event(`"datacontenttype":"text/plain"`, `"data":"\ud83d\ude00"`), event(`"time":"2016-12-31T23:59:60Z"`, `"mine":true`, `"yours":-12`),
		event(`"sixfoldheaders":"X-A=%C3%A9&b=c"`, `"traceparent":"`+goodTrace+`"`, `"tracestate":"a=b"`), `[` + event() + `,` + event() + `]`,
		"\xef\xbb\xbf" + event(), event(`"\u0069d":1`),
	}
}

// asRead checks what holds for everything that was read: it can be written in every way, and reads back the same.
func asRead(t *testing.T, env *sixfold.Envelope) {
	t.Helper()
	data, err := cloudevents.Marshal(env)
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	if !json.Valid(data) {
		t.Fatalf("what was written is not JSON: %q", data)
	}
	again, err := cloudevents.Unmarshal(data)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v: %q", err, data)
	}
	if diff := difference(again, env); diff != "" {
		t.Fatalf("through %q: %s", data, diff)
	}
	for name, b := range bindings() {
		headers, err := b.AppendHeaders(nil, env)
		if err != nil {
			t.Fatalf("%s: what was read cannot be written: %v", name, err)
		}
		var got sixfold.Envelope
		if err := b.Read(&got, seq(headers), env.Body); err != nil {
			t.Fatalf("%s: what was written cannot be read: %v: %q", name, err, headers)
		}
		if diff := difference(&got, env); diff != "" {
			t.Fatalf("%s: through %q: %s", name, headers, diff)
		}
	}
}

func asRefused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, sixfold.ErrInvalid) || !strings.HasPrefix(err.Error(), "cloudevents: read ") || len(err.Error()) > 1200 {
		t.Fatalf("error %q", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := cloudevents.Unmarshal(data)
		if err != nil {
			asRefused(t, err)
			return
		}
		if !json.Valid(data) { // a second opinion
			t.Fatalf("read what is not JSON: %q", data)
		}
		asRead(t, env)
	})
}

func FuzzBatch(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
		f.Add([]byte(`[` + s + `]`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		envs, err := cloudevents.UnmarshalBatch(data)
		if err != nil {
			asRefused(t, err)
			return
		}
		if !json.Valid(data) {
			t.Fatalf("read what is not JSON: %q", data)
		}
		out, err := cloudevents.MarshalBatch(envs)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := cloudevents.UnmarshalBatch(out)
		if err != nil || len(again) != len(envs) {
			t.Fatalf("what was written cannot be read: %v: %q", err, out)
		}
		for i := range envs {
			if diff := difference(again[i], envs[i]); diff != "" {
				t.Fatalf("event %d: %s", i+1, diff)
			}
		}
	})
}

// FuzzHeaders takes the headers as lines of "name: value".
func FuzzHeaders(f *testing.F) {
	for _, prefix := range []string{"ce-", "ce_", "cloudEvents:", "cloudEvents_"} {
		var b strings.Builder
		for _, h := range minimal(prefix, prefix+"subject", `"a \"b\"" %41%e2%82%ac`, "content-type", "text/plain", prefix+"time", "2018-04-05T03:56:24Z",
			prefix+"sixfoldheaders", "X-A=%25C3", prefix+"mine", "1", "mine", "2", "sixfold-attempt", "9", prefix+"sixfoldbody", "none") {
			b.WriteString(h.Name + ": " + h.Value + "\n")
		}
		f.Add(b.String(), []byte("body"))
		f.Add(b.String(), []byte{})
	}
	f.Add("content-type: application/cloudevents+json", []byte(event()))
	f.Fuzz(func(t *testing.T, lines string, body []byte) {
		var headers []cloudevents.Header
		for line := range strings.SplitSeq(lines, "\n") {
			name, v, _ := strings.Cut(line, ": ")
			headers = append(headers, cloudevents.Header{Name: name, Value: v})
		}
		for _, b := range bindings() {
			var env sixfold.Envelope
			if err := b.Read(&env, seq(headers), body); err != nil {
				asRefused(t, err)
				continue
			}
			for k := range env.Headers {
				if sixfold.IsReservedHeader(k) {
					t.Fatalf("header %q came through", k)
				}
			}
			if err := sixfold.CheckHeaders(env.Headers); err != nil {
				t.Fatalf("headers that may not be published: %v", err)
			}
			asRead(t, &env)
		}
	})
}
