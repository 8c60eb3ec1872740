// Package sqstest tests package transport/sqs on emulators of SQS and SNS, and on AWS itself where that is asked for.
package sqstest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

func TestMain(m *testing.M) { servers.Main(m) }

const region = "eu-central-1"

var keys = credentials.NewStaticCredentialsProvider("AKIASIXFOLDTEST", "secret-canary-0f3b", "")

var number atomic.Int64

// emulators runs a test on each.
func emulators(t *testing.T, test func(t *testing.T, f *fixture)) {
	for _, kind := range []servers.Emulator{servers.Fauxqs, servers.Moto} {
		t.Run(string(kind), func(t *testing.T) { test(t, newFixture(t, kind)) })
	}
}

// fixture is an emulator, and what the tests do with it.
type fixture struct {
	kind servers.Emulator
	url  string
}

func newFixture(t testing.TB, kind servers.Emulator) *fixture {
	t.Helper()
	return &fixture{kind: kind, url: servers.AWS(t, kind).URL()}
}

// fast are options whose waits are short. Names are a test's own.
func fast(url string, o sqs.Options) *sqs.Options {
	o.Region, o.Endpoint, o.LongPoll = region, url, time.Second
	if o.Credentials == nil {
		o.Credentials = keys
	}
	if o.Visibility == 0 {
		o.Visibility = 4 * time.Second
	}
	return &o
}

// connect makes a transport.
func connect(tb testing.TB, o *sqs.Options) *sqs.Transport {
	tb.Helper()
	t, err := sqs.New(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return t
}

// topic makes the name of one that no other test uses.
func topic() string { return fmt.Sprintf("topic.%d", number.Add(1)) }

// clients are plain ones, without anything of Sixfold's.
func clients(tb testing.TB, url string) (*awssqs.Client, *sns.Client) {
	tb.Helper()
	pool := &http.Transport{}
	tb.Cleanup(pool.CloseIdleConnections)
	c := aws.Config{Region: region, Credentials: keys, BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Transport: pool}}
	return awssqs.NewFromConfig(c), sns.NewFromConfig(c)
}

func open(tb testing.TB, t bus.Transport) bus.Sender {
	tb.Helper()
	s, err := t.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func subscribe(tb testing.TB, t bus.Transport, sub bus.Subscription) bus.Source {
	tb.Helper()
	s, err := t.Subscribe(tb.Context(), sub)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func group(topic string, ordered bool) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: ordered}
}

// messages makes one for each "key/body".
func messages(topic string, texts ...string) []bus.Outgoing {
	out := make([]bus.Outgoing, len(texts))
	for i, text := range texts {
		key, _, _ := strings.Cut(text, "/")
		out[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "sqstest", Type: "test", Key: key, Time: time.Now().UTC(),
			ContentType: "text/plain", Body: []byte(text)}}
	}
	return out
}

func send(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) []error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	return s.Send(ctx, batch).Wait(ctx)
}

func mustSend(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) {
	tb.Helper()
	if err := errors.Join(send(tb, s, batch...)...); err != nil {
		tb.Fatal(err)
	}
}

// receive takes at least n deliveries.
func receive(tb testing.TB, src bus.Source, n int) []*bus.Delivery {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	var all []*bus.Delivery
	for len(all) < n {
		ds, err := src.Receive(ctx, 1000)
		if err != nil {
			tb.Fatalf("%d of %d came: %v: %v", len(all), n, bodies(all), err)
		}
		all = append(all, ds...)
	}
	return all
}

func settle(tb testing.TB, src bus.Source, ds ...*bus.Delivery) {
	tb.Helper()
	if err := errors.Join(trySettle(tb, src, false, ds...)...); err != nil {
		tb.Fatal(err)
	}
}

func trySettle(tb testing.TB, src bus.Source, release bool, ds ...*bus.Delivery) []error {
	tb.Helper()
	ss := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		ss[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return src.Settle(tb.Context(), ss)
}

func bodies(ds []*bus.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = string(d.Body)
	}
	return out
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text)) // which SQS answers, and the client compares
	return hex.EncodeToString(sum[:])
}
