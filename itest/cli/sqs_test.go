package cli

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	sixfoldsqs "github.com/sixfold-go/sixfold/transport/sqs"
)

const awsSecret = "secret-canary-1c77"

// awsVariables are the credentials for an emulator, and nothing of this machine's.
func awsVariables() []string {
	return []string{"AWS_ACCESS_KEY_ID=AKIASIXFOLDTEST", "AWS_SECRET_ACCESS_KEY=" + awsSecret, "AWS_EC2_METADATA_DISABLED=true"}
}

// What cannot be a URL of SQS is refused before anything is asked; nobody learns a secret from it.
// [NoSecretAnywhere]
func TestSQSURLs(t *testing.T) {
	r := newRunner(t, awsVariables()...)
	for _, c := range []struct {
		url  string
		code int
		want string
	}{
		{"sqs://AKIA:hunter2@eu-central-1", 2, "AWS_ACCESS_KEY_ID"},
		{"sqs://127.0.0.1:4566", 2, "where the region belongs"},
		{"sqs://sqs.eu-central-1.amazonaws.com", 2, "where the region belongs"},
		{"sqs://eu-central-1/12345", 2, "not twelve digits"},
		{"sqs://eu-central-1?secret=hunter2", 2, "unknown parameter \"secret\""},
		{"sqs://eu-central-1?standard=perhaps", 2, "write standard=true"},
		{"sqs://eu-central-1?prefix=a.b", 2, "Prefix"},
		{"sqs://eu-central-1?endpoint=ftp://x", 2, "neither https nor http"},
		{"sqs://eu-central-1?endpoint=http://u:hunter2@127.0.0.1:1", 2, "user or a password"},
		{"sqs://eu-central-1?endpoint=http://10.255.255.1:4566", 4, "or add --insecure"},
		{"sqs://?endpoint=http://127.0.0.1:1", 2, "AWS_REGION"},
		{"sqs://eu-central-1?endpoint=http://127.0.0.1:1", 3, "cannot be reached"},
		{"sqss://eu-central-1", 2, "did you mean"},
	} {
		got := r.with("SIXFOLD_BROKER="+c.url).run("bus", "peek", "orders")
		if all := strings.Join(strings.Fields(got.all()), " "); got.code != c.code || !strings.Contains(all, c.want) || strings.Contains(all, "hunter2") || strings.Contains(all, awsSecret) {
			t.Errorf("%s: code %d, %q", c.url, got.code, got.all())
		}
	}
	none := newRunner(t, "AWS_EC2_METADATA_DISABLED=true", "SIXFOLD_BROKER=sqs://eu-central-1?endpoint=http://127.0.0.1:1")
	if got := none.run("bus", "peek", "orders"); got.code != 3 || !strings.Contains(got.err, "AWS_PROFILE") {
		t.Errorf("without credentials: code %d, %q", got.code, got.all())
	}
}

// What is looked at goes back at once, also where the command saw only a part of it, and in its order.
func TestPeekOfSQSGivesBack(t *testing.T) {
	url := servers.AWS(t, servers.Fauxqs).URL()
	r := newRunner(t, append(awsVariables(), "SIXFOLD_BROKER=sqs://eu-central-1?endpoint="+url)...)
	if got := r.run("bus", "declare", "peeked"); got.code != 0 {
		t.Fatal(got.err)
	}
	for _, keyed := range []string{"k1", "k2", "l1"} {
		if got := r.run("bus", "publish", "peeked.dead", "--type", "a.b", "--key", keyed[:1], "--data", keyed[1:]); got.code != 0 {
			t.Fatal(got.err)
		}
	}
	if got := r.run("bus", "peek", "peeked.dead", "--limit", "2", "--body"); got.code != 0 || !strings.Contains(got.out, "2 of 3") {
		t.Fatalf("code %d, %q", got.code, got.all())
	}
	pool := &http.Transport{}
	defer pool.CloseIdleConnections()
	q := sqs.NewFromConfig(aws.Config{Region: "eu-central-1", BaseEndpoint: &url, HTTPClient: &http.Client{Transport: pool}, Credentials: credentials.NewStaticCredentialsProvider("AKIASIXFOLDTEST", awsSecret, "")})
	at, err := q.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("peeked_dead.fifo")})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string // as a consumer gets them; the emulator gives out one of a key at a time
	for len(keys) < 3 {
		out, err := q.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: at.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"}})
		if err != nil || len(out.Messages) == 0 {
			t.Fatalf("a consumer gets %q of 3 messages: %v", keys, err)
		}
		for i := range out.Messages {
			var env sixfold.Envelope
			if err := sixfoldsqs.Read(&env, &out.Messages[i]); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, env.Key+string(env.Body))
			if _, err := q.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: at.QueueUrl, ReceiptHandle: out.Messages[i].ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if slices.Index(keys, "k1") > slices.Index(keys, "k2") || !slices.Contains(keys, "l1") {
		t.Errorf("they come as %q", keys)
	}
}

// A copy is followed and leaves no queue behind.
func TestTailOfSQS(t *testing.T) {
	url := servers.AWS(t, servers.Fauxqs).URL()
	r := newRunner(t, append(awsVariables(), "SIXFOLD_BROKER=sqs://eu-central-1?endpoint="+url)...)
	if got := r.run("bus", "declare", "tailed"); got.code != 0 {
		t.Fatal(got.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, out, _ := r.cmd(ctx, "bus", "tail", "tailed", "--body", "--count", "1")
	c.Stderr = nil
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	n, err := said.Read(line)
	if err != nil || !bytes.Contains(line[:n], []byte("following")) {
		t.Fatalf("%v: %q", err, line[:n])
	}
	if got := r.run("bus", "publish", "tailed", "--type", "a.b", "--key", "k", "--data", "seen"); got.code != 0 {
		t.Fatal(got.err)
	}
	if err := c.Wait(); err != nil || !strings.Contains(out.String(), "seen") {
		t.Errorf("%v: %q", err, out.String())
	}
	if got := r.with("SIXFOLD_BROKER=sqs://eu-central-1?prefix=copy--tailed&endpoint=" + url).run("doctor"); got.code != 0 || !strings.Contains(got.out, " 0 queues") {
		t.Errorf("a queue is left, or %q", got.all())
	}
}
