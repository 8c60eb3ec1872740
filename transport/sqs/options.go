package sqs

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Options of a Transport. The zero value, and nil, are right for AWS, with region and credentials from the environment.
type Options struct {
	// Region of AWS. Empty: what the standard chain says (AWS_REGION, the profile).
	Region string
	// Endpoint in place of AWS's own, for both services: "http://127.0.0.1:4566". Without TLS only to this machine, unless Plain.
	Endpoint string
	// Plain lets signed requests and bodies go without TLS to another host.
	Plain bool
	// Credentials, or nil for the standard chain: environment, profile, container, instance.
	Credentials aws.CredentialsProvider

	// Standard makes and expects standard queues and topics, which keep no order and drop no repeats. False: FIFO ones.
	Standard bool
	// PointToPoint makes a queue of each topic, which one group may read, and needs no SNS.
	PointToPoint bool
	// Prefix of all names, as "prod-": up to 24 letters, digits, '-' and '_'.
	Prefix string

	// Topology is declared when the first sender is opened or the first subscription made; nil: nothing.
	Topology *Topology
	// Topics are declared after it, with their dead letters.
	Topics []string
	// Groups are declared last: their topics, queues and subscriptions, so that messages wait for a group before its first member
	// has come. Without that it misses what is sent before.
	Groups []bus.Subscription
	// Require creates nothing: topics, queues and subscriptions have to be there. The queues of copies are made all the same.
	Require bool
	// Queue changes the queue of a group, or that of a topic without SNS (its group is empty), before it is looked for
	// or made: its name, its attributes.
	Queue func(topic, group string, q *Queue)
	// Topic changes the SNS topic of a topic before it is looked for or made.
	Topic func(topic string, t *Topic)

	// Visibility is how long a delivery stays ours unless it is extended, in whole seconds, 1 s to 12 h. 0: 30 s.
	Visibility time.Duration
	// LongPoll is how long a request waits for messages, in whole seconds, 1 s to 20 s. 0: 20 s.
	LongPoll time.Duration
	// Pollers ask for messages at the same time, of each queue, while there are many. 0: 4.
	Pollers int
	// Requests that a sender has in flight at most, each with up to 10 messages. 0: 16.
	Requests int
	// MaxBody in bytes of body and headers together. 0: what surely fits. That is 180 KiB through SNS, which takes 256 KiB unless the
	// topic's attribute MaximumMessageSize says more, and 756 KiB without, where SQS takes 1 MiB: bytes that are no JSON
	// grow by a third on the way.
	MaxBody int
	// AckTimeout is how long a sender waits for the answer to a request. 0: 30 s.
	AckTimeout time.Duration
	// Logger, or nil for none.
	Logger *slog.Logger
}

// Limits of the services, in bytes of a request and of each message in it. That of SNS is what a topic has without the attribute
// MaximumMessageSize, which goes as far as that of SQS.
const (
	snsLimit = 256 << 10
	sqsLimit = 1 << 20
)

// maxBody is what is left of a limit for bytes that grow by a third: 16 KiB are for the attributes and their names.
func maxBody(limit int) int { return (limit - 16<<10) / 4 * 3 }

// defaulted answers the options with the zero values filled in, and everything that is wrong with them.
func (o *Options) defaulted() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	var errs []error
	bad := func(name string, v any, rule string) {
		errs = append(errs, fmt.Errorf("sqs: option %s: %w: it is %v; %s", name, sixfold.ErrInvalid, v, rule))
	}
	for _, n := range []struct {
		name              string
		value             *time.Duration
		zero, least, most time.Duration
		whole             bool
	}{{"Visibility", &d.Visibility, 30 * time.Second, time.Second, longestHold, true}, {"LongPoll", &d.LongPoll, 20 * time.Second, time.Second, 20 * time.Second, true},
		{"AckTimeout", &d.AckTimeout, 30 * time.Second, 100 * time.Millisecond, time.Hour, false}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < n.least || *n.value > n.most || n.whole && *n.value%time.Second != 0:
			bad(n.name, *n.value, fmt.Sprintf("give %v to %v in whole seconds, or 0 for %v", n.least, n.most, n.zero))
		}
	}
	limit := snsLimit
	if d.PointToPoint {
		limit = sqsLimit
	}
	for _, n := range []struct {
		name       string
		value      *int
		zero, most int
	}{{"Pollers", &d.Pollers, 4, 64}, {"Requests", &d.Requests, 16, 1024}, {"MaxBody", &d.MaxBody, maxBody(limit), sqsLimit}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < 0 || *n.value > n.most:
			bad(n.name, *n.value, fmt.Sprintf("give 1 to %d, or 0 for %d", n.most, n.zero))
		}
	}
	if len(d.Prefix) > 24 || !legal(d.Prefix) {
		bad("Prefix", driver.Quote(d.Prefix), "use up to 24 letters, digits, '-' and '_'")
	}
	if d.Topic != nil && d.PointToPoint {
		bad("Topic", "set", "leave it out with PointToPoint, which has no SNS topics")
	}
	if err := checkEndpoint(d.Endpoint, d.Plain); err != nil {
		errs = append(errs, err)
	}
	for _, topic := range d.Topics {
		if err := checkTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("sqs: option Topics: %w", err))
		}
	}
	for _, sub := range d.Groups {
		if err := d.checkGroup(sub); err != nil {
			errs = append(errs, fmt.Errorf("sqs: option Groups: %w: %w", sixfold.ErrInvalid, err))
		}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, errors.Join(errs...)
}

// checkEndpoint says what is wrong with an address, without showing it, since it may have a password.
func checkEndpoint(endpoint string, plain bool) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	const how = "write https://host or http://127.0.0.1:port"
	switch {
	case err != nil:
		return fmt.Errorf("sqs: option Endpoint: %w: it is no URL; %s", sixfold.ErrInvalid, how)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("sqs: option Endpoint: %w: the scheme %s is neither https nor http; %s", sixfold.ErrInvalid, driver.Quote(u.Scheme), how)
	case u.Hostname() == "":
		return fmt.Errorf("sqs: option Endpoint: %w: there is no host; %s", sixfold.ErrInvalid, how)
	case u.User != nil:
		return fmt.Errorf("sqs: option Endpoint: %w: it has a user or a password, which AWS does not know; give Credentials", sixfold.ErrInvalid)
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("sqs: option Endpoint: %w: it has a query or a fragment; %s", sixfold.ErrInvalid, how)
	case u.Scheme == "http" && !loopback(u.Hostname()) && !plain:
		return fmt.Errorf("sqs: option Endpoint: %w: requests would go without TLS to the host %s; write https://, or set Plain if that is meant", sixfold.ErrInvalid, driver.Quote(u.Hostname()))
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkGroup says what is wrong with a subscription that should be one of a group.
func (o *Options) checkGroup(sub bus.Subscription) error {
	if sub.Group == "" {
		return o.checkSubscription(sub, errors.New("the group's name is empty; a copy cannot be declared"))
	}
	return o.checkSubscription(sub)
}

// checkSubscription says what is wrong with one.
func (o *Options) checkSubscription(sub bus.Subscription, more ...error) error {
	if sub.Ordered && o.Standard {
		more = append(more, errors.New("standard queues keep no order; leave Options.Standard out, for FIFO queues, or Ordered"))
	}
	if sub.Group == "" && o.PointToPoint {
		more = append(more, errors.New("a copy for each process needs SNS, which PointToPoint leaves out; name a group"))
	}
	return driver.CheckSubscription(sub, checkTopic, more...)
}
