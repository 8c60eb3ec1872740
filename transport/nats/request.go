package nats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/request"
)

// RequestLaneOptions are optional; nil and the zero value mean the defaults.
type RequestLaneOptions struct {
	// Prefix of subjects: requests go to <Prefix>.request.<destination>, cancellations, credit and what all shall get to
	// <Prefix>.cancel.<destination>. No
	// stream may have these subjects, or JetStream's acknowledgements answer requests. Empty: "sixfold".
	Prefix string
	// ReplyPrefix is how every address for answers begins, those of other processes too; requests with another one are
	// dropped. Empty: the prefix of inboxes that Options.Nats sets, else "_INBOX".
	ReplyPrefix string
}

// RequestLane carries requests and replies over core NATS: no stream, nothing stored. It is safe for concurrent use.
//
// Each port and each ear has a connection of its own, which never reconnects, so that what was on its way when it was lost
// is known to be lost.
type RequestLane struct {
	t       *Transport
	prefix  string
	replies string // with the dot
}

var _ request.Lane = (*RequestLane)(nil)

// RequestLane makes a lane on the transport's servers, with its credentials. It does not connect, and has nothing to close:
// ports and ears are closed by who opened them.
func (t *Transport) RequestLane(opts *RequestLaneOptions) (*RequestLane, error) {
	var o RequestLaneOptions
	if opts != nil {
		o = *opts
	}
	if o.Prefix == "" {
		o.Prefix = "sixfold"
	}
	if o.ReplyPrefix == "" {
		if o.ReplyPrefix = t.clientOptions().InboxPrefix; o.ReplyPrefix == "" {
			o.ReplyPrefix = "_INBOX"
		}
	}
	o.ReplyPrefix = strings.TrimSuffix(o.ReplyPrefix, ".")
	var errs []error
	for name, p := range map[string]string{"Prefix": o.Prefix, "ReplyPrefix": o.ReplyPrefix} {
		if err := checkTopic(p); err != nil || len(p) > 64 {
			errs = append(errs, fmt.Errorf("nats: option %s: %w: it is %s; give the beginning of a subject, like \"sixfold\", of 64 bytes at most", name, sixfold.ErrInvalid, driver.Quote(p)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &RequestLane{t: t, prefix: o.Prefix, replies: o.ReplyPrefix + "."}, nil
}

// Capabilities implements request.Lane.
func (l *RequestLane) Capabilities() request.Capabilities {
	return request.Capabilities{Name: "nats", DetectsLoss: true, DetectsNoResponder: true, Cancels: true, Streams: true, Scatters: true, MaxBody: l.t.o.MaxBody}
}

// Check implements request.Lane.
func (l *RequestLane) Check(destination string) error { return checkTopic(destination) }

func (l *RequestLane) requests(destination string) string {
	return l.prefix + ".request." + destination
}
func (l *RequestLane) cancels(destination string) string { return l.prefix + ".cancel." + destination }

// address is a reply subject that a request states, or empty if it is none of this lane's: nobody may have answers sent
// anywhere else. "_R_." is how a server rewrites one that passes from an account to another.
func (l *RequestLane) address(reply string) string {
	if len(reply) > sixfold.MaxName || !strings.HasPrefix(reply, l.replies) && !strings.HasPrefix(reply, "_R_.") {
		return ""
	}
	before := byte('.')
	for i := range len(reply) {
		c := reply[i]
		if c <= ' ' || c >= 0x7f || c == '*' || c == '>' || c == '.' && before == '.' {
			return ""
		}
		before = c
	}
	if before == '.' {
		return ""
	}
	return reply
}

// requestGroup is the queue group in which responders share requests.
const requestGroup = "sixfold"

// Open implements request.Lane.
func (l *RequestLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	p := &requestPort{requestWire: newRequestWire(l), in: in, inbox: l.replies + rand.Text() + "."}
	if err := p.connect(ctx, "caller", in.Lost); err != nil {
		return nil, err
	}
	if _, err := p.subscribe(p.inbox+"*", "", p.arrived); err != nil {
		p.abandon()
		return nil, err
	}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Listen implements request.Lane.
func (l *RequestLane) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	e := &requestEar{requestWire: newRequestWire(l), in: in}
	if err := e.connect(ctx, "responder", in.Lost); err != nil {
		return nil, err
	}
	for _, d := range destinations {
		sub, err := e.subscribe(l.requests(d), requestGroup, func(m *natsgo.Msg) { e.arrived(d, m) })
		if err == nil {
			e.asks = append(e.asks, sub)
			_, err = e.subscribe(l.cancels(d), "", func(m *natsgo.Msg) { e.arrived(d, m) })
		}
		if err != nil {
			e.abandon()
			return nil, err
		}
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// requestPort is a caller.
type requestPort struct {
	*requestWire
	in    request.Replies
	inbox string // with the dot; the last part of an address is the id of the request
	asked [16]atomic.Pointer[askedAt]
}

// askedAt is a destination of an earlier request and its subject. Most callers have few destinations, so that they are found again.
type askedAt struct{ to, subject string }

var askedSeed = maphash.MakeSeed()

// requests is the subject of requests to a destination.
func (p *requestPort) requests(to string) string {
	place := &p.asked[maphash.String(askedSeed, to)%uint64(len(p.asked))]
	at := place.Load()
	if at == nil || at.to != to {
		at = &askedAt{strings.Clone(to), p.l.requests(to)}
		place.Store(at)
	}
	return at.subject
}

// Ask implements request.Port. What is not written by ctx's deadline is not sent.
func (p *requestPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	subject := ""
	if packet.ToAll() {
		subject = p.l.cancels(to)
	} else {
		subject = p.requests(to)
	}
	return p.send(ctx, subject, p.inbox+lastPart(packet.Request), packet, true)
}

// lastPart makes the last part of a subject of an id; those that are none belong to no call.
func lastPart(id string) string {
	if id == "" || len(id) > 64 {
		return "0"
	}
	for i := range len(id) { // as token has it
		if c := id[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "0"
		}
	}
	return id
}

// arrived takes what comes to the port's addresses: replies, and the server's word that nobody listens.
func (p *requestPort) arrived(m *natsgo.Msg) {
	if len(m.Data) == 0 && len(m.Header) > 0 && m.Header.Get("Status") == "503" && m.Header.Get(request.HeaderProtocol) == "" {
		p.in.Undeliverable(m.Subject[len(p.inbox):])
		return
	}
	p.in.Take(readRequest(m))
}

// requestEar is a responder.
type requestEar struct {
	*requestWire
	in   request.Requests
	asks []*requestSub // subscriptions to requests
}

func (e *requestEar) arrived(destination string, m *natsgo.Msg) {
	p := readRequest(m)
	p.ReplyTo = e.l.address(m.Reply)
	e.in.Take(destination, p)
}

// Answer implements request.Ear. The answer has the form of what was asked, unless it is large.
func (e *requestEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if asked.ReplyTo == "" {
		return fmt.Errorf("nats: answer: %w: the request has no address for answers", bus.ErrRefused)
	}
	return e.send(ctx, asked.ReplyTo, "", reply, asked.Framed)
}

// StopListening implements request.Ear.
func (e *requestEar) StopListening(ctx context.Context) error {
	for _, s := range e.asks {
		if err := s.Drain(); err != nil && !e.nc.IsClosed() {
			return fmt.Errorf("nats: %w", classify(err))
		}
	}
	for _, s := range e.asks {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
