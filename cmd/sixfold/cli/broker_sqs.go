package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// sqsBroker is SQS with SNS, where a topic is an SNS topic and messages wait in the queues of groups; or SQS alone, where a topic
// is a queue.
type sqsBroker struct {
	t     *sqs.Transport // makes nothing
	maker *sqs.Transport // on the same clients
	o     sqs.Options
	q     *awssqs.Client
	where string
	owner string // the account, if known
}

func (a *app) openSQS(ctx context.Context, text string) (broker, error) {
	u, err := parseSQS(text)
	if err != nil {
		return nil, err
	}
	if u.host != "" {
		if err := a.plaintext("SQS", u.host, "write https:// in the parameter endpoint"); err != nil {
			return nil, err
		}
		u.o.Plain = true
	}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	b := &sqsBroker{o: u.o}
	u.o.Require = true
	if b.t, err = sqs.New(limited, &u.o); err != nil {
		f := asFailure(err)
		return nil, usage("the URL of the broker cannot be used: "+safe(f.Message), f.Hint)
	}
	n, m := b.t.Clients()
	b.q, b.where = n, "SQS in "+n.Options().Region
	if u.o.Endpoint != "" {
		b.where += " at " + u.o.Endpoint
	}
	if err = b.t.Ping(limited); err == nil {
		err = b.whose(limited, u.account)
	} else if errors.Is(err, bus.ErrRefused) {
		err = cannotConnect(b.where+" refused: "+safe(err.Error()), "look at the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role), at the region, and at the clock of this machine")
	} else {
		err = cannotConnect(b.where+" cannot be reached: "+safe(err.Error()), "look at region and endpoint of the URL, or raise --timeout")
	}
	if err == nil {
		b.maker, err = sqs.NewClients(n, m, &b.o)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// whose asks which account the credentials are of, and wants it to be account, if that is not empty. Everybody may ask that;
// where nobody answers it is known only to be unknown.
func (b *sqsBroker) whose(ctx context.Context, account string) error {
	of := b.q.Options()
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := sts.New(sts.Options{Region: of.Region, Credentials: of.Credentials, BaseEndpoint: of.BaseEndpoint, HTTPClient: of.HTTPClient, Retryer: aws.NopRetryer{}}).
		GetCallerIdentity(asked, &sts.GetCallerIdentityInput{})
	switch {
	case err == nil:
		b.owner = aws.ToString(out.Account)
	case ctx.Err() != nil:
		return ctx.Err()
	case account != "":
		return cannotConnect("nobody says which account the credentials are of: "+safe(err.Error()), "leave the account out of the URL of the broker, or let STS be reached")
	}
	if account != "" && b.owner != account {
		return refused("the URL of the broker names the account "+account+", and the credentials are of "+orDash(b.owner), "use the credentials of that account, or correct the URL")
	}
	return nil
}

func (b *sqsBroker) transport() bus.Transport { return b.t }

func (b *sqsBroker) close() { _ = b.t.Close(context.Background()) }

func (b *sqsBroker) failed(what string, err error) error {
	return failedWith(b.where+" could not "+what+": "+safe(err.Error()), "look at the rights of the role: docs/transport-sqs.md lists them")
}

func (b *sqsBroker) check(ctx context.Context) (text, fix string, err error) {
	in := &awssqs.ListQueuesInput{MaxResults: aws.Int32(1000)}
	if b.o.Prefix != "" {
		in.QueueNamePrefix = &b.o.Prefix
	}
	out, err := b.q.ListQueues(ctx, in)
	if err != nil {
		return b.where + orEmpty(", account ", b.owner) + "; its queues may not be listed", "", nil
	}
	more := ""
	if aws.ToString(out.NextToken) != "" {
		more = " and more"
	}
	return fmt.Sprintf("%s%s, %d queues%s%s", b.where, orEmpty(", account ", b.owner), len(out.QueueUrls), more, orEmpty(" below ", b.o.Prefix)), "", nil
}

// orEmpty is text behind before, or nothing where there is no text.
func orEmpty(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func (b *sqsBroker) find(ctx context.Context, topic string) (string, error) {
	of, err := b.t.Describe([]string{topic})
	if err != nil {
		return "", err
	}
	parts, err := b.t.CheckTopology(ctx, of)
	if err != nil {
		return "", b.failed("look for topic "+quote(topic), err)
	}
	if parts[0].State == bus.Missing {
		return "", nil
	}
	return parts[0].Name, nil
}

func (b *sqsBroker) declare(ctx context.Context, t topic) error {
	if t.Lanes != 0 || t.Replicas != 0 || t.Dedup != 0 {
		return usage("topic "+quote(t.Name)+" has lanes, replicas or dedup, which SQS has not", "leave them out: keys are FIFO groups, and the window for repeats is five minutes")
	}
	return b.maker.Declare(ctx, t.Name)
}

// queue finds the queue that a name means, and how many messages it has, about: of a group, like shipping@orders; of a
// topic that is a queue; or one with that name at AWS.
func (b *sqsBroker) queue(ctx context.Context, name string) (url string, total uint64, err error) {
	group, topic, isGroup := strings.Cut(name, "@")
	var of *sqs.Topology
	if isGroup {
		of, err = b.t.Describe(nil, bus.Subscription{Topics: []string{topic}, Group: group})
	} else {
		of, err = b.t.Describe([]string{name})
	}
	if err != nil {
		return "", 0, err
	}
	names, sns := []string{name}, ""
	for _, p := range of.Parts() {
		switch p := p.(type) {
		case sqs.Queue:
			names = append([]string{p.Name}, names...)
		case sqs.Topic:
			sns = p.Name
		}
	}
	for _, n := range names {
		if strings.Trim(strings.TrimSuffix(strings.ToLower(n), ".fifo"), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			continue // no name of a queue
		}
		if url, total, err = b.count(ctx, n); err != nil || url != "" {
			return url, total, err
		}
	}
	there := ""
	if !isGroup {
		if there, err = b.find(ctx, name); err != nil {
			return "", 0, err
		}
	}
	if there != "" && sns != "" {
		return "", 0, failedWith(quote(name)+" is the SNS topic "+sns+", and messages wait in the queues of its groups", "name one of them, like "+quote("group@"+name))
	}
	return "", 0, failedWith(fmt.Sprintf("the account has no queue for %s (looked for %s)", quote(name), strings.Join(names, ", ")), `name one like "group@topic", a topic of dead letters, or a queue as it is called at AWS`)
}

// count answers the URL of a queue, "" where there is none, and how many messages it has, about, those in hand among them.
func (b *sqsBroker) count(ctx context.Context, name string) (url string, total uint64, err error) {
	out, err := b.q.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: &name})
	var missing *types.QueueDoesNotExist
	switch {
	case errors.As(err, &missing):
		return "", 0, nil
	case err != nil:
		return "", 0, b.failed("look for queue "+quote(name), err)
	}
	waiting := []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible, types.QueueAttributeNameApproximateNumberOfMessagesDelayed}
	have, err := b.q.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: out.QueueUrl, AttributeNames: waiting})
	if err != nil {
		return "", 0, b.failed("count the messages of queue "+quote(name), err)
	}
	for _, n := range waiting {
		some, _ := strconv.ParseUint(have.Attributes[string(n)], 10, 64)
		total += some
	}
	return aws.ToString(out.QueueUrl), total, nil
}

func (b *sqsBroker) peekCost() string {
	return "SQS: they were received and given back, so the queue counts a delivery of each, and consumers run them as redelivered. What consumers have in hand is not shown, and of one key no more than ten; the number of all is approximate."
}

// peek receives and gives back. Ten of a FIFO group is all that SQS gives out before they are back, so that no message passes another.
func (b *sqsBroker) peek(ctx context.Context, name string, most int) (list []peeked, total uint64, err error) {
	url, total, err := b.queue(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	var taken []types.Message
	defer func() {
		if back := b.giveBack(context.WithoutCancel(ctx), url, taken); err == nil && back != nil {
			err = back
		}
	}()
	for len(list) < most {
		out, err := b.q.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: int32(min(10, most-len(list))), WaitTimeSeconds: 1, VisibilityTimeout: peekFor,
			MessageAttributeNames: []string{"All"}})
		if err != nil && ctx.Err() != nil {
			return list, total, ctx.Err()
		}
		if err != nil {
			return list, total, b.failed("show messages of "+quote(name), err)
		}
		if len(out.Messages) == 0 {
			break
		}
		taken = append(taken, out.Messages...)
		for i := range out.Messages {
			p := peeked{at: aws.ToString(out.Messages[i].MessageId)}
			p.damaged = sqs.Read(&p.env, &out.Messages[i])
			list = append(list, p)
		}
	}
	return list, max(total, uint64(len(list))), nil
}

// peekFor is how long, in seconds, what peek has received stays away from consumers where it cannot be given back.
const peekFor = 60

func (b *sqsBroker) giveBack(ctx context.Context, url string, taken []types.Message) error {
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for ten := range slices.Chunk(taken, 10) {
		in := &awssqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url}
		for i := range ten {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: ten[i].ReceiptHandle})
		}
		out, err := b.q.ChangeMessageVisibilityBatch(limited, in)
		if err == nil && len(out.Failed) > 0 {
			err = fmt.Errorf("%s: %s", aws.ToString(out.Failed[0].Code), aws.ToString(out.Failed[0].Message))
		}
		if err != nil {
			return failedWith(fmt.Sprintf("what was received could not be given back, and comes to consumers after %d seconds: %s", peekFor, safe(err.Error())), "grant sqs:ChangeMessageVisibility, or wait")
		}
	}
	return nil
}

func (b *sqsBroker) purge(ctx context.Context, name string) (n uint64, err error) {
	url, total, err := b.queue(ctx, name)
	if err != nil {
		return 0, err
	}
	_, err = b.q.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: &url})
	var again *types.PurgeQueueInProgress
	switch {
	case errors.As(err, &again):
		return 0, failedWith("the queue of "+quote(name)+" was purged less than a minute ago, and SQS does so once a minute", "wait a minute, then try again")
	case err != nil:
		return 0, b.failed("purge "+quote(name), err)
	}
	return total, nil
}
