package cloudevents_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

type pairs []cloudevents.Header

// minimal makes the required attributes under a prefix, and more headers.
func minimal(prefix string, more ...string) pairs {
	all := pairs{{prefix + "specversion", "1.0"}, {prefix + "id", "e1"}, {prefix + "type", "test.made"}, {prefix + "source", "//tests"}}
	for i := 0; i < len(more); i += 2 {
		all = append(all, cloudevents.Header{Name: more[i], Value: more[i+1]})
	}
	return all
}

func full() *sixfold.Envelope {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	return &sixfold.Envelope{ID: "e1", Type: "orders.placed", Source: "shop", Subject: "o 1", Key: "o1", Time: at, ContentType: "application/json",
		CorrelationID: "c1", CausationID: "c0", TraceParent: goodTrace, TraceState: "a=b", Expires: at.Add(time.Hour), ReplyTo: "answers", Sequence: "7/42",
		Headers: map[string]string{"tenant": "blue", "X-City": "Köln", "Content-Type": "mine"}, Body: []byte(`{}`)}
}

func TestHeadersOfEachBinding(t *testing.T) {
	for name, want := range map[string][]string{
		"nats": {"ce-specversion 1.0", "ce-id e1", "ce-source shop", "ce-type orders.placed", "ce-subject o%201", "ce-time 2026-01-02T03:04:05.6Z",
			"ce-datacontenttype application/json", "ce-partitionkey o1", "ce-correlationid c1", "ce-causationid c0", "ce-traceparent " + goodTrace, "ce-tracestate a=b",
			"ce-expirytime 2026-01-02T04:04:05.6Z", "ce-replyto answers", "ce-sequence 7/42", "tenant blue", "ce-sixfoldheaders Content-Type=mine&X-City=K%25C3%25B6ln"},
		"kafka": {"ce_specversion 1.0", "ce_id e1", "ce_source shop", "ce_type orders.placed", "ce_subject o 1", "ce_time 2026-01-02T03:04:05.6Z",
			"content-type application/json", "ce_partitionkey o1", "ce_correlationid c1", "ce_causationid c0", "ce_traceparent " + goodTrace, "ce_tracestate a=b",
			"ce_expirytime 2026-01-02T04:04:05.6Z", "ce_replyto answers", "ce_sequence 7/42", "X-City Köln", "tenant blue", "ce_sixfoldheaders Content-Type=mine"},
	} {
		headers, err := bindings()[name].AppendHeaders(nil, full())
		var got []string
		for _, h := range headers {
			got = append(got, h.Name+" "+h.Value)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, want)
		}
	}
	headers, _ := cloudevents.AMQP().AppendHeaders(nil, full())
	if value(headers, "cloudEvents:id") != "e1" || value(headers, "content-type") != "application/json" {
		t.Errorf("AMQP: %q", headers)
	}
	headers, _ = cloudevents.HTTP().AppendHeaders(nil, full())
	if value(headers, "ce-subject") != "o%201" || value(headers, "content-type") != "application/json" || value(headers, "ce-datacontenttype") != "" {
		t.Errorf("HTTP: %q", headers)
	}
}

// Other SDKs know these as attributes only.
func TestDatarefIsAnAttribute(t *testing.T) {
	env := full()
	env.Headers = map[string]string{"dataref": "sixfold-blob:é", "sixfolddata": "sha256:0:1"}
	for name, prefix := range map[string]string{"nats": "ce-", "amqp": "cloudEvents:", "kafka": "ce_", "http": "ce-"} {
		headers, err := bindings()[name].AppendHeaders(nil, env)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, h := range headers {
			got[h.Name] = h.Value
		}
		if got[prefix+"dataref"] == "" || got[prefix+"sixfolddata"] != "sha256:0:1" || got["dataref"] != "" {
			t.Errorf("%s: %v", name, headers)
		}
		var back sixfold.Envelope
		if err := bindings()[name].Read(&back, func(yield func(string, string) bool) {
			for _, h := range headers {
				if !yield(h.Name, h.Value) {
					return
				}
			}
		}, env.Body); err != nil || !maps.Equal(back.Headers, env.Headers) {
			t.Errorf("%s: it reads back as %v, %v", name, back.Headers, err)
		}
	}
}

func TestAppendHeadersAppends(t *testing.T) {
	dst := []cloudevents.Header{{Name: "first", Value: "1"}}
	headers, err := cloudevents.NATS().AppendHeaders(dst, full())
	if err != nil || headers[0].Name != "first" || headers[1].Name != "ce-specversion" {
		t.Errorf("%q, %v", names(headers), err)
	}
	bad := full()
	bad.Headers["ce-id"] = "forged"
	headers, err = cloudevents.NATS().AppendHeaders(dst, bad)
	refused(t, err, "cloudevents: write headers: ", `header "ce-id": the prefix is reserved`)
	if len(headers) != 1 {
		t.Errorf("headers beside the error: %q", headers)
	}
}

// The framework marks a dead letter with headers that users cannot set.
func TestControlHeadersAreWritten(t *testing.T) {
	env := full()
	env.Headers = map[string]string{"sixfold-dead-reason": "no handler"}
	for i := range sixfold.MaxHeaders { // a message at the limit must still become a dead letter
		env.Headers[fmt.Sprint("x-", i)] = "1"
	}
	for name, b := range bindings() {
		headers, err := b.AppendHeaders(nil, env)
		if err != nil || value(headers, "sixfold-dead-reason") != "no handler" {
			t.Errorf("%s: %q, %v", name, headers, err)
		}
	}
}

func TestEnvelopesThatNoEventCanBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sixfold.Envelope)
		says   string
	}{
		"no id":                 {func(e *sixfold.Envelope) { e.ID = "" }, `its ID is "" and its Type "orders.placed", both are required`},
		"no type":               {func(e *sixfold.Envelope) { e.Type = "" }, `its ID is "e1" and its Type ""`},
		"long id":               {func(e *sixfold.Envelope) { e.ID = strings.Repeat("x", 256) }, `it has 256 bytes`},
		"CRLF in the subject":   {func(e *sixfold.Envelope) { e.Subject = "a\r\nb" }, `attribute "subject" "a\r\nb": it contains CR, LF or NUL`},
		"CR in the source":      {func(e *sixfold.Envelope) { e.Source = "a\r" }, `attribute "source"`},
		"NUL in the key":        {func(e *sixfold.Envelope) { e.Key = "a\x00" }, `attribute "partitionkey"`},
		"broken UTF-8":          {func(e *sixfold.Envelope) { e.ReplyTo = "a\xff" }, `attribute "replyto" "a\xff": it is not valid UTF-8`},
		"a sequence of 256":     {func(e *sixfold.Envelope) { e.Sequence = strings.Repeat("1", 256) }, `attribute "sequence"`},
		"no media type":         {func(e *sixfold.Envelope) { e.ContentType = "json" }, `"json": it is not a media type`},
		"year 10000":            {func(e *sixfold.Envelope) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, `attribute "time": invalid time: its year is 10000`},
		"year -1":               {func(e *sixfold.Envelope) { e.Expires = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, `attribute "expirytime": invalid time: its year is -1`},
		"empty header":          {func(e *sixfold.Envelope) { e.Headers[""] = "x" }, `header "": the name is empty`},
		"header with a space":   {func(e *sixfold.Envelope) { e.Headers["a b"] = "x" }, `header "a b"`},
		"header with a colon":   {func(e *sixfold.Envelope) { e.Headers["a:b"] = "x" }, `header "a:b"`},
		"header with Cyrillic":  {func(e *sixfold.Envelope) { e.Headers["ключ"] = "x" }, `is not ASCII`},
		"header of a broker":    {func(e *sixfold.Envelope) { e.Headers["Nats-Msg-Id"] = "x" }, `the prefix is reserved`},
		"header value with LF":  {func(e *sixfold.Envelope) { e.Headers["a"] = "x\ny" }, `header "a": it contains CR, LF or NUL`},
		"header value no UTF-8": {func(e *sixfold.Envelope) { e.Headers["a"] = "\xff" }, `header "a": it is not valid UTF-8`},
		"a name of 129":         {func(e *sixfold.Envelope) { e.Headers[strings.Repeat("x", 129)] = "" }, `the limit is 128`},
		"too many headers": {func(e *sixfold.Envelope) {
			for i := range 10_000 {
				e.Headers[fmt.Sprint(i)] = ""
			}
		}, `headers: there are 10003`},
		"too large headers": {func(e *sixfold.Envelope) { e.Headers["a"] = strings.Repeat("x", 33_000) }, `the limits are 128 and 32768`},
	} {
		t.Run(name, func(t *testing.T) {
			env := full()
			c.change(env)
			_, err := cloudevents.Marshal(env)
			refused(t, err, c.says, "cloudevents: write event: ")
			_, err = cloudevents.MarshalBatch([]*sixfold.Envelope{full(), env})
			refused(t, err, c.says, "cloudevents: write batch: event 2: ")
			for _, b := range bindings() {
				_, err := b.AppendHeaders(nil, env)
				refused(t, err, c.says, "cloudevents: write headers: ")
			}
		})
	}
	_, err := cloudevents.Marshal(nil)
	refused(t, err, "it is nil")
}

// An empty source is legal inside and illegal outside.
func TestUnnamedSource(t *testing.T) {
	env := &sixfold.Envelope{ID: "1", Type: "t"}
	data, err := cloudevents.Marshal(env)
	if err != nil || !strings.Contains(string(data), `"source":"sixfold:unnamed"`) {
		t.Errorf("%s, %v", data, err)
	}
	sameEnvelope(t, mustRead(t, string(data)), env)
}

func TestReadBinaryMode(t *testing.T) {
	body := []byte("\x00not JSON\xff")
	for name, c := range map[string]struct {
		binding *cloudevents.Binding
		headers pairs
		want    sixfold.Envelope
	}{
		"nats":                   {cloudevents.NATS(), minimal("ce-", "ce-datacontenttype", "text/plain"), sixfold.Envelope{ContentType: "text/plain"}},
		"nats, older":            {cloudevents.NATS(), minimal("CE-", "Content-Type", "text/plain"), sixfold.Envelope{ContentType: "text/plain"}},
		"nats, both":             {cloudevents.NATS(), minimal("ce-", "Content-Type", "text/plain", "ce-datacontenttype", "text/plain"), sixfold.Envelope{ContentType: "text/plain"}},
		"http":                   {cloudevents.HTTP(), minimal("Ce-", "Content-Type", "application/json; charset=utf-8", "CE-SUBJECT", "s"), sixfold.Envelope{ContentType: "application/json; charset=utf-8", Subject: "s"}},
		"kafka":                  {cloudevents.Kafka(), minimal("ce_", "content-type", "application/json", "ce_time", "2018-04-05T03:56:24Z"), sixfold.Envelope{ContentType: "application/json", Time: time.Date(2018, 4, 5, 3, 56, 24, 0, time.UTC)}},
		"amqp":                   {cloudevents.AMQP(), minimal("cloudEvents:"), sixfold.Envelope{}},
		"amqp for JMS":           {cloudevents.AMQP(), minimal("cloudEvents_", "cloudevents_subject", "s"), sixfold.Envelope{Subject: "s"}},
		"an empty content type":  {cloudevents.Kafka(), minimal("ce_", "content-type", ""), sixfold.Envelope{}},
		"an unknown attribute":   {cloudevents.NATS(), minimal("ce-", "ce-mine", "a%20b"), sixfold.Envelope{Headers: map[string]string{"mine": "a b"}}},
		"a schema":               {cloudevents.NATS(), minimal("ce-", "ce-dataschema", "a:b"), sixfold.Envelope{Headers: map[string]string{"dataschema": "a:b"}}},
		"headers beside":         {cloudevents.NATS(), minimal("ce-", "mine", "100%", "X-A", ` "q" `), sixfold.Envelope{Headers: map[string]string{"mine": "100%", "X-A": ` "q" `}}},
		"first of two headers":   {cloudevents.Kafka(), minimal("ce_", "a", "1", "a", "2"), sixfold.Envelope{Headers: map[string]string{"a": "1"}}},
		"attribute before it":    {cloudevents.Kafka(), minimal("ce_", "a", "1", "ce_a", "2", "b", "4"), sixfold.Envelope{Headers: map[string]string{"a": "2", "b": "4"}}},
		"attribute after it":     {cloudevents.Kafka(), minimal("ce_", "ce_a", "2", "a", "1"), sixfold.Envelope{Headers: map[string]string{"a": "2"}}},
		"headers of others":      {cloudevents.Kafka(), minimal("ce_", "binary", "\xff", "лиш", "x", "", "x", "ce-id", "x", "ce_", "x", "NATS-x", "x"), sixfold.Envelope{}},
		"percent is kept":        {cloudevents.Kafka(), minimal("ce_", "ce_subject", "a%20b"), sixfold.Envelope{Subject: "a%20b"}},
		"Unicode":                {cloudevents.Kafka(), minimal("ce_", "ce_subject", "Euro € 😀"), sixfold.Envelope{Subject: "Euro € 😀"}},
		"percent-encoded":        {cloudevents.NATS(), minimal("ce-", "ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"), sixfold.Envelope{Subject: "Euro € 😀"}},
		"needlessly and lower":   {cloudevents.NATS(), minimal("ce-", "ce-subject", "%41%e2%82%ac"), sixfold.Envelope{Subject: "A€"}},
		"one round only":         {cloudevents.NATS(), minimal("ce-", "ce-subject", "%2541"), sixfold.Envelope{Subject: "%41"}},
		"in quotes":              {cloudevents.NATS(), minimal("ce-", "ce-subject", `"a \"b\" \\ %41"`), sixfold.Envelope{Subject: `a "b" \ A`}},
		"a percent by itself":    {cloudevents.NATS(), minimal("ce-", "ce-subject", "100% %4 %zz"), sixfold.Envelope{Subject: "100% %4 %zz"}},
		"raw UTF-8":              {cloudevents.NATS(), minimal("ce-", "ce-subject", "é"), sixfold.Envelope{Subject: "é"}},
		"garbage trace":          {cloudevents.NATS(), minimal("ce-", "ce-traceparent", "%FF", "ce-tracestate", `"`), sixfold.Envelope{}},
		"empty trace":            {cloudevents.NATS(), minimal("ce-", "ce-traceparent", "", "ce-tracestate", ""), sixfold.Envelope{}},
		"a mark beside a body":   {cloudevents.NATS(), minimal("ce-", "ce-sixfoldbody", "none"), sixfold.Envelope{}},
		"an unknown mark":        {cloudevents.NATS(), minimal("ce-", "ce-sixfoldbody", "x"), sixfold.Envelope{}},
		"an event in an event":   {cloudevents.NATS(), minimal("ce-", "ce-datacontenttype", "application/cloudevents+json"), sixfold.Envelope{ContentType: "application/cloudevents+json"}},
		"our name for no source": {cloudevents.NATS(), append(minimal("ce-")[:3], cloudevents.Header{Name: "ce-source", Value: cloudevents.UnnamedSource}), sixfold.Envelope{Source: "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.ID, c.want.Type, c.want.Body = "e1", "test.made", body
			if c.want.Source = "//tests"; strings.HasPrefix(name, "our name") {
				c.want.Source = ""
			}
			for range 2 { // in either order, but for what depends on it
				got := sixfold.Envelope{ID: "left over", Headers: map[string]string{"left": "over"}}
				if err := c.binding.Read(&got, seq(c.headers), body); err != nil {
					t.Fatal(err)
				}
				sameEnvelope(t, &got, &c.want)
				if name != "first of two headers" {
					slices.Reverse(c.headers)
				}
			}
		})
	}
}

func TestEmptyBodies(t *testing.T) {
	for mark, want := range map[string][]byte{"none": nil, "empty": {}} {
		for _, came := range [][]byte{nil, {}} {
			var got sixfold.Envelope
			if err := cloudevents.NATS().Read(&got, seq(minimal("ce-", "ce-sixfoldbody", mark)), came); err != nil || (got.Body == nil) != (want == nil) {
				t.Errorf("marked %s, a body of %#v became %#v, %v", mark, came, got.Body, err)
			}
		}
	}
	for _, came := range [][]byte{nil, {}} { // unmarked, it is as the carrier says
		var got sixfold.Envelope
		if err := cloudevents.NATS().Read(&got, seq(minimal("ce-")), came); err != nil || (got.Body == nil) != (came == nil) {
			t.Errorf("unmarked, a body of %#v became %#v, %v", came, got.Body, err)
		}
	}
}

func TestReadRefusesHeaders(t *testing.T) {
	many := minimal("ce-")
	large := minimal("ce-")
	for i := range 10_000 {
		many = append(many, cloudevents.Header{Name: fmt.Sprint("x-", i)})
		large = append(large, cloudevents.Header{Name: fmt.Sprint("x-", i%100), Value: strings.Repeat("v", 400)})
	}
	without := func(i int) pairs { return slices.Delete(minimal("ce-"), i, i+1) }
	for name, c := range map[string]struct {
		headers pairs
		says    string
	}{
		"none":                  {nil, `attribute "specversion": it is missing`},
		"no specversion":        {without(0), `attribute "specversion": it is missing`},
		"no id":                 {without(1), `attribute "id": it is missing`},
		"no type":               {without(2), `attribute "type": it is missing`},
		"no source":             {without(3), `attribute "source": it is missing`},
		"another specversion":   {append(without(0), cloudevents.Header{Name: "ce-specversion", Value: "0.3"}), `"0.3": this version is not supported`},
		"id twice":              {minimal("ce-", "ce-id", "e2"), `attribute "id": it is there twice`},
		"id in capitals":        {minimal("ce-", "CE-ID", "e1"), `attribute "id": it is there twice`},
		"an extension twice":    {minimal("ce-", "ce-mine", "1", "Ce-Mine", "2"), `attribute "mine": it is there twice`},
		"Kelvin sign":           {minimal("ce-", "ce-\u212aey", "1"), `the name breaks the rules`},
		"punctuation":           {minimal("ce-", "ce-my-ext", "1"), `attribute "my-ext": the name breaks the rules`},
		"data":                  {minimal("ce-", "ce-data", "1"), `attribute "data": the name breaks the rules`},
		"data_base64":           {minimal("ce-", "ce-data_base64", "AA=="), `the name breaks the rules`},
		"an empty subject":      {minimal("ce-", "ce-subject", ""), `"subject" "": it is empty`},
		"a long subject":        {minimal("ce-", "ce-subject", strings.Repeat("x", 256)), `it has 256 bytes`},
		"a hidden CRLF":         {minimal("ce-", "ce-subject", "a%0D%0Ab"), `"a\r\nb": it contains CR, LF or NUL`},
		"a hidden CRLF in ours": {minimal("ce-", "ce-mine", "a%0D%0Ab"), `attribute "mine": it contains CR, LF or NUL`},
		"overlong UTF-8":        {minimal("ce-", "ce-subject", "%C0%A0"), `attribute "subject": its value is not UTF-8`},
		"raw bytes":             {minimal("ce-", "ce-subject", "\xff"), `its value is not UTF-8`},
		"an open quote":         {minimal("ce-", "ce-subject", `"a`), `its value is not UTF-8 in percent-encoding`},
		"odd time":              {minimal("ce-", "ce-time", "lunchtime"), `"lunchtime": it is not a time`},
		"two content types":     {minimal("ce-", "ce-datacontenttype", "a/b", "content-type", "a/c"), `content type: it is "a/c" and "a/b"`},
		"content type twice":    {minimal("ce-", "content-type", "a/b", "Content-Type", "a/c"), `it is there twice`},
		"no media type":         {minimal("ce-", "content-type", "json"), `"json": it is not a media type`},
		"10,000 headers":        {many, `headers: there are more than 128`},
		"40 kB of headers":      {large, `headers: they have`},
		"129 extensions": {func() (p pairs) {
			p = minimal("ce-")
			for i := range 129 {
				p = append(p, cloudevents.Header{Name: fmt.Sprint("ce-x", i), Value: "v"})
			}
			return p
		}(), `there are more than 128`},
		"a batch":        {pairs{{"content-type", "application/cloudevents-batch+json"}}, `this format of events cannot be read here`},
		"another format": {minimal("ce-", "content-type", "application/cloudevents+avro"), `"application/cloudevents+avro": this format of events cannot be read here`},
		"no event":       {pairs{{"content-type", "application/cloudevents+json"}}, `there is a string, but an event is an object`},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(`"hunter2"`)
			got := *full()
			err := cloudevents.NATS().Read(&got, seq(c.headers), body)
			refused(t, err, c.says)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the body: %v", err)
			}
			if !reflect.DeepEqual(got, sixfold.Envelope{Body: body}) {
				t.Errorf("beside the error there is more than the body: %q %q", got.ID, got.Headers)
			}
		})
	}
}

// Structured mode is recognised on every carrier by its content type, and headers beside it do not count.
func TestReadStructuredMode(t *testing.T) {
	data, err := cloudevents.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	for _, contentType := range []string{"application/cloudevents+json", "application/cloudevents+json; charset=utf-8", "Application/CloudEvents+JSON", "application/cloudevents"} {
		for name, b := range bindings() {
			var got sixfold.Envelope
			headers := pairs{{"ce-id", "other"}, {"ce_id", "other"}, {"cloudEvents_id", "other"}, {"ce-x-y", "\xff"}, {"Content-Type", contentType}, {"mine", "1"}}
			if err := b.Read(&got, seq(headers), data); err != nil {
				t.Errorf("%s, %s: %v", name, contentType, err)
			}
			sameEnvelope(t, &got, full())
		}
	}
}

func TestNewBindingNamesAllMistakes(t *testing.T) {
	_, err := cloudevents.NewBinding("", &cloudevents.BindingOptions{ContentType: "a ", AlsoRead: []string{"é", " x"}})
	refused(t, err, `prefix ""`, `prefix "é"`, `prefix " x"`, `name of the content type "a "`)
	if b, err := cloudevents.NewBinding("ce-", nil); err != nil || b == nil {
		t.Error(err)
	}
}
