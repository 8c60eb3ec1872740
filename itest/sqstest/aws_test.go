package sqstest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// AWS itself, never unless it is asked for: SIXFOLD_AWS_TEST=1, with the region in SIXFOLD_AWS_REGION and in SIXFOLD_AWS_PREFIX a prefix
// that nothing else in the account has, since everything below it is deleted in the end. Credentials come from the standard chain.
// guarantees: R1, K2, O5
func TestAWS(t *testing.T) {
	where, prefix := os.Getenv("SIXFOLD_AWS_REGION"), os.Getenv("SIXFOLD_AWS_PREFIX")
	if os.Getenv("SIXFOLD_AWS_TEST") != "1" {
		t.Skip("set SIXFOLD_AWS_TEST=1, SIXFOLD_AWS_REGION and SIXFOLD_AWS_PREFIX to run on AWS, which costs a little")
	}
	if where == "" || len(prefix) < 4 {
		t.Fatal("SIXFOLD_AWS_REGION and SIXFOLD_AWS_PREFIX, of at least four characters, have to be set")
	}
	c, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(where))
	if err != nil {
		t.Fatal(err)
	}
	q, n := awssqs.NewFromConfig(c), sns.NewFromConfig(c)
	defer cleanUp(t, q, n, prefix)
	for _, standard := range []bool{false, true} {
		name := topic() + "." + map[bool]string{false: "fifo", true: "standard"}[standard] + time.Now().Format("150405")
		sub := group(name, !standard)
		tr, err := sqs.NewClients(q, n, &sqs.Options{Prefix: prefix, Standard: standard, Visibility: 5 * time.Second, LongPoll: 5 * time.Second, Groups: []bus.Subscription{sub}})
		if err != nil {
			t.Fatal(err)
		}
		hand.MustSend(t, hand.Open(t, tr), hand.Messages(name, "a/1", "a/2", "a/3", "b/1", "/free")...)
		src := hand.Subscribe(t, tr, sub)
		if errs := hand.TrySettle(t, src, true, hand.Receive(t, src, 1)...); errs[0] != nil { // comes again, before the rest of its key
			t.Error(errs)
		}
		last := map[string]string{}
		for got := 0; got < 5; {
			ds := hand.Receive(t, src, 1)
			for _, d := range ds {
				if !standard && string(d.Body) < last[d.Key] {
					t.Errorf("%s came after %s", d.Body, last[d.Key])
				}
				last[d.Key] = string(d.Body)
			}
			hand.Settle(t, src, ds...)
			got += len(ds)
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// cleanUp deletes what the test has made.
func cleanUp(t *testing.T, q *awssqs.Client, n *sns.Client, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	topics := sns.NewListTopicsPaginator(n, &sns.ListTopicsInput{})
	for topics.HasMorePages() {
		page, err := topics.NextPage(ctx)
		if err != nil {
			t.Error(err)
			break
		}
		for _, o := range page.Topics {
			if arn := aws.ToString(o.TopicArn); strings.HasPrefix(arn[strings.LastIndexByte(arn, ':')+1:], prefix) { // with its subscriptions
				if _, err := n.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &arn}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	out, err := q.ListQueues(ctx, &awssqs.ListQueuesInput{QueueNamePrefix: &prefix})
	if err != nil {
		t.Error(err)
		return
	}
	for _, url := range out.QueueUrls {
		if _, err := q.DeleteQueue(ctx, &awssqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
			t.Error(err)
		}
	}
}
