// Package sqstest tests package transport/sqs on emulators of SQS and SNS, and on AWS itself where that is asked for.
package sqstest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

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

// fast are options whose waits are short, but for the visibility: a busy machine may stand still for a while. Names are a test's own.
func fast(url string, o sqs.Options) *sqs.Options {
	o.Region, o.Endpoint, o.LongPoll = region, url, time.Second
	if o.Credentials == nil {
		o.Credentials = keys
	}
	if o.Visibility == 0 {
		o.Visibility = 15 * time.Second
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
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

func group(topic string, ordered bool) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: ordered}
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text)) // which SQS answers, and the client compares
	return hex.EncodeToString(sum[:])
}
