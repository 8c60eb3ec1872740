package cloudevents_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// The cases here are those of the public conformance vectors of the JSON format, written anew.

// event makes a minimal event with more members.
func event(members ...string) string {
	return `{` + strings.Join(append([]string{`"specversion":"1.0"`, `"id":"e1"`, `"type":"test.made"`, `"source":"//tests"`}, members...), ",") + `}`
}

func mustRead(t *testing.T, text string) *sixfold.Envelope {
	t.Helper()
	env, err := cloudevents.Unmarshal([]byte(text))
	if err != nil {
		t.Fatalf("Unmarshal(%.200s): %v", text, err)
	}
	return env
}

// refused checks the error's kind and text.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("%v: does not wrap ErrInvalid", err)
	}
	for _, p := range append(parts, "cloudevents: ") {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func refuseRead(t *testing.T, text string, parts ...string) {
	t.Helper()
	env, err := cloudevents.Unmarshal([]byte(text))
	if err == nil {
		t.Fatalf("Unmarshal(%.200s) = %v, want an error", text, env)
	}
	if env != nil {
		t.Errorf("an envelope beside the error")
	}
	refused(t, err, parts...)
}

func TestValidEvents(t *testing.T) {
	at := time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		text string
		want sixfold.Envelope
	}{
		"minimal":         {event(), sixfold.Envelope{}},
		"null is unset":   {event(`"datacontenttype":null`, `"dataschema":null`, `"subject":null`, `"time":null`, `"mine":null`), sixfold.Envelope{}},
		"time in UTC":     {event(`"time":"2018-04-05T17:31:00Z"`), sixfold.Envelope{Time: at}},
		"time with nanos": {event(`"time":"2018-04-05T17:31:00.000000000Z"`), sixfold.Envelope{Time: at}},
		"time east":       {event(`"time":"2018-04-05T18:31:00+01:00"`), sixfold.Envelope{Time: at}},
		"time west":       {event(`"time":"2018-04-05T16:31:00-01:00"`), sixfold.Envelope{Time: at}},
		"text data": {event(`"datacontenttype":"text/plain"`, `"data":"plain words"`),
			sixfold.Envelope{ContentType: "text/plain", Body: []byte("plain words")}},
		"all core attributes": {event(`"datacontenttype":"text/plain"`, `"dataschema":"https://example.com/schema"`, `"subject":"s"`, `"time":"2018-04-05T17:31:00Z"`),
			sixfold.Envelope{ContentType: "text/plain", Subject: "s", Time: at, Headers: map[string]string{"dataschema": "https://example.com/schema"}}},
		"extensions of all types": {event(`"anint":10`, `"abool":true`, `"astring":"text"`, `"auri":"https://example.com"`, `"auriref":"//a/b"`, `"atime":"2023-03-31T15:12:00Z"`, `"abinary":"TWE="`, `"aminus":-7`),
			sixfold.Envelope{Headers: map[string]string{"anint": "10", "abool": "true", "astring": "text", "auri": "https://example.com", "auriref": "//a/b", "atime": "2023-03-31T15:12:00Z", "abinary": "TWE=", "aminus": "-7"}}},
		"binary data": {event(`"datacontenttype":"application/octet-stream"`, `"data_base64":"AP8="`),
			sixfold.Envelope{ContentType: "application/octet-stream", Body: []byte{0, 255}}},
		"JSON data":                       {event(`"datacontenttype":"application/vnd.x+json; charset=utf-8"`, `"data":{ "a" : [1, 2] }`), sixfold.Envelope{ContentType: "application/vnd.x+json; charset=utf-8", Body: []byte(`{ "a" : [1, 2] }`)}},
		"a JSON string":                   {event(`"datacontenttype":"application/json"`, `"data":"words"`), sixfold.Envelope{ContentType: "application/json", Body: []byte(`"words"`)}},
		"JSON is implied":                 {event(`"data":"words"`), sixfold.Envelope{ContentType: "application/json", Body: []byte(`"words"`)}},
		"an explicit null":                {event(`"data":null`), sixfold.Envelope{ContentType: "application/json", Body: []byte(`null`)}},
		"data before its type":            {event(`"data":"a\u00e9\ud83d\ude00\n"`, `"datacontenttype":"text/plain"`), sixfold.Envelope{ContentType: "text/plain", Body: []byte("aé😀\n")}},
		"base64 unset beside data":        {event(`"data_base64":null`, `"data":1`), sixfold.Envelope{ContentType: "application/json", Body: []byte(`1`)}},
		"empty base64 is an empty body":   {event(`"data_base64":""`), sixfold.Envelope{Body: []byte{}}},
		"base64 may be escaped":           {event(`"data_base64":"\u0041P8\u003d"`), sixfold.Envelope{Body: []byte{0, 255}}},
		"white space around":              {"\r\n\t " + event() + " \n", sixfold.Envelope{}},
		"an escaped name is the same":     {event(`"sub\u006aect":"s"`), sixfold.Envelope{Subject: "s"}},
		"extensions we have places for":   {event(`"partitionkey":"k"`, `"correlationid":"c"`, `"causationid":"a"`, `"replyto":"r"`, `"sequence":"3/4"`, `"expirytime":"2018-04-05T17:31:00Z"`), sixfold.Envelope{Key: "k", CorrelationID: "c", CausationID: "a", ReplyTo: "r", Sequence: "3/4", Expires: at}},
		"an extension may be empty":       {event(`"mine":""`), sixfold.Envelope{Headers: map[string]string{"mine": ""}}},
		"one that nobody outside may set": {event(`"cloudeventsx":"1"`), sixfold.Envelope{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.ID, c.want.Type, c.want.Source = "e1", "test.made", "//tests"
			sameEnvelope(t, mustRead(t, c.text), &c.want)
		})
	}
	t.Run("a relative source", func(t *testing.T) {
		env := mustRead(t, `{"id":"1","specversion":"1.0","type":"t","source":"#fragment"}`)
		if env.Source != "#fragment" {
			t.Errorf("source %q", env.Source)
		}
	})
}

func TestInvalidEvents(t *testing.T) {
	without := func(member string) string {
		return `{` + strings.ReplaceAll(strings.Trim(strings.ReplaceAll(event()[1:len(event())-1], member, ""), ","), ",,", ",") + `}`
	}
	for name, c := range map[string]struct{ text, says string }{
		"no specversion":          {without(`"specversion":"1.0"`), `attribute "specversion": it is missing`},
		"no id":                   {without(`"id":"e1"`), `attribute "id": it is missing`},
		"no type":                 {without(`"type":"test.made"`), `attribute "type": it is missing`},
		"no source":               {without(`"source":"//tests"`), `attribute "source": it is missing`},
		"a null id":               {strings.Replace(event(), `"e1"`, `null`, 1), `attribute "id": it is missing`},
		"time is garbage":         {event(`"time":"lunchtime"`), `"lunchtime": it is not a time`},
		"time to the minute":      {event(`"time":"2018-04-05T18:31Z"`), `it is not a time`},
		"time zone X":             {event(`"time":"2018-04-05T18:31:00X"`), `it is not a time`},
		"offset out of range":     {event(`"time":"2018-04-05T18:31:00+25:00"`), `it is not a time`},
		"offset not a number":     {event(`"time":"2018-04-05T18:31:00+xx:00"`), `it is not a time`},
		"offset of hours only":    {event(`"time":"2018-04-05T18:31:00+05"`), `it is not a time`},
		"empty id":                {strings.Replace(event(), `"e1"`, `""`, 1), `attribute "id" "": it is empty`},
		"empty type":              {strings.Replace(event(), `"test.made"`, `""`, 1), `attribute "type" "": it is empty`},
		"empty source":            {strings.Replace(event(), `"//tests"`, `""`, 1), `attribute "source" "": it is empty`},
		"empty specversion":       {strings.Replace(event(), `"1.0"`, `""`, 1), `attribute "specversion" "": it is empty`},
		"unknown specversion":     {strings.Replace(event(), `"1.0"`, `"0.9"`, 1), `"0.9": this version is not supported`},
		"no media type":           {event(`"datacontenttype":"xyz"`), `"xyz": it is not a media type`},
		"empty content type":      {event(`"datacontenttype":""`), `"datacontenttype" "": it is empty`},
		"empty schema":            {event(`"dataschema":""`), `"dataschema" "": it is empty`},
		"empty subject":           {event(`"subject":""`), `"subject" "": it is empty`},
		"id is a number":          {strings.Replace(event(), `"e1"`, `25`, 1), `there is a number, but attribute "id" is a string`},
		"id is an object":         {strings.Replace(event(), `"e1"`, `{"a":"b"}`, 1), `there is an object, but attribute "id" is a string`},
		"capitals":                {event(`"MyExtension":"bad"`), `attribute "MyExtension": the name breaks the rules`},
		"punctuation":             {event(`"my.extension":"bad"`), `attribute "my.extension": the name breaks the rules`},
		"a fraction":              {event(`"myextension":1.5`), `attribute "myextension": it is a number with a fraction`},
		"data and data_base64":    {event(`"data":"text"`, `"data_base64":"e30="`), `"data" and "data_base64": both are there`},
		"an extension's exponent": {event(`"mine":1e3`), `it is a number with a fraction, an exponent`},
		"an extension of objects": {event(`"mine":{}`), `there is an object, but attribute "mine"`},
		"an extension of arrays":  {event(`"mine":[]`), `there is an array, but attribute "mine"`},
		"non-JSON data, no text":  {event(`"datacontenttype":"text/plain"`, `"data":7`), `content type "text/plain" is not JSON`},
		"the name data_base64x":   {event(`"data_base64x":"x"`), `the name breaks the rules`},
	} {
		t.Run(name, func(t *testing.T) { refuseRead(t, c.text, c.says) })
	}
}

func TestBatches(t *testing.T) {
	for text, want := range map[string]int{
		`[]`:                                0,
		` [ ] `:                             0,
		`[` + event() + `]`:                 1,
		`[` + event() + `,` + event() + `]`: 2, // also two of one id: the caller's business
		`[` + event() + ` , ` + event(`"datacontenttype":"text/plain"`, `"anint":10`) + `]`: 2,
	} {
		envs, err := cloudevents.UnmarshalBatch([]byte(text))
		if err != nil || envs == nil || len(envs) != want {
			t.Errorf("UnmarshalBatch(%s) = %d events, %v; want %d", text, len(envs), err, want)
		}
	}
	for text, says := range map[string]string{
		`[` + event() + `,` + strings.Replace(event(), "1.0", "0.9", 1) + `]`: `event 2: invalid attribute "specversion"`,
		`[{"specversion":"1.0","type":"t","source":"s"}]`:                     `event 1: invalid attribute "id": it is missing`,
		`["not an object",` + event() + `]`:                                   `event 1: invalid JSON at byte 1 of`,
		event():                                                               `there is an object, but a batch is an array`,
		`[` + event() + `,]`:                                                  `a value is missing after the comma`,
		`[` + event() + `,` + `{},{}]`:                                        `event 2`,
		`[` + event():                                                         `ends too early`,
		`[` + event() + `]]`:                                                  `there is more after the value`,
		`[` + event() + event() + `]`:                                         `a comma`,
		``:                                                                    `it is empty`,
		`[` + strings.Repeat(event()+`,`, cloudevents.MaxBatch) + event() + `]`: `more than 1000 events`,
	} {
		envs, err := cloudevents.UnmarshalBatch([]byte(text))
		if envs != nil {
			t.Errorf("UnmarshalBatch(%.99s): %d events beside the error", text, len(envs))
		}
		refused(t, err, says, "cloudevents: read batch: ")
	}
}
