package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// rabbitBroker is RabbitMQ, where a topic is an exchange, and messages wait in the queues of groups.
type rabbitBroker struct {
	conn  *amqp.Connection
	t     *rabbitmq.Transport
	where string
}

func (a *app) openRabbitMQ(ctx context.Context, urls string) (broker, error) {
	first, _, _ := strings.Cut(urls, ",") // any node of a cluster will do
	uri, err := amqp.ParseURI(strings.TrimSpace(first))
	if err != nil {
		return nil, usage("the URL of the broker cannot be read", "write amqp://host:5672/vhost, with @ : / # ? % in a password as %40 %3A %2F %23 %3F %25")
	}
	where := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	if uri.Scheme == "amqp" && !loopback(uri.Host) {
		if err := a.plaintext("RabbitMQ", where, "write amqps:// in the URL"); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	conn, err := amqp.DialConfig(strings.TrimSpace(first), amqp.Config{Dial: amqp.DefaultDial(a.timeout), Properties: amqp.Table{"connection_name": "sixfold"}})
	if err != nil {
		return nil, whyNoRabbitMQ(err, where, time.Since(began) >= a.timeout)
	}
	b := &rabbitBroker{conn: conn, where: where}
	if b.t, err = rabbitmq.NewConn(conn, &rabbitmq.Options{Require: true}); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return b, nil
}

// whyNoRabbitMQ tells apart why nobody answered. late says that the time was up, of which the client makes another error.
func whyNoRabbitMQ(err error, where string, late bool) error {
	var dns *net.DNSError
	var network net.Error
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var node *amqp.Error
	switch {
	case errors.As(err, &node) && node.Code == amqp.AccessRefused:
		return cannotConnect("RabbitMQ at "+where+" refused the credentials", "look at user and password of the URL; guest may log in from the node's own machine only")
	case errors.As(err, &node) && node.Code == amqp.NotAllowed:
		return cannotConnect("RabbitMQ at "+where+" has no such virtual host, or the user may not use it", "look at the path of the URL, where / is written as %2F")
	case errors.As(err, &dns):
		return cannotConnect("the host of "+where+" is unknown", "look at its spelling, and at the name servers of this machine")
	case errors.Is(err, syscall.ECONNREFUSED):
		return cannotConnect("nobody listens at "+where, "start RabbitMQ there, or correct host and port of the URL")
	case errors.As(err, &host):
		return cannotConnect("the certificate of "+where+" is for another name", "use the name that it has, or the parameter server_name_indication")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return cannotConnect("the certificate of "+where+" has expired, or is not valid yet", "renew it, and look at the clocks")
	case errors.As(err, &authority), errors.As(err, &verify):
		return cannotConnect("the certificate of "+where+" is signed by nobody who is trusted here", "name its authority with the parameter cacertfile")
	case errors.As(err, &record):
		return cannotConnect("RabbitMQ at "+where+" takes no TLS there", "use the port for TLS, usually 5671")
	case late, errors.As(err, &network) && network.Timeout():
		return cannotConnect("RabbitMQ at "+where+" did not answer in time", "look whether a firewall is in the way, or raise --timeout")
	}
	return cannotConnect("RabbitMQ at "+where+" cannot be reached", "look at the URL and at the log of the node")
}

func (b *rabbitBroker) transport() bus.Transport { return b.t }

func (b *rabbitBroker) close() {
	_ = b.t.Close(context.Background())
	_ = b.conn.Close()
}

func (b *rabbitBroker) check(context.Context) (text, fix string, err error) {
	version, _ := b.conn.Properties["version"].(string)
	return fmt.Sprintf("RabbitMQ at %s, version %s", b.where, version), "", nil
}

func (b *rabbitBroker) failed(what string, err error) error {
	return failedWith("RabbitMQ at "+b.where+" could not "+what+": "+safe(err.Error()), "look at the rights of the user, and at the log of the node")
}

// on runs fn on a channel of its own, which the node closes at the first error. missing says that what was asked for is not there.
func (b *rabbitBroker) on(what string, fn func(ch *amqp.Channel) error) (missing bool, err error) {
	ch, err := b.conn.Channel()
	if err == nil {
		err = fn(ch)
		_ = ch.Close()
	}
	var node *amqp.Error
	switch {
	case errors.As(err, &node) && node.Code == amqp.NotFound:
		return true, nil
	case err != nil:
		return false, b.failed(what, err)
	}
	return false, nil
}

func (b *rabbitBroker) find(_ context.Context, topic string) (string, error) {
	missing, err := b.on("look for exchange "+quote(topic), func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(topic, amqp.ExchangeFanout, true, false, false, false, nil) // the kind is not looked at
	})
	if err != nil || missing {
		return "", err
	}
	return "exchange " + topic, nil
}

func (b *rabbitBroker) declare(ctx context.Context, t topic) error {
	if t.Lanes != 0 || t.Replicas != 0 || t.Dedup != 0 {
		return usage("topic "+quote(t.Name)+" has lanes, replicas or dedup, which RabbitMQ has not", "leave them out")
	}
	maker, err := rabbitmq.NewConn(b.conn, nil)
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	return maker.Declare(ctx, t.Name)
}

func (b *rabbitBroker) peekCost() string {
	return "RabbitMQ: they were fetched and given back, so the queue counts a delivery of each, and marks it as redelivered."
}

// queue answers how many messages and consumers a queue has.
func (b *rabbitBroker) queue(ctx context.Context, name string) (q amqp.Queue, err error) {
	missing, err := b.on("look at queue "+quote(name), func(ch *amqp.Channel) error {
		q, err = ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if err != nil || !missing {
		return q, err
	}
	if there, err := b.find(ctx, name); err != nil {
		return q, err
	} else if there != "" {
		return q, failedWith(quote(name)+" is an exchange, and messages wait in the queues of its groups", "name a queue, like "+quote("group@"+name))
	}
	return q, failedWith("the broker has no queue "+quote(name), "name one like \"group@topic\", or a topic of dead letters")
}

// forgetsAfter is how long a queue may count who is gone: as long as the node's disk takes.
const forgetsAfter = 5 * time.Second

func (b *rabbitBroker) peek(ctx context.Context, name string, most int) (list []peeked, total uint64, err error) {
	q, err := b.queue(ctx, name)
	// A quorum queue counts whoever has just fetched from it as a consumer, until it has noticed that the channel is gone.
	for until := time.Now().Add(forgetsAfter); err == nil && q.Consumers > 0 && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		q, err = b.queue(ctx, name)
	}
	if err != nil {
		return nil, 0, err
	}
	if q.Consumers > 0 {
		return nil, 0, refused(fmt.Sprintf("queue %s has %d consumers, and messages that are fetched beside them come back out of order", quote(name), q.Consumers), "stop its group, then look again")
	}
	_, err = b.on("show messages of "+quote(name), func(ch *amqp.Channel) error {
		for len(list) < most {
			d, ok, err := ch.Get(name, false)
			if codeOfNode(err) == amqp.ResourceLocked {
				return b.peekAsConsumer(ctx, name, min(most, q.Messages), &list)
			}
			if err != nil || !ok {
				return err
			}
			list = append(list, peekedOf(name, &d))
		}
		return nil // the channel ends, and the node puts them back
	})
	return list, uint64(q.Messages), err
}

// peekAsConsumer takes them as a consumer, which is the only way with a quorum queue that has a single active one.
func (b *rabbitBroker) peekAsConsumer(ctx context.Context, name string, most int, list *[]peeked) error {
	ch, err := b.conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close() // the node puts them back
	if err := ch.Qos(most, 0, false); err != nil {
		return err
	}
	ds, err := ch.ConsumeWithContext(ctx, name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	limit := time.After(5 * time.Second) // somebody else may have taken some
	for len(*list) < most {
		select {
		case d, ok := <-ds:
			if !ok {
				return ctx.Err()
			}
			*list = append(*list, peekedOf(name, &d))
		case <-limit:
			return nil
		}
	}
	return nil
}

func codeOfNode(err error) int {
	var node *amqp.Error
	if errors.As(err, &node) {
		return node.Code
	}
	return 0
}

func peekedOf(queue string, d *amqp.Delivery) peeked {
	p := peeked{at: fmt.Sprintf("%s/%d", queue, d.DeliveryTag)}
	p.damaged = cloudevents.AMQP().Read(&p.env, func(yield func(string, string) bool) {
		if d.ContentType != "" && !yield("content-type", d.ContentType) {
			return
		}
		for k, v := range d.Headers {
			if s, ok := v.(string); ok && !strings.HasPrefix(k, "x-") && !yield(k, s) {
				return
			}
		}
	}, d.Body)
	return p
}

func (b *rabbitBroker) purge(ctx context.Context, name string) (n uint64, err error) {
	if _, err := b.queue(ctx, name); err != nil {
		return 0, err
	}
	_, err = b.on("purge "+quote(name), func(ch *amqp.Channel) error {
		removed, err := ch.QueuePurge(name, false)
		n = uint64(removed)
		return err
	})
	return n, err
}
