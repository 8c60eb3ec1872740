package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
)

// RequestStore is the database as a RequestLane needs it; store.Store.Requests makes one. Errors are as those of Store.
type RequestStore interface {
	// Stay enters a place at addresses, or keeps it there, for ttl from now on; 0: it is there no longer.
	Stay(ctx context.Context, place string, addresses []string, ttl time.Duration) error
	// Leave takes a place away from addresses, where it then takes nothing any more.
	Leave(ctx context.Context, place string, addresses []string) error
	// Put writes a row to an address where somebody is, or with all one to each place that is there, and answers how many it
	// wrote. A row that nobody reads goes after keep.
	Put(ctx context.Context, address string, all bool, head, body []byte, keep time.Duration) (int, error)
	// Take removes up to limit rows from the addresses of a place, the oldest first, and hands each over that nobody else has
	// removed, once that is certain. It answers how many. waited is the time since Put.
	Take(ctx context.Context, place string, limit int, hand func(address string, head, body []byte, waited time.Duration)) (int, error)
	// Bell rings when rows may have come.
	Bell() *outbox.Bell
}

// RequestLaneOptions are optional; nil and the zero value mean the defaults.
type RequestLaneOptions struct {
	// Poll is the longest time between two looks of a port or an ear that hears of nothing, at least 1 ms. Requests and replies of
	// this process are heard of at once; on PostgreSQL those of others as well, where package postgres listens. Looks begin a millisecond after
	// something came or was asked, and double. Default 1 s.
	Poll time.Duration
	// Lease is how long a caller or a responder that died counts as there, 1 s to 1 h. Default 15 s.
	Lease time.Duration
	// MaxBody in bytes of a request or a reply, up to 16 MiB. Default 1 MiB.
	MaxBody int
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// RequestLane carries requests and replies as rows of a database: each is read once and removed by that, so a request runs once
// or not at all. It costs some statements for each call, and is made for who has a database and nothing else. It is
// safe for concurrent use, and has nothing to close: ports and ears are closed by who opened them.
type RequestLane struct {
	store RequestStore
	o     RequestLaneOptions
}

var _ request.Lane = (*RequestLane)(nil)

// NewRequestLane makes a lane. It asks nothing of the database, and names everything that is wrong.
func NewRequestLane(st RequestStore, opts *RequestLaneOptions) (*RequestLane, error) {
	l := &RequestLane{store: st}
	if opts != nil {
		l.o = *opts
	}
	o := &l.o
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("sqlqueue: request lane: "+format+": %w", append(args, sixfold.ErrInvalid)...))
	}
	if st == nil {
		bad("the store is nil; pass store.Postgres(…).Requests() or that of another database")
	}
	for _, d := range []struct {
		name              string
		v                 *time.Duration
		zero, least, most time.Duration
	}{{"Poll", &o.Poll, time.Second, time.Millisecond, time.Hour}, {"Lease", &o.Lease, 15 * time.Second, time.Second, time.Hour}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
		if *d.v < d.least || *d.v > d.most {
			bad("option %s is %v; give %v to %v, or 0 for %v", d.name, *d.v, d.least, d.most, d.zero)
		}
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.MaxBody < 1 || o.MaxBody > MaxBody {
		bad("option MaxBody is %d; give 1 to %d, or 0 for 1 MiB", o.MaxBody, MaxBody)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// Capabilities implements request.Lane. A database that is away for a moment loses nothing that was written to it, so no
// call fails for that before its deadline. Who has died counts as there until RequestLaneOptions.Lease has passed.
func (l *RequestLane) Capabilities() request.Capabilities {
	return request.Capabilities{Name: "sqlqueue", DetectsGoneCaller: true, DetectsNoResponder: true, Cancels: true, MaxBody: l.o.MaxBody}
}

// Check implements request.Lane.
func (l *RequestLane) Check(destination string) error { return sixfold.CheckTopic(destination) }

// The kinds of addresses. A place is an address itself: a port's has its replies, an ear's the cancellations for it.
const (
	toDestination = "request/"
	toPort        = "reply/"
	toEar         = "ear/"
)

// address is what a request states for answers, or empty where it is none of a port: nobody may have answers put elsewhere.
func address(replyTo string) string {
	id, ok := strings.CutPrefix(replyTo, toPort)
	if !ok || len(id) != placeLength {
		return ""
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return ""
		}
	}
	return replyTo
}

// placeLength is that of an id of sixfold.NewID.
const placeLength = 36

// keepReply is how long a reply or a cancellation that nobody reads stays, and a request whose time cannot be read. keepLate is how much longer
// than its time a request does, so that its responder can say that it is too late.
const (
	keepReply = time.Minute
	keepLate  = 10 * time.Second
)

// keep is how long a packet is of use to anybody.
func keep(p *request.Packet) time.Duration {
	left, err := time.ParseDuration(p.Timeout + "ms")
	if err != nil || left < 0 || len(p.Timeout) > 9 {
		return keepReply
	}
	return left + keepLate
}

// Open implements request.Lane.
func (l *RequestLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	place := toPort + sixfold.NewID()
	p := &requestPort{in: in}
	p.requestPost = newRequestPost(l, place, []string{place}, func(_ string, packet *request.Packet) { in.Take(packet) })
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Listen implements request.Lane.
func (l *RequestLane) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	place := toEar + sixfold.NewID()
	e := &requestEar{in: in}
	for _, d := range destinations {
		e.asks = append(e.asks, toDestination+d)
	}
	e.requestPost = newRequestPost(l, place, append([]string{place}, e.asks...), func(at string, packet *request.Packet) {
		packet.ReplyTo = address(packet.ReplyTo)
		in.Take(strings.TrimPrefix(at, toDestination), packet)
	})
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// requestPort is a caller.
type requestPort struct {
	*requestPost
	in request.Replies
}

// Ask implements request.Port.
func (p *requestPort) Ask(ctx context.Context, to string, packet *request.Packet) error {
	all := strings.HasPrefix(packet.Protocol, request.KindCancel+"/")
	n, err := p.put(ctx, toDestination+to, all, packet, p.place, keep(packet))
	if err != nil {
		return err
	}
	if n == 0 && !all {
		p.in.Undeliverable(packet.Request)
	}
	p.hurry()
	return nil
}

// requestEar is a responder.
type requestEar struct {
	*requestPost
	in   request.Requests
	asks []string // addresses of its destinations
}

// Answer implements request.Ear.
func (e *requestEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	if asked.ReplyTo == "" {
		return fmt.Errorf("sqlqueue: answer: %w: the request has no address for answers", bus.ErrRefused)
	}
	n, err := e.put(ctx, asked.ReplyTo, false, reply, "", keepReply)
	if err == nil && n == 0 {
		return request.ErrGone
	}
	return err
}

// StopListening implements request.Ear.
func (e *requestEar) StopListening(ctx context.Context) error {
	e.stopBeating(e.asks)
	if err := e.l.store.Stay(ctx, e.place, e.asks, 0); err != nil { // nobody asks here any more
		return fmt.Errorf("sqlqueue: stop listening: %w", err)
	}
	for n := 1; n > 0; { // what was asked before comes
		var err error
		if n, err = e.collect(ctx); err != nil {
			return fmt.Errorf("sqlqueue: stop listening: %w", err)
		}
	}
	if err := e.l.store.Leave(ctx, e.place, e.asks); err != nil {
		return fmt.Errorf("sqlqueue: stop listening: %w", err)
	}
	e.reading.Lock() // when nothing is handed over
	defer e.reading.Unlock()
	return nil
}
