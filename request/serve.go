package request

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// ServeOptions are optional; nil and the zero value mean the defaults.
type ServeOptions struct {
	// Middleware wraps every handler. The first is the outermost.
	Middleware []sixfold.Middleware
	// Source of the replies' envelopes, a URI reference: often the service's name. Empty: "sixfold".
	Source string
	// Codec of replies to requests whose content type has none. Nil: sixfold.JSON. Others are answered as they came.
	Codec sixfold.Codec
	// Codecs are further ones, chosen by the content type. JSON is always known.
	Codecs []sixfold.Codec
	// Signer signs replies, faults included. Nil: they are not signed.
	Signer *signature.Signer
	// Verifier says whose requests are answered: who has one of its keys. Others are answered Unauthorised, and no handler sees them;
	// handlers find the key's owner in Envelope.Issuer. A cancellation counts if it is signed by who has asked. Nil: anybody's.
	Verifier *signature.Verifier
	// MaxConcurrent bounds how many handlers run at once. 0: 256.
	MaxConcurrent int
	// MaxWaiting bounds how many requests wait for that; what comes beyond is answered Unavailable at once. 0: 1024.
	MaxWaiting int
	// MaxSkew is by how much the clocks of callers may differ from this one: a request that ended longer ago than that, by
	// its caller's clock, is not run, also where nobody counted how long it waited. 0: 1 min. Negative: the caller's clock is
	// not looked at.
	MaxSkew time.Duration
	// DrainTimeout is how long a stop waits for handlers that run. 0: 30 s.
	DrainTimeout time.Duration
	// Logger of errors that become faults. Nil: slog.Default.
	Logger *slog.Logger
}

// A Responder answers requests. It is safe for concurrent use.
type Responder struct {
	lane    Lane
	o       ServeOptions
	routes  map[string]*entry // by message name and former names
	at      []string          // destinations
	ready   chan struct{}     // closed when it listens for the first time
	once    sync.Once
	refused chan refusal
	upkeep  []func(ctx context.Context) // of the routes

	bell    chan struct{}  // wakes workers; has room for one ring for each; closed when stopping
	workers sync.WaitGroup // goroutines that run handlers
	idle    chan struct{}  // closed when nothing runs any more, once stopping

	answered atomic.Uint64 // of ResponderStats
	ids      ids

	mu       sync.Mutex // guards what follows
	started  bool
	stopping bool
	running  int             // handlers
	waking   bool            // a worker is on its way, and runs what waits
	asleep   int             // workers that wait for the bell: their stacks have grown already
	queue    queue           // of jobs for which no worker has come yet
	jobs     map[jobKey]*job // that wait or run
	hearing  *hearing        // the last one
	torn     []torn          // streams whose callers are told when there is the next one
	stats    ResponderStats
}

// entry is a route at work.
type entry struct {
	handle  func(ctx context.Context, env *sixfold.Envelope) (any, error)
	stream  bool            // it is asked for a stream
	through sixfold.Handler // middleware around it; nil without any
	reply   string          // type of its answers
}

// Serve makes a responder of routes over lane, which stays the caller's. Run begins. The error names everything that is
// wrong and wraps sixfold.ErrInvalid.
func Serve(lane Lane, opts *ServeOptions, routes ...Route) (*Responder, error) {
	r := &Responder{lane: lane, routes: make(map[string]*entry), ready: make(chan struct{}), refused: make(chan refusal, 1024),
		idle: make(chan struct{}), jobs: make(map[jobKey]*job)}
	if opts != nil {
		r.o = *opts
	}
	if r.o.Source == "" {
		r.o.Source = "sixfold"
	}
	if r.o.Codec == nil {
		r.o.Codec = sixfold.JSON
	}
	if r.o.Logger == nil {
		r.o.Logger = slog.Default()
	}
	if r.o.MaxSkew == 0 {
		r.o.MaxSkew = time.Minute
	}
	r.ids.prefix = rand.Text() + "-"
	errs := []error{checkCount("MaxConcurrent", &r.o.MaxConcurrent, 256), checkCount("MaxWaiting", &r.o.MaxWaiting, 1024),
		checkDuration("DrainTimeout", &r.o.DrainTimeout, 30*time.Second), checkCodecs(r.o.Codecs), checkMiddleware("option Middleware", r.o.Middleware)}
	r.bell = make(chan struct{}, max(r.o.MaxConcurrent, 0))
	r.o.Codecs = append(slices.Clone(r.o.Codecs), r.o.Codec)
	if isNil(lane) {
		errs = append(errs, invalid("serve: the lane is nil; make one, for example with memory.NewRequestLane, and look at its error"))
	}
	if len(routes) == 0 {
		errs = append(errs, invalid("serve: there is no route; give one made with request.On, request.OnStream or request.Mediated"))
	}
	for i, route := range routes {
		errs = append(errs, r.add(i, route))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// add takes one route.
func (r *Responder) add(i int, route Route) error {
	if route.handle == nil && route.err == nil {
		return invalid("serve: route number %d is empty; make routes with request.On or request.Mediated", i+1)
	}
	errs := []error{route.err, checkMiddleware(fmt.Sprintf("route %.64q: middleware", route.name), route.mws)}
	e := &entry{handle: route.handle, stream: route.stream}
	if route.maintain != nil {
		r.upkeep = append(r.upkeep, route.maintain)
	}
	if mws := slices.Concat(r.o.Middleware, route.mws); len(mws) > 0 && !slices.ContainsFunc(mws, func(mw sixfold.Middleware) bool { return mw == nil }) {
		e.through = sixfold.Chain(e.inside, mws...)
	}
	for _, name := range append([]string{route.name}, route.former...) {
		if r.routes[name] != nil {
			errs = append(errs, invalid("serve: %.64q has two routes; leave one out", name))
		}
		own := *e
		own.reply = name + ReplySuffix
		r.routes[name] = &own
	}
	for _, at := range route.at {
		if slices.Contains(r.at, at) {
			continue
		}
		r.at = append(r.at, at)
		if !isNil(r.lane) && route.err == nil {
			errs = append(errs, r.lane.Check(at))
		}
	}
	return errors.Join(errs...)
}

func checkMiddleware(what string, mws []sixfold.Middleware) error {
	for i, mw := range mws {
		if mw == nil {
			return invalid("%s number %d: it is nil; leave it out, or look at the error of what made it", what, i+1)
		}
	}
	return nil
}

// Listening is closed when requests can come for the first time.
func (r *Responder) Listening() <-chan struct{} { return r.ready }

// String names the responder in the errors of sixfold.Run.
func (r *Responder) String() string { return "responder" }
