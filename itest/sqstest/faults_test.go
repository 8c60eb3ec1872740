package sqstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// through makes a topic with a group, and a transport behind a proxy.
func (f *fixture) through(t *testing.T, o sqs.Options) (name string, tr *sqs.Transport, p *proxy) {
	t.Helper()
	name = topic()
	p = newProxy(t, f.url)
	o.Groups = []bus.Subscription{{Topics: []string{name}, Group: "shipping"}}
	tr = connect(t, fast(p.url(), o))
	return name, tr, p
}

// sentBodies are the bodies of the messages in a request, of either service.
func sentBodies(action string, body []byte) []string {
	var texts []string
	switch action {
	case "SendMessageBatch":
		var in struct {
			Entries []struct{ Id, MessageBody string }
		}
		_ = json.Unmarshal(body, &in)
		for _, e := range in.Entries {
			texts = append(texts, e.MessageBody)
		}
	case "PublishBatch":
		form, _ := url.ParseQuery(string(body))
		for i := 1; ; i++ {
			text := form.Get(fmt.Sprintf("PublishBatchRequestEntries.member.%d.Message", i))
			if text == "" {
				break
			}
			texts = append(texts, text)
		}
	}
	return texts
}

// partial refuses the entries of a SendMessageBatch whose bodies have a mark, takes the others in name only, and notes them.
func partial(mark, code string, fault bool, note func(string)) func(string, []byte) *answer {
	return func(action string, body []byte) *answer {
		if action != "SendMessageBatch" {
			return nil
		}
		var good, bad []string
		for i, text := range sentBodies(action, body) {
			if strings.Contains(text, mark) {
				bad = append(bad, fmt.Sprintf(`{"Id":"%d","Code":"%s","Message":"no","SenderFault":%v}`, i, code, fault))
				continue
			}
			note(text)
			good = append(good, fmt.Sprintf(`{"Id":"%d","MessageId":"m","MD5OfMessageBody":"%s"}`, i, md5Hex(text)))
		}
		return &answer{status: 200, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
			body: `{"Successful":[` + strings.Join(good, ",") + `],"Failed":[` + strings.Join(bad, ",") + `]}`}
	}
}

// An entry that SQS refuses fails its key and no other, and nothing of its key is sent behind it, in the same Send or a later one.
// [PrefixAfterFailure]
// guarantees: R4, R6
func TestPartialFailure(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	for _, c := range []struct {
		code  string
		fault bool
		want  error
	}{{"InvalidMessageContents", true, bus.ErrRefused}, {"InternalError", false, bus.ErrUnavailable}, {"ThrottlingException", true, bus.ErrUnavailable}, {"KmsAccessDenied", true, bus.ErrRefused}} {
		t.Run(c.code, func(t *testing.T) {
			name, tr, p := f.through(t, sqs.Options{PointToPoint: true})
			s := hand.Open(t, tr)
			var mu sync.Mutex
			var taken []string
			p.setFault(partial("refuse this", c.code, c.fault, func(text string) {
				mu.Lock()
				defer mu.Unlock()
				taken = append(taken, text)
			}))
			// Bodies are base64 in an event, so that the mark is in the subject.
			batch := hand.Messages(name, "k/1", "k/2", "k/3", "l/1", "/free")
			batch[1].Subject = "refuse this"
			errs := hand.Send(t, s, batch...)
			if errs[0] != nil || !errors.Is(errs[1], c.want) || !errors.Is(errs[2], bus.ErrBehindFailed) || errs[3] != nil || errs[4] != nil {
				t.Errorf("got %v", errs)
			}
			later := hand.Send(t, s, hand.Messages(name, "k/4", "l/2")...)
			if !errors.Is(later[0], bus.ErrBehindFailed) || later[1] != nil {
				t.Errorf("later: %v", later)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(taken) != 4 {
				t.Errorf("%d entries were sent and taken, want k/1, l/1, l/2 and the one without a key", len(taken))
			}
		})
	}
}

// Two of a key are never in one request, nor in two at the same time: SQS could refuse the first and take the second.
// guarantees: R4
func TestOneOfAKeyAtATime(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{})
	s := hand.Open(t, tr)
	var mu sync.Mutex
	most := 0
	p.setFault(func(action string, body []byte) *answer {
		keys := map[string]int{}
		for _, text := range sentBodies(action, body) {
			var e struct {
				Key string `json:"partitionkey"`
			}
			_ = json.Unmarshal([]byte(text), &e)
			keys[e.Key]++
			mu.Lock()
			most = max(most, keys[e.Key])
			mu.Unlock()
		}
		return nil
	})
	var texts []string
	for i := range 40 {
		texts = append(texts, fmt.Sprintf("%c/%d", 'a'+i%4, i))
	}
	hand.MustSend(t, s, hand.Messages(name, texts...)...)
	src := hand.Subscribe(t, tr, group(name, true))
	next := map[string]int{}
	for n := 0; n < len(texts); {
		ds := hand.Receive(t, src, 1)
		for _, d := range ds {
			var at int
			if _, err := fmt.Sscanf(strings.TrimPrefix(string(d.Body), d.Key+"/"), "%d", &at); err != nil {
				t.Fatal(err)
			}
			if at < next[d.Key] {
				t.Errorf("%s came after number %d of its key", d.Body, next[d.Key])
			}
			next[d.Key] = at
		}
		n += len(ds)
		hand.Settle(t, src, ds...)
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 1 {
		t.Errorf("a request had %d messages of one key", most)
	}
}

// A request without an answer leaves its messages in doubt, is not repeated, and ends the sender.
// guarantees: R2
func TestALostRequestEndsTheSender(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{})
	s := hand.Open(t, tr)
	hand.MustSend(t, s, hand.Messages(name, "k/1")...)
	p.setFault(func(action string, _ []byte) *answer {
		if action == "PublishBatch" {
			return &answer{}
		}
		return nil
	})
	before := p.requests("PublishBatch")
	if err := hand.Send(t, s, hand.Messages(name, "k/2")...)[0]; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("a request without an answer: %v", err)
	}
	if n := p.requests("PublishBatch") - before; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	p.setFault(nil)
	for _, key := range []string{"k", "l", ""} {
		if err := hand.Send(t, s, hand.Messages(name, key+"/3")...)[0]; !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("the sender went on: %v", err)
		}
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "k/2")...)
}

// throttled and serverError are answers of SQS to a whole request.
func throttled() *answer {
	return &answer{status: 400, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
		body: `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}`}
}

func expired() *answer {
	return &answer{status: 403, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
		body: `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}`}
}

// Whole requests that fail with an answer fail their messages alone; no error shows a secret. [NoSecretAnywhere]
// guarantees: R7
func TestAnswersToRequests(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	for _, c := range []struct {
		name string
		say  *answer
		want error
	}{{"throttled", throttled(), bus.ErrUnavailable}, {"expired credentials", expired(), bus.ErrRefused}, {"unknown credentials", refusedToken(), bus.ErrRefused},
		{"server error", &answer{status: 500, body: `{"__type":"InternalFailure","message":"oops"}`}, bus.ErrUnavailable}, {"no right", &answer{status: 400, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
			body: `{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"not authorized to perform: sqs:SendMessage"}`}, bus.ErrRefused}} {
		t.Run(c.name, func(t *testing.T) {
			name, tr, p := f.through(t, sqs.Options{PointToPoint: true})
			s := hand.Open(t, tr)
			p.setFault(func(action string, _ []byte) *answer {
				if action == "SendMessageBatch" {
					return c.say
				}
				return nil
			})
			err := hand.Send(t, s, hand.Messages(name, "k/1")...)[0]
			if !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret-canary") || strings.Contains(err.Error(), "k/1") {
				t.Errorf("a secret or a body is shown: %v", err)
			}
			p.setFault(nil)
			hand.MustSend(t, s, hand.Messages(name, "l/1")...)
			if c.want == bus.ErrRefused && c.name != "no right" {
				p.setFault(func(string, []byte) *answer { return c.say })
				_, oerr := tr.Open(t.Context())
				_, serr := tr.Subscribe(t.Context(), group(name, true))
				if !errors.Is(oerr, bus.ErrRefused) || !errors.Is(serr, bus.ErrRefused) {
					t.Errorf("Open answered %v, Subscribe %v", oerr, serr)
				}
			}
		})
	}
}

// Credentials that expire end a source, and its deliveries' fate is said.
func TestExpiredWhileReceiving(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{})
	src := hand.Subscribe(t, tr, group(name, true))
	p.setFault(func(string, []byte) *answer { return expired() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := src.Receive(ctx, 10); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("got %v", err)
	}
	p.setFault(nil)
}

// Throttling while receiving is an outage that passes.
func TestThrottledWhileReceiving(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{})
	src := hand.Subscribe(t, tr, group(name, true))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "k/1")...)
	var mu sync.Mutex
	left := 3
	p.setFault(func(action string, _ []byte) *answer {
		mu.Lock()
		defer mu.Unlock()
		if action == "ReceiveMessage" && left > 0 {
			left--
			return throttled()
		}
		return nil
	})
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
}

// A batch of settlements can fail in part: what SQS does not know any more is lost, the rest is settled.
func TestSettleInPart(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{})
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "a/1", "b/1", "c/1")...)
	src := hand.Subscribe(t, tr, group(name, true))
	ds := hand.Receive(t, src, 3)
	p.setFault(func(action string, _ []byte) *answer {
		if action != "DeleteMessageBatch" {
			return nil
		}
		return &answer{status: 200, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
			body: `{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"ReceiptHandleIsInvalid","Message":"expired","SenderFault":true}]}`}
	})
	errs := hand.TrySettle(t, src, false, ds...)
	lost, unknown, fine := 0, 0, 0
	for _, err := range errs {
		switch {
		case err == nil:
			fine++
		case errors.Is(err, bus.ErrLost):
			lost++
		case errors.Is(err, bus.ErrUnavailable): // not mentioned in the answer
			unknown++
		}
	}
	if len(errs) != 3 || fine+lost+unknown != 3 || lost == 0 || fine == 0 || fine != lost {
		t.Errorf("got %v", errs)
	}
	p.setFault(nil)
}

// What an owner had and did not settle comes again before what it never had, after one death and after two. [TwoDeathsKeepOrder]
// guarantees: K2
func TestDeathsKeepOrder(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, _ := f.through(t, sqs.Options{})
	var texts []string
	for i := range 9 {
		texts = append(texts, fmt.Sprintf("%c/%d", 'a'+i%3, i))
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, texts...)...)
	last := map[string]string{}
	note := func(ds []*bus.Delivery) {
		for _, d := range ds {
			if string(d.Body) < last[d.Key] {
				t.Errorf("%s came after %s", d.Body, last[d.Key])
			}
			last[d.Key] = string(d.Body)
		}
	}
	for range 2 {
		p := newProxy(t, f.url)
		src := hand.Subscribe(t, connect(t, fast(p.url(), sqs.Options{Visibility: 6 * time.Second})), group(name, true))
		ds := hand.Receive(t, src, 3) // one of each key
		note(ds)
		hand.Settle(t, src, ds[len(ds)-1]) // the latest: the others came again when the visibility of the first had nearly passed
		p.cut()
	}
	src := hand.Subscribe(t, tr, group(name, true))
	for n := 0; n < len(texts)-2; {
		ds := hand.Receive(t, src, 1)
		note(ds)
		hand.Settle(t, src, ds...)
		n += len(ds)
	}
}

// Over the limit of the service, counted as it counts: the event with its attribute's name, type and value.
func TestOversize(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, p := f.through(t, sqs.Options{PointToPoint: true, MaxBody: 1 << 20})
	s := hand.Open(t, tr)
	env := func(n int) bus.Outgoing {
		o := hand.Messages(name, "/")[0]
		o.ContentType, o.Body = "application/json", []byte(`"`+strings.Repeat("x", n)+`"`)
		return o
	}
	o := env(1 << 19)
	hand.MustSend(t, s, o, env(1<<19-2000), env(1<<19-2000)) // two do not fit into one request
	if n := p.requests("SendMessageBatch"); n < 2 {
		t.Errorf("1.5 MiB went in %d requests", n)
	}
	before := p.requests("SendMessageBatch")
	err := hand.Send(t, s, env(1<<20-100))[0]
	if !errors.Is(err, bus.ErrTooLarge) || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("over the limit: %v", err)
	}
	if n := p.requests("SendMessageBatch"); n != before {
		t.Error("it was sent")
	}
}

// An SNS topic takes 256 KiB, or what its attribute says. Emulators know only the first, and refuse what the driver lets go.
func TestOversizeOfSNS(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	for _, c := range []struct {
		most string
		kib  int
		want error
		text string
	}{{"", 200, nil, ""}, {"", 300, bus.ErrTooLarge, "262144"}, {"65536", 30, nil, ""}, {"65536", 70, bus.ErrTooLarge, "65536"}, {"524288", 300, bus.ErrRefused, "Message too long"}, {"524288", 520, bus.ErrTooLarge, "524288"}} {
		name := topic()
		tr := connect(t, fast(f.url, sqs.Options{MaxBody: 1 << 20, Groups: []bus.Subscription{group(name, true)}, Topic: func(_ string, o *sqs.Topic) {
			if c.most != "" {
				o.Attributes = map[string]string{"MaximumMessageSize": c.most}
			}
		}}))
		o := hand.Messages(name, "k/")[0]
		o.ContentType, o.Body = "application/json", []byte(`"`+strings.Repeat("x", c.kib<<10)+`"`)
		if err := hand.Send(t, hand.Open(t, tr), o)[0]; !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%d KiB to a topic of %q: %v", c.kib, c.most, err)
		}
	}
}

// Whatever bytes a body and a text have survive, those among them that SQS refuses.
// guarantees: O5
func TestOddBytes(t *testing.T) {
	emulators(t, func(t *testing.T, f *fixture) {
		name, tr, _ := f.through(t, sqs.Options{})
		src := hand.Subscribe(t, tr, group(name, true))
		s := hand.Open(t, tr)
		for i, body := range []string{"\x00\x01\x08\x0b\x1f", "\uFFFE\uFFFF", "{\"a\":\"\uFFFE\u0085\"}", "\"\x7f\u0080\"", "\xff\xfe", "grün 🌍"} {
			o := hand.Messages(name, fmt.Sprintf("k/%d", i))[0]
			o.ContentType, o.Body, o.Subject = "application/json", []byte(body), "s\uFFFF\u0001 ü"
			o.Headers = map[string]string{"odd": "a\uFFFEb", "Umlaut": "ü 🌍"}
			if strings.HasPrefix(body, "\xff") {
				o.ContentType = "application/octet-stream"
			}
			hand.MustSend(t, s, o)
			d := hand.Receive(t, src, 1)[0]
			if d.Damaged != nil || string(d.Body) != body || d.Subject != o.Subject || d.Headers["odd"] != o.Headers["odd"] || d.Headers["Umlaut"] != "ü 🌍" {
				t.Errorf("body %q: arrived as %q (damaged: %v), subject %q, headers %q", body, d.Body, d.Damaged, d.Subject, d.Headers)
			}
			hand.Settle(t, src, d)
		}
	})
}

// A redriven message is not dropped by the window of the broker, a repeat is. [RedriveNotSwallowed]
func TestRedriveIsNotSwallowed(t *testing.T) {
	f := newFixture(t, servers.Fauxqs)
	name, tr, _ := f.through(t, sqs.Options{})
	src := hand.Subscribe(t, tr, group(name, true))
	s := hand.Open(t, tr)
	o := hand.Messages(name, "k/1")[0]
	hand.MustSend(t, s, o)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
	hand.MustSend(t, s, o) // dropped: the window goes on after the deletion
	o.Epoch = 1
	hand.MustSend(t, s, o, hand.Messages(name, "k/2")[0])
	var got []string
	for len(got) < 2 {
		ds := hand.Receive(t, src, 1)
		got = append(got, hand.Bodies(ds)...)
		hand.Settle(t, src, ds...)
	}
	if strings.Join(got, " ") != "k/1 k/2" {
		t.Errorf("got %v, want the redriven one, once, and the next", got)
	}
	dead := hand.Messages(name+bus.DeadSuffix, "k/1")[0]
	hand.MustSend(t, s, dead, dead)
	deadSrc := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{name + bus.DeadSuffix}, Group: "people"})
	for range 2 { // two groups that give it up both mean it
		ds := hand.Receive(t, deadSrc, 1)
		hand.Settle(t, deadSrc, ds...)
	}
}

// Endpoints without TLS on another host are refused unless that is said.
func TestPlainEndpoint(t *testing.T) {
	o := fast("http://sqs.example.com", sqs.Options{})
	if _, err := sqs.New(t.Context(), o); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("got %v", err)
	}
	o.Plain = true
	tr, err := sqs.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", tr, tr, tr, tr)} {
		if strings.Contains(text, "canary") {
			t.Error("the secret is shown")
		}
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	down := connect(t, fast("http://127.0.0.1:1", sqs.Options{}))
	if _, err := down.Open(t.Context()); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("nobody listens: %v", err)
	}
}
