package sixfold_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
)

func TestCheckMessageName(t *testing.T) {
	for _, name := range []string{"a", "orders.placed", "a/b:c*d#e>f", strings.Repeat("n", 255)} {
		if err := sixfold.CheckMessageName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", " ", "a b", "a\n", "\x00", "a\x7f", "é", strings.Repeat("n", 256), strings.Repeat("n", 10_000)} {
		refused(t, name, sixfold.CheckMessageName(name))
	}
}

func TestCheckTopic(t *testing.T) {
	for _, topic := range []string{"a", "orders.v1", "a-b_c/d", strings.Repeat("t", 255)} {
		if err := sixfold.CheckTopic(topic); err != nil {
			t.Error(err)
		}
	}
	for _, topic := range []string{"", "a b", "a\nb", "a\x00", "orders.*", "orders.>", "orders.#", "тема", strings.Repeat("t", 256), strings.Repeat("t", 10_000)} {
		refused(t, topic, sixfold.CheckTopic(topic))
	}
}

// refused says what is missing in an error about a value: its kind, the value in short, one line.
func refused(t *testing.T, value string, err error) {
	t.Helper()
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("%.20q was not refused: %v", value, err)
		return
	}
	if s := err.Error(); strings.ContainsAny(s, "\r\n\x00\x1b") || len(s) > 400 || !strings.HasPrefix(s, "sixfold: invalid ") {
		t.Errorf("%.20q: the error is not one short line: %q", value, s)
	}
}

func TestCheckHeaders(t *testing.T) {
	full := map[string]string{}
	for i := range sixfold.MaxHeaders {
		full[fmt.Sprintf("h%d", i)] = "v"
	}
	for name, h := range map[string]map[string]string{
		"nil": nil, "empty": {}, "empty value": {"a": ""}, "unicode value": {"a": "значение"}, "tab": {"a": "b\tc"},
		"almost reserved": {"Sixfold": "", "cesium": "", "nats": "", "x-ce-id": ""}, "full": full,
		"longest key": {strings.Repeat("k", sixfold.MaxHeaderKey): "v"}, "most bytes": {"k": strings.Repeat("v", sixfold.MaxHeaderBytes-1)},
	} {
		if err := sixfold.CheckHeaders(h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := map[string]string{}
	for i := range 10_000 {
		many[fmt.Sprintf("h%d", i)] = "\r\n"
	}
	for name, h := range map[string]map[string]string{
		"empty key": {"": "v"}, "CR in key": {"a\r": "v"}, "LF in key": {"a\nb: c": "v"}, "space": {"a b": "v"}, "colon": {"a:b": "v"},
		"not ASCII": {"é": "v"}, "NUL": {"a": "\x00"}, "CR": {"a": "b\rc"}, "LF": {"a": "b\n"}, "invalid UTF-8": {"a": "\xff"},
		"key of 129": {strings.Repeat("k", 129): "v"}, "key of 10 kB": {strings.Repeat("k", 10_000): "v"},
		"too many": many, "too large": {"k": strings.Repeat("v", sixfold.MaxHeaderBytes)},
		"ours": {"sixfold-attempt": "1"}, "ours in capitals": {"SIXFOLD-Attempt": "1"}, "CloudEvents": {"ce-id": "1"}, "Kafka's": {"ce_id": "1"},
		"AMQP's": {"cloudEvents:id": "1"}, "AMQP's other": {"CloudEvents_id": "1"}, "NATS's": {"Nats-Msg-Id": "1"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, name, sixfold.CheckHeaders(h)) })
	}
	// All at once, and in the same order each time.
	bad := map[string]string{"b c": "", "a b": "", "ce-x": "", "ok": "", "z": "\n"}
	want := sixfold.CheckHeaders(bad).Error()
	for _, s := range []string{`"a b"`, `"b c"`, `"ce-x"`, `header "z"`} {
		if !strings.Contains(want, s) {
			t.Errorf("%s is missing in %s", s, want)
		}
	}
	for range 20 {
		if got := sixfold.CheckHeaders(bad).Error(); got != want {
			t.Fatalf("%s\nthen\n%s", want, got)
		}
	}
}

func FuzzChecksShowLittle(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "\xff\xfe", strings.Repeat("\x80", 100), strings.Repeat("é", 200), "ce-", "\x1b]0;\a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, iderr := sixfold.ParseID(s)
		for _, err := range []error{iderr, sixfold.CheckMessageName(s), sixfold.CheckTopic(s), sixfold.CheckHeaders(map[string]string{s: ""})} {
			if err != nil {
				refused(t, s, err)
			}
		}
		if err := sixfold.CheckHeaders(map[string]string{"k": s}); err != nil {
			refused(t, s, err)
		}
		if err := sixfold.CheckEnvelope(&sixfold.Envelope{ID: sixfold.NewID(), Type: "t", Key: s}); err != nil {
			refused(t, s, err)
		}
	})
}
