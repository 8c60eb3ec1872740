package cloudevents_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

func TestHostileJSONIsRefused(t *testing.T) {
	nested := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	many := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"x%d":%s`, i, value)
		}
		return event()[:len(event())-1] + b.String() + `}`
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":                 {``, `it is empty`},
		"white space":             {" \n", `it ends too early`},
		"null":                    {`null`, `there is null, but an event is an object`},
		"an array":                {`[]`, `there is an array`},
		"a batch":                 {`[` + event() + `]`, `there is an array`},
		"a number":                {`123`, `there is a number`},
		"a string":                {`"` + `x"`, `there is a string`},
		"a boolean":               {`true`, `there is a boolean`},
		"no JSON":                 {`hello`, `JSON at byte 0 of 5`},
		"an empty object":         {`{}`, `attribute "specversion": it is missing`},
		"more behind it":          {event() + `{}`, `there is more after the value`},
		"NUL behind it":           {event() + "\x00", `there is more after the value`},
		"BOM":                     {"\xef\xbb\xbf" + event(), `byte order mark`},
		"UTF-16":                  {"\xff\xfe{\x00", `not valid UTF-8`},
		"broken UTF-8":            {event("\"subject\":\"a\xc3(\""), `not valid UTF-8`},
		"broken UTF-8 in data":    {event("\"data\":\"a\xc3(\""), `not valid UTF-8`},
		"encoded surrogate":       {event("\"subject\":\"\xed\xa0\x80\""), `not valid UTF-8`},
		"half a pair":             {event(`"subject":"\ud800"`), `half a surrogate pair`},
		"the other half":          {event(`"subject":"\udc00x"`), `half a surrogate pair`},
		"two first halves":        {event(`"subject":"\ud800\ud800"`), `half a surrogate pair`},
		"half a pair, cut":        {event(`"subject":"\ud800\u"`), `four hexadecimal digits`},
		"half a pair in a name":   {event(`"\ud800":1`), `half a surrogate pair`},
		"half a pair in a text":   {event(`"datacontenttype":"text/plain"`, `"data":"\udfff"`), `half a surrogate pair`},
		"half in an extension":    {event(`"mine":"\ud800"`), `half a surrogate pair`},
		"half in base64":          {event(`"data_base64":"\ud800"`), `not base64`},
		"65 levels":               {event(`"data":` + nested(64)), `more than 64 levels`},
		"10,001 levels":           {event(`"data":` + nested(10_000)), `more than 64 levels`},
		"objects to the bottom":   {event(`"data":` + strings.Repeat(`{"a":`, 10_001)), `more than 64 levels`},
		"unclosed to the end":     {event(`"data":` + strings.Repeat(`[`, 100_000)), `more than 64 levels`},
		"levels in an ignored":    {event(`"traceparent":` + nested(64)), `more than 64 levels`},
		"id twice":                {event(`"id":"e2"`), `attribute "id": it is there twice`},
		"id twice, escaped":       {event(`"\u0069d":"e2"`), `attribute "id": it is there twice`},
		"id twice, null first":    {`{"id":null,` + event()[1:], `attribute "id": it is there twice`},
		"id and ID":               {event(`"ID":"e2"`), `attribute "ID": the name breaks the rules`},
		"Kelvin sign":             {event("\"repl\u212ato\":\"e2\""), `the name breaks the rules`},
		"data and Data":           {event(`"data":1`, `"Data":2`), `attribute "Data": the name`},
		"data twice":              {event(`"data":1`, `"data":1`), `"data": it is there twice`},
		"data_base64 twice":       {event(`"data_base64":null`, `"data_base64":"AA=="`), `"data_base64": it is there twice`},
		"extension twice":         {event(`"mine":"1"`, `"mine":"1"`), `attribute "mine": it is there twice`},
		"extension twice, null":   {event(`"mine":null`, `"mine":"1"`), `attribute "mine": it is there twice`},
		"schema twice":            {event(`"dataschema":"a:b"`, `"dataschema":"a:c"`), `it is there twice`},
		"trace twice":             {event(`"traceparent":1`, `"traceparent":2`), `it is there twice`},
		"id of 10 kB":             {strings.Replace(event(), `"e1"`, `"`+strings.Repeat("x", 10_000)+`"`, 1), `…: it has 10000 bytes, the limit is 255`},
		"id of 256 bytes":         {strings.Replace(event(), `"e1"`, `"`+strings.Repeat("x", 256)+`"`, 1), `…: it has 256 bytes, the limit is 255`},
		"id with a newline":       {strings.Replace(event(), `"e1"`, `"e\n1"`, 1), `"e\n1": it contains CR, LF or NUL`},
		"id with a NUL":           {strings.Replace(event(), `"e1"`, `"e\u0000"`, 1), `it contains CR, LF or NUL`},
		"id is true":              {strings.Replace(event(), `"e1"`, `true`, 1), `there is a boolean, but attribute "id"`},
		"id is a bare word":       {strings.Replace(event(), `"e1"`, `e1`, 1), `a value is missing`},
		"specversion 0.3":         {strings.Replace(event(), `1.0`, `0.3`, 1), `"0.3": this version is not supported`},
		"specversion 2.0":         {strings.Replace(event(), `1.0`, `2.0`, 1), `"2.0": this version is not supported`},
		"specversion a number":    {strings.Replace(event(), `"1.0"`, `1.0`, 1), `there is a number, but attribute "specversion"`},
		"specversion null":        {strings.Replace(event(), `"1.0"`, `null`, 1), `"specversion": it is missing`},
		"time of one-digit":       {event(`"time":"2018-04-05T8:31:00Z"`), `not a time`},
		"time with a comma":       {event(`"time":"2018-04-05T18:31:00,5Z"`), `not a time`},
		"time with a space":       {event(`"time":"2018-04-05 18:31:00Z"`), `not a time`},
		"time without digits":     {event(`"time":"2018-04-05T18:31:00.Z"`), `not a time`},
		"time of February 30":     {event(`"time":"2018-02-30T18:31:00Z"`), `not a time`},
		"time of month 13":        {event(`"time":"2018-13-01T18:31:00Z"`), `not a time`},
		"time of day 0":           {event(`"time":"2018-01-00T18:31:00Z"`), `not a time`},
		"time of hour 24":         {event(`"time":"2018-01-01T24:00:00Z"`), `not a time`},
		"time of second 61":       {event(`"time":"2018-01-01T23:59:61Z"`), `not a time`},
		"time of odd leap":        {event(`"time":"2018-01-01T12:00:60Z"`), `not a time`},
		"time before year 0":      {event(`"time":"0000-01-01T00:00:00+01:00"`), `not a time`},
		"time after year 9999":    {event(`"time":"9999-12-31T23:59:59-01:00"`), `not a time`},
		"time of year 10000":      {event(`"time":"10000-01-01T00:00:00Z"`), `not a time`},
		"time of digits":          {event(`"time":"1522949460"`), `not a time`},
		"time is a number":        {event(`"time":1522949460`), `there is a number, but attribute "time"`},
		"time is empty":           {event(`"time":""`), `it is empty`},
		"expiry is garbage":       {event(`"expirytime":"soon"`), `attribute "expirytime" "soon": it is not a time`},
		"base64 is garbage":       {event(`"data_base64":"***"`), `it is not base64`},
		"base64 without pad":      {event(`"data_base64":"QQ"`), `it is not base64`},
		"base64 with bits left":   {event(`"data_base64":"QR=="`), `it is not base64`},
		"base64 of URLs":          {event(`"data_base64":"_-__"`), `it is not base64`},
		"base64 in lines":         {event(`"data_base64":"QUFB\nQUFB"`), `it is not base64`},
		"base64 is a number":      {event(`"data_base64":12`), `there is a number, but "data_base64"`},
		"replyto empty":           {event(`"replyto":""`), `"replyto" "": it is empty`},
		"replyto of 256":          {event(`"replyto":"` + strings.Repeat("r", 256) + `"`), `it has 256 bytes`},
		"replyto with CRLF":       {event(`"replyto":"a\r\nb"`), `"a\r\nb": it contains CR, LF or NUL`},
		"an extension's CRLF":     {event(`"mine":"a\r\nb"`), `attribute "mine": it contains CR, LF or NUL`},
		"10,000 extensions":       {many(10_000, `"v"`), `there are more than 128`},
		"129 extensions":          {many(129, `"v"`), `extension attributes: there are more than 128`},
		"10,000 unset extensions": {many(10_000, `null`), `extension attributes: there are more than 128`},
		"33 kB of headers":        {event(`"mine":"`+strings.Repeat("x", 16_500)+`"`, `"yours":"`+strings.Repeat("x", 16_500)+`"`), `headers: they have 33009 bytes`},
		"a huge extension":        {event(`"mine":"` + strings.Repeat("x", 300_000) + `"`), `it has 300000 bytes`},
		"a huge name":             {event(`"` + strings.Repeat("x", 300_000) + `":1`), `the name breaks the rules`},
		"a name of 129":           {event(`"` + strings.Repeat("x", 129) + `":1`), `the name breaks the rules`},
		"an empty name":           {event(`"":1`), `the name breaks the rules`},
		"an integer of 256":       {event(`"mine":` + strings.Repeat("9", 256)), `too many digits`},
		"packed garbage":          {event(`"sixfoldheaders":"a"`), `not a list of name=value`},
		"packed percent":          {event(`"sixfoldheaders":"a=%4"`), `not a list of name=value`},
		"packed raw bytes":        {event(`"sixfoldheaders":"a=b c"`), `not a list of name=value`},
		"packed twice":            {event(`"sixfoldheaders":"a=1&a=2"`), `header "a" in attribute "sixfoldheaders": it is there twice`},
		"packed and plain":        {event(`"mine":"1"`, `"sixfoldheaders":"mine=2"`), `header "mine"`},
		"packed CRLF":             {event(`"sixfoldheaders":"a=b%0D%0Ac"`), `it contains CR, LF or NUL`},
		"packed empty name":       {event(`"sixfoldheaders":"=b"`), `the name is empty`},
		"packed UTF-8":            {event(`"sixfoldheaders":"a=%FF"`), `not valid UTF-8`},
		"number 01":               {event(`"data":01`), `JSON at byte`},
		"number 1.":               {event(`"data":1.}`), `a digit is missing`},
		"number .5":               {event(`"data":.5`), `a value is missing`},
		"number +1":               {event(`"data":+1`), `a value is missing`},
		"number 1e":               {event(`"data":1e`), `a digit is missing`},
		"number -":                {event(`"data":-`), `a digit is missing`},
		"NaN":                     {event(`"data":NaN`), `a value is missing`},
		"truth":                   {event(`"data":truth`), `an unknown word`},
		"escape x":                {event(`"data":"\x41"`), `an unknown escape`},
		"a control character":     {event("\"data\":\"a\tb\""), `a control character`},
		"a single quote":          {event(`'data':1`), `a name in quotes is missing`},
		"a comment":               {event(`/* hi */"data":1`), `a name in quotes is missing`},
		"a comma at the end":      {event(`"data":1,`), `a value is missing after the comma`},
		"a comma in an array":     {event(`"data":[1,]`), `a value is missing after the comma`},
		"no comma":                {event(`"data":[1 2]`), `a comma or an end of the list is missing`},
		"no colon":                {event(`"data" 1`), `a colon is missing`},
		"the wrong bracket":       {event(`"data":[1}`), `a comma or an end`},
	} {
		t.Run(name, func(t *testing.T) { refuseRead(t, c.text, c.says, "cloudevents: read event: ") })
	}
}

func TestOddButRightIsRead(t *testing.T) {
	for _, data := range []string{`9007199254740993`, `-0`, `1e400`, `-1.5E-7`, `{ "b" : 1,"a" : [ ] ,"b":2}`, `[{},{}]`, `"\ud800"`, `"a\/b"`, "\"\u2028\"", `""`,
		strings.Repeat("[", 63) + strings.Repeat("]", 63)} {
		env := mustRead(t, event(`"data":  `+data+` `))
		if string(env.Body) != data {
			t.Errorf("data %s became %s", data, env.Body)
		}
		out, err := cloudevents.Marshal(env)
		if err != nil || !strings.Contains(string(out), `"data":`+data+`}`) {
			t.Errorf("written again, data %s became %s, %v", data, out, err)
		}
	}
	for text, want := range map[string]string{
		"2018-04-05t17:31:00z":                 "2018-04-05 17:31:00 +0000 UTC",
		"2018-04-05T17:31:00.1234567899+00:00": "2018-04-05 17:31:00.123456789 +0000 UTC",
		"2018-04-05T17:31:00-00:00":            "2018-04-05 17:31:00 +0000 UTC",
		"2016-12-31T23:59:60Z":                 "2017-01-01 00:00:00 +0000 UTC",
		"2017-01-01T00:59:60.5+01:00":          "2017-01-01 00:00:00 +0000 UTC",
		"2020-02-29T23:59:59+23:59":            "2020-02-29 00:00:59 +0000 UTC",
		"0000-01-01T00:00:00Z":                 "0000-01-01 00:00:00 +0000 UTC",
		"0001-01-01T00:00:00Z":                 "0001-01-01 00:00:00 +0000 UTC",
	} {
		if got := mustRead(t, event(`"time":"`+text+`"`)).Time.String(); got != want {
			t.Errorf("time %s is %s, want %s", text, got, want)
		}
	}
	if id := mustRead(t, strings.Replace(event(), `"e1"`, `"`+strings.Repeat("x", 255)+`"`, 1)).ID; len(id) != 255 {
		t.Errorf("an id of 255 bytes came as %d", len(id))
	}
	if v := mustRead(t, event(`"mine":9007199254740993`, `"yours":-0`)).Headers; v["mine"] != "9007199254740993" || v["yours"] != "-0" {
		t.Errorf("integers came as %v", v)
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	full := event(`"time":"2018-04-05T17:31:00Z"`, `"mine":-12`, `"sub\u006aect":"\ud83d\ude00"`, `"datacontenttype":"application/json"`,
		`"traceparent":"`+goodTrace+`"`, `"yours":true`, `"theirs":null`, `"data":{"a":[1.5e-3,null,"x\n"]}`)
	mustRead(t, full)
	for n := range len(full) {
		refuseRead(t, full[:n], "cloudevents: read event: ")
		if envs, err := cloudevents.UnmarshalBatch([]byte(`[` + full[:n])); err == nil || envs != nil {
			t.Errorf("a batch cut at byte %d was read", n+1)
		}
	}
}

func TestEveryByteChanged(t *testing.T) {
	full := event(`"data":{"a":[1.5e-3,null,"x\n"]}`)
	for i := range len(full) {
		for _, c := range []byte{0, '"', '\\', '{', '}', ',', 0xff, ' '} {
			text := []byte(full)
			text[i] = c
			_, _ = cloudevents.Unmarshal(text) // no panic
		}
	}
}

const goodTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestGarbageTraceIsDropped(t *testing.T) {
	for _, parent := range []string{`""`, `1`, `{"a":[]}`, `"garbage"`, `"\ud800"`, `"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"`,
		`"00-00000000000000000000000000000000-00f067aa0ba902b7-01"`, `"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"`,
		`"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"`, `"` + goodTrace + `-more"`, `"` + goodTrace + `\r\n"`,
		`"0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"`, `"` + strings.Repeat("0", 100_000) + `"`} {
		env := mustRead(t, event(`"traceparent":`+parent, `"tracestate":"a=b"`, `"subject":"s"`))
		if env.TraceParent != "" || env.TraceState != "" || env.Subject != "s" {
			t.Errorf("traceparent %.99s came as %q, state %q", parent, env.TraceParent, env.TraceState)
		}
	}
	for _, state := range []string{`1`, `"a=\u0000"`, `"a=\r\n"`, `"` + strings.Repeat("a", 513) + `"`, `"` + strings.Repeat("a", 100_000) + `"`, `"é=1"`} {
		env := mustRead(t, event(`"tracestate":`+state, `"traceparent":"`+goodTrace+`"`))
		if env.TraceParent != goodTrace || env.TraceState != "" {
			t.Errorf("tracestate %.99s came as %q beside %q", state, env.TraceState, env.TraceParent)
		}
	}
	for _, parent := range []string{goodTrace, strings.Replace(goodTrace, "00-", "cc-", 1), strings.Replace(goodTrace, "00-", "cc-", 1) + "-later"} {
		env := mustRead(t, event(`"traceparent":"`+parent+`"`, `"tracestate":"a=b"`))
		if env.TraceParent != parent || env.TraceState != "a=b" {
			t.Errorf("traceparent %s came as %q, state %q", parent, env.TraceParent, env.TraceState)
		}
	}
	bad := &sixfold.Envelope{ID: "1", Type: "t", TraceParent: "x\r\nevil: 1", TraceState: "y\r\nevil: 1"}
	for name, b := range bindings() {
		headers, err := b.AppendHeaders(nil, bad)
		if err != nil || strings.Contains(fmt.Sprint(headers), "evil") {
			t.Errorf("%s: %v, %v", name, headers, err)
		}
	}
}

// A producer's control headers, forged or not, are nothing that a consumer should see. [ForgedDeliveryCount]
func TestControlHeadersAreIgnored(t *testing.T) {
	want := &sixfold.Envelope{ID: "e1", Type: "test.made", Source: "//tests", Headers: map[string]string{"mine": "1"}}
	sameEnvelope(t, mustRead(t, event(`"sixfoldheaders":"Sixfold-Attempt=9&ce-id=x&mine=1&nats-msg-id=1&sixfold-dead-reason=x"`)), want)
	for name, b := range bindings() {
		headers, err := b.AppendHeaders(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, cloudevents.Header{Name: "sixfold-attempt", Value: "9"}, cloudevents.Header{Name: "SIXFOLD-Dead-Reason", Value: "x"},
			cloudevents.Header{Name: "Nats-Msg-Id", Value: "x"}, cloudevents.Header{Name: "cloudEvents", Value: "x"})
		var got sixfold.Envelope
		if err := b.Read(&got, seq(headers), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sameEnvelope(t, &got, want)
	}
}

func TestErrorsShowNoBody(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		event(`"data":{"password":"` + secret + `"`), event(`"data":{"password":"` + secret + "\x01\"}"), event(`"data":["` + secret + `\x"]`),
		event(`"data_base64":"` + secret + `"`), event(`"data":"`+secret+`"`, `"data_base64":""`), event(`"datacontenttype":"text/plain"`, `"data":["`+secret+`"]`),
		event(`"datacontenttype":"text/plain"`, `"data":"`+secret+`\ud800"`), event(`"data":` + strings.Repeat(`["`+secret+`",`, 70)), event(`"data":` + secret),
		event(`"token":"` + secret + `\r\n"`), event(`"sixfoldheaders":"token=` + secret + `%0A"`), event(`"sixfoldheaders":"` + secret + `%%"`),
		event(`"sixfoldheaders":"token=` + secret + strings.Repeat("x", 300_000) + `"`), event(`"sixfoldheaders":"token=` + secret + strings.Repeat("x", 40_000) + `"`),
	} {
		_, err := cloudevents.Unmarshal([]byte(text))
		refused(t, err)
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows it: %v", err)
		}
	}
	_, err := cloudevents.Marshal(&sixfold.Envelope{ID: "1", Type: "t", Headers: map[string]string{"token": secret + "\n"}})
	refused(t, err, `header "token"`)
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows it: %v", err)
	}
}

func TestOneByteOverTheLimit(t *testing.T) {
	text := append([]byte(event()), bytes.Repeat([]byte{' '}, cloudevents.MaxBytes-len(event()))...)
	if _, err := cloudevents.Unmarshal(text); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := cloudevents.Unmarshal(append(text, ' '))
	refused(t, err, "it has 33554433 bytes, the limit is 33554432")
	_, err = cloudevents.UnmarshalBatch(append(text, ' '))
	refused(t, err, "it has 33554433 bytes, the limit is 33554432")

	big := &sixfold.Envelope{ID: "1", Type: "t", Body: append(text, ' ')}
	_, err = cloudevents.Marshal(big)
	refused(t, err, "it has 33554433 bytes, the limit for an event is 33554432")
	_, err = cloudevents.MarshalBatch([]*sixfold.Envelope{big})
	refused(t, err, "event 1", "it has 33554433 bytes, the limit for an event is 33554432")
	big.Body = text[:cloudevents.MaxBytes/4*3] // fits, but not in base64 and with its attributes
	_, err = cloudevents.Marshal(big)
	refused(t, err, "the limit is 33554432")
	_, err = cloudevents.MarshalBatch(make([]*sixfold.Envelope, cloudevents.MaxBatch+1))
	refused(t, err, "1001 events, the limit is 1000")
}

// allocated is what f allocates, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestArrayBombAllocatesLittle(t *testing.T) {
	bomb := `[` + strings.Repeat(`{},`, 1<<20) + `{}]`
	big := `[` + strings.Repeat(event()+`,`, 3<<20/len(event())) + event() + `]`
	keys := event()[:len(event())-1] + strings.Repeat(`,"a":1`, 500_000) + `}`
	for name, text := range map[string]string{
		"as data": event(`"data":` + bomb), "as an event": bomb, "as an extension": event(`"mine":` + bomb), "as an attribute": event(`"subject":` + bomb),
		"as a trace": event(`"traceparent":` + bomb), "as text data": event(`"datacontenttype":"text/plain"`, `"data":`+bomb), "as members": keys, "as events": big,
		"as an id": strings.Replace(event(), `"e1"`, `"`+strings.Repeat(`\u0041`, 1<<19)+`"`, 1), "as a name": event(`"` + strings.Repeat(`\\`, 3<<19) + `":1`),
	} {
		data := []byte(text)
		if n := allocated(func() { _, _ = cloudevents.Unmarshal(data) }); n > 1<<20 {
			t.Errorf("%s: an event of %d bytes allocated %d", name, len(data), n)
		}
		if n := allocated(func() { _, _ = cloudevents.UnmarshalBatch(data) }); n > 1<<20 {
			t.Errorf("%s: a batch of %d bytes allocated %d", name, len(data), n)
		}
	}
}
