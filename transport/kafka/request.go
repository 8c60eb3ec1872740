package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
)

// RequestLaneOptions are optional; nil and the zero value mean the defaults.
type RequestLaneOptions struct {
	// Prefix of topics: requests go to <Prefix>.request.<destination>, replies to <Prefix>.replies or a topic whose name begins so.
	// Empty: "sixfold".
	Prefix string
	// Service makes <Prefix>.replies.<Service> the topic of the replies to this lane's callers. All processes of a service read all of it,
	// so let each service have its own. Empty: <Prefix>.replies.
	Service string
}

// RequestLane carries requests and replies over topics: requests by a consumer group for each destination, which commits them
// before they are handled, so that each runs once or not at all; replies by a topic of the caller's service, which its
// processes read from where it ended when they opened their ports. It is safe for concurrent use, and has nothing to close: ports and
// ears are closed by who opened them.
//
// Topics are made where they are missing, unless Options.Require, and keep what nobody reads for ten minutes. Kafka is not
// made for calls: joining a group takes a moment, each call waits for two appends, and how long a request waited is not known, so
// that one whose deadline passed while nobody listened is refused by its caller's clock only (request.ServeOptions.MaxSkew).
type RequestLane struct {
	t       *Transport
	prefix  string
	replies string // topic
}

var _ request.Lane = (*RequestLane)(nil)

// RequestLane makes a lane on the transport's brokers, with its credentials. It does not connect.
func (t *Transport) RequestLane(opts *RequestLaneOptions) (*RequestLane, error) {
	l := &RequestLane{t: t, prefix: "sixfold"}
	if opts != nil && opts.Prefix != "" {
		l.prefix = opts.Prefix
	}
	l.replies = l.prefix + repliesPart
	if opts != nil && opts.Service != "" {
		l.replies += "." + opts.Service
	}
	var errs []error
	if err := checkTopic(l.prefix); err != nil || len(l.prefix) > 64 {
		errs = append(errs, fmt.Errorf("kafka: option Prefix: %w: it is %s; give a name like \"sixfold\", of 64 bytes at most", sixfold.ErrInvalid, driver.Quote(l.prefix)))
	}
	if err := checkTopic(l.replies); err != nil || len(l.replies) > 180 {
		errs = append(errs, fmt.Errorf("kafka: option Service: %w: the topic of the replies would be %s; give a short name of letters, digits, dots, dashes and underscores", sixfold.ErrInvalid, driver.Quote(l.replies)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

const (
	requestsPart = ".request."
	repliesPart  = ".replies"
	// headerReplyTo has the address for answers: the topic, a slash and the port's id.
	headerReplyTo = "reply-to"
	portLength    = 36
)

// keepRequests is the retention of the lane's topics.
const keepRequests = "600000"

// Capabilities implements request.Lane. A broker that is away for a moment loses nothing, so no call fails for that before
// its deadline.
func (l *RequestLane) Capabilities() request.Capabilities {
	return request.Capabilities{Name: "kafka", MaxBody: l.t.o.MaxBody}
}

// Check implements request.Lane.
func (l *RequestLane) Check(destination string) error { return checkTopic(l.topic(destination)) }

func (l *RequestLane) topic(destination string) string { return l.prefix + requestsPart + destination }

// address is what a request states for answers, or empty if it is none of this lane's: nobody may have answers put into
// other topics.
func (l *RequestLane) address(replyTo string) string {
	topic, port, ok := strings.Cut(replyTo, "/")
	rest, ours := strings.CutPrefix(topic, l.prefix+repliesPart)
	if !ok || !ours || rest != "" && rest[0] != '.' || len(port) != portLength || checkTopic(topic) != nil {
		return ""
	}
	for i := range len(port) {
		if c := port[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return ""
		}
	}
	return replyTo
}

// declare makes a topic of the lane's.
func (l *RequestLane) declare(ctx context.Context, topic string, partitions int) error {
	err := l.t.usable(ctx)
	if err == nil {
		err = l.t.make(ctx, Topic{Name: topic, Partitions: partitions, Config: map[string]string{"retention.ms": keepRequests, "segment.ms": keepRequests}})
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("kafka: topic %s: %w", driver.Quote(topic), classify(err))
	}
	return nil
}

// Open implements request.Lane.
func (l *RequestLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	if err := l.declare(ctx, l.replies, 1); err != nil {
		return nil, err
	}
	from := make(map[string]map[int32]kgo.Offset)
	err := l.t.manage(ctx, func(ctx context.Context, c *kgo.Client) error {
		ends, err := kadm.NewClient(c).ListEndOffsets(ctx, l.replies)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return classify(err)
		}
		from[l.replies] = make(map[int32]kgo.Offset)
		ends.Each(func(o kadm.ListedOffset) { from[l.replies][o.Partition] = kgo.NewOffset().At(o.Offset) })
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kafka: the end of topic %s: %w", driver.Quote(l.replies), err)
	}
	id := sixfold.NewID()
	p := &requestPort{requestWire: newRequestWire(l), in: in, id: id, address: l.replies + "/" + id}
	if err := p.produceWith(kgo.ConsumePartitions(from)); err != nil {
		return nil, err
	}
	p.reading.Go(func() { p.read(p.cl, false, p.arrived) })
	return p, nil
}

// Listen implements request.Lane.
func (l *RequestLane) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	e := &requestEar{requestWire: newRequestWire(l), in: in}
	err := e.produceWith()
	for _, d := range destinations {
		if err == nil {
			err = e.join(ctx, d)
		}
	}
	for _, r := range e.rooms {
		if err == nil {
			err = r.await(ctx)
		}
	}
	if err != nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
		defer cancel()
		_ = e.Close(limited)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return e, nil
}

// requestPort is a caller.
type requestPort struct {
	*requestWire
	in          request.Replies
	id, address string
}

// Ask implements request.Port. What is not written by ctx's deadline is not sent.
func (p *requestPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	if strings.HasPrefix(packet.Protocol, request.KindCancel+"/") {
		return nil // which this lane does not carry
	}
	return p.send(ctx, p.l.topic(to), kgo.RecordHeader{Key: headerReplyTo, Value: []byte(p.address)}, nil, packet)
}

// arrived takes a record of the topic of replies, unless it is for another port.
func (p *requestPort) arrived(r *kgo.Record) {
	if string(r.Key) == p.id {
		p.in.Take(readPacket(r))
	}
}

// requestEar is a responder.
type requestEar struct {
	*requestWire
	in    request.Requests
	rooms []*requestRoom
}

// join consumes a destination.
func (e *requestEar) join(ctx context.Context, destination string) error {
	topic := e.l.topic(destination)
	if err := e.l.declare(ctx, topic, 0); err != nil {
		return err
	}
	r := &requestRoom{assigned: make(chan struct{}, 1)}
	var err error
	r.cl, err = e.l.t.client(e.l.t.dial, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(e.l.t.o.SessionTimeout), kgo.HeartbeatInterval(e.l.t.o.SessionTimeout/5), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { r.is() }))
	if err != nil {
		return fmt.Errorf("kafka: listen: %w", err)
	}
	e.rooms = append(e.rooms, r)
	r.reading.Go(func() {
		e.read(r.cl, true, func(rec *kgo.Record) {
			packet := readPacket(rec)
			packet.ReplyTo = e.l.address(packet.ReplyTo)
			e.in.Take(destination, packet)
		})
	})
	return nil
}

// Answer implements request.Ear.
func (e *requestEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	topic, port, ok := strings.Cut(asked.ReplyTo, "/")
	if !ok {
		return fmt.Errorf("kafka: answer: %w: the request has no address for answers", bus.ErrRefused)
	}
	return e.send(ctx, topic, kgo.RecordHeader{}, []byte(port), reply)
}

// StopListening implements request.Ear.
func (e *requestEar) StopListening(ctx context.Context) error {
	for _, r := range e.rooms {
		if err := r.leave(ctx); err != nil {
			return fmt.Errorf("kafka: stop listening: %w", err)
		}
	}
	return nil
}

// Close implements request.Ear.
func (e *requestEar) Close(ctx context.Context) error {
	return errors.Join(e.StopListening(ctx), e.requestWire.Close(ctx))
}

// requestBinding does not change.
var requestBinding = cloudevents.Kafka()
