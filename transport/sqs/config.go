package sqs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/logging"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// configure reads the standard chain. The connections of the clients are in a pool of our own, which Close empties.
func configure(ctx context.Context, o *Options) (aws.Config, *http.Transport, error) {
	loads := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})} // which would write to standard error
	if o.Region != "" {
		loads = append(loads, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		loads = append(loads, config.WithCredentialsProvider(o.Credentials))
	}
	c, err := config.LoadDefaultConfig(ctx, loads...)
	if err != nil {
		return c, nil, fmt.Errorf("sqs: read the configuration of AWS: %w", err)
	}
	if c.Region == "" {
		return c, nil, fmt.Errorf("sqs: region: %w: it is not set; give Options.Region, or set AWS_REGION", sixfold.ErrInvalid)
	}
	if o.Endpoint != "" {
		c.BaseEndpoint = aws.String(o.Endpoint)
	}
	client, ok := c.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	pool := client.GetTransport()                                                                // a copy, with the certificates of the environment
	pool.MaxIdleConns, pool.MaxIdleConnsPerHost, pool.IdleConnTimeout = 256, 128, 20*time.Second // before the service closes them
	c.HTTPClient = &http.Client{Transport: whole{pool}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, pool, nil
}

// whole sends requests in one piece. Of a body as AWS's client has it, net/http asks once more whether that was all of it when it is sent, and the
// client closes it as soon as an answer begins: who asks late is told of an error then, and cuts the connection off under the answer.
type whole struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.ContentLength <= 0 {
		return w.Transport.RoundTrip(r)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	own := r.WithContext(r.Context())
	own.Body = io.NopCloser(bytes.NewReader(body))
	return w.Transport.RoundTrip(own)
}

// Ping asks SQS, and SNS where it is used, whether they are there and know who asks. It needs no right: an action that is not
// granted is an answer too. Errors wrap bus.ErrRefused and bus.ErrUnavailable.
func (t *Transport) Ping(ctx context.Context) error {
	err := t.usable(ctx)
	if err == nil {
		err = t.reach(ctx)
	}
	if err == nil {
		err = t.reachSNS(ctx)
	}
	if err != nil {
		return fmt.Errorf("sqs: ping: %w", err)
	}
	return nil
}

// reach asks the service for something small, to learn whether it is there and knows who asks. An action that is not
// granted tells that as well.
func (t *Transport) reach(ctx context.Context) error {
	if err := t.credentials(ctx); err != nil {
		return err
	}
	asked, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	_, err := t.sqs.GetQueueUrl(asked, &sqs.GetQueueUrlInput{QueueName: aws.String(t.o.fit("sixfold"))}, twice)
	return t.heard(ctx, err)
}

// reachSNS is the same for SNS.
func (t *Transport) reachSNS(ctx context.Context) error {
	if t.sns == nil {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	if home := t.home.get(); home != "" {
		_, err := t.sns.GetTopicAttributes(asked, &sns.GetTopicAttributesInput{TopicArn: aws.String(home + t.o.fit("sixfold"))}, twiceSNS)
		return t.heard(ctx, err)
	}
	out, err := t.sns.ListTopics(asked, &sns.ListTopicsInput{}, twiceSNS)
	if err == nil && len(out.Topics) > 0 {
		t.home.learn(value(out.Topics[0].TopicArn))
	}
	return t.heard(ctx, err)
}

func (t *Transport) heard(ctx context.Context, err error) error {
	if err == nil || missing(err) {
		return nil
	}
	for _, denied := range deniedCodes {
		if code(err) == denied {
			return nil // what is needed will say so itself
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// credentials says whether there are any. Without, the client's error would look like an outage.
func (t *Transport) credentials(ctx context.Context) error {
	provider := t.sqs.Options().Credentials
	if provider == nil {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	_, err := provider.Retrieve(asked)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case asked.Err() != nil:
		return fmt.Errorf("%w: where the credentials come from there was no answer within %v", bus.ErrUnavailable, requestLimit)
	}
	return fmt.Errorf("%w: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role: %w", bus.ErrRefused, err)
}
