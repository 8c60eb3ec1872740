package requesttest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
)

// Config is what the suite cannot ask the lane. The zero value is right for a server on the same machine.
type Config struct {
	// Patience is how long a case waits for one step that must happen. It is only used up by a failure. 0: a minute.
	Patience time.Duration
	// Slack is by how much an outcome may come after its deadline. 0: 10 s, since the machine may be busy; the promise is
	// 100 ms, to which lanes that run in a bubble of testing/synctest are held.
	Slack time.Duration
	// Deadline of calls that are meant to time out. A case that finds nothing ready within it tries again with more. 0: 300 ms.
	Deadline time.Duration
	// Many is how many streams are open at once in the case of that. 0: 200.
	Many int
	// Shared checks, where the lane cannot be cut or killed, are named here with the reason.
	NotApplicable map[string]string
}

// Harness plays the broker for one case. All functions are required but those whose cases Config.NotApplicable names.
type Harness struct {
	// Connect makes a lane of its own, as another process would have it.
	Connect func(tb testing.TB) request.Lane
	// NewDestination answers a name that no other case uses.
	NewDestination func(tb testing.TB) string
	// Cut makes the broker unreachable for all lanes, and what was connected loses its connection. Restore ends it.
	Cut, Restore func(tb testing.TB)
	// Kill ends the process that has the lane, without closing anything.
	Kill func(tb testing.TB, lane request.Lane)
	// Put sends a packet to a destination as it is, with the address for answers that it states: what a hostile peer could do.
	Put func(tb testing.TB, destination string, p *request.Packet)
}

// Case is one thing that has to hold.
type Case struct {
	// Name, as in "Reply/FirstValidWins".
	Name string
	// Says is what has to hold.
	Says string

	test func(p *probe)
}

// Cases answers every case, in the order in which Run runs them.
func Cases() []Case {
	var all []Case
	for _, cs := range [][]Case{callCases(), replyCases(), requestCases(), responderCases(), signedCases(), streamCases(), scatterCases(), lossCases()} {
		all = append(all, cs...)
	}
	return all
}

// Run checks a lane. open is called once per case.
func Run(t *testing.T, cfg Config, open func(tb testing.TB) Harness) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Check(t, cfg, open) })
	}
}

// Check runs one case on its own, for example in a bubble of testing/synctest.
func (c Case) Check(tb testing.TB, cfg Config, open func(tb testing.TB) Harness) {
	tb.Helper()
	if why, ok := cfg.NotApplicable[c.Name]; ok {
		tb.Skipf("not applicable: %s", why)
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Slack <= 0 {
		cfg.Slack = 10 * time.Second
	}
	if cfg.Many <= 0 {
		cfg.Many = 200
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 300 * time.Millisecond
	}
	h := open(tb)
	c.test(&probe{TB: tb, c: c, cfg: cfg, h: h, to: h.NewDestination(tb)})
}

// probe is what a case works with.
type probe struct {
	testing.TB
	c   Case
	cfg Config
	h   Harness
	to  string // the case's destination
}

// fail says that the case does not hold.
func (p *probe) fail(format string, args ...any) {
	p.Helper()
	p.Errorf(format, args...)
	p.Fatalf("%q does not hold: %s", p.c.Name, p.c.Says)
}

// ctx lasts as long as a case is patient.
func (p *probe) ctx() context.Context {
	ctx, cancel := context.WithTimeout(p.Context(), p.cfg.Patience)
	p.Cleanup(cancel)
	return ctx
}

// client makes one on a lane of its own.
func (p *probe) client(o *request.ClientOptions) *request.Client {
	return p.clientOn(p.h.Connect(p), o)
}

func (p *probe) clientOn(lane request.Lane, o *request.ClientOptions) *request.Client {
	p.Helper()
	c, err := request.NewClient(lane, o)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			p.Error("close client:", err)
		}
	})
	return c
}

// served is a responder at work.
type served struct {
	*request.Responder
	lane request.Lane
	stop func() error // ends it and answers what Run answered; may be called again
}

// serve runs a responder on a lane of its own, and returns when it listens.
func (p *probe) serve(o *request.ServeOptions, routes ...request.Route) *served {
	p.Helper()
	var so request.ServeOptions
	if o != nil {
		so = *o
	}
	if so.Logger == nil {
		so.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s := &served{lane: p.h.Connect(p)}
	var err error
	if s.Responder, err = request.Serve(s.lane, &so, routes...); err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var result error
	go func() {
		defer close(done)
		result = s.Run(ctx)
	}()
	s.stop = func() error {
		cancel()
		<-done
		return result
	}
	p.Cleanup(func() { s.stop() })
	select {
	case <-s.Listening():
	case <-done:
		p.Fatal("the responder ended:", result)
	case <-p.ctx().Done():
		p.fail("a responder does not listen")
	}
	return s
}

// raw is a port or an ear without anything of the package's around it: what a hostile or foreign peer could be.
type raw struct {
	p       *probe
	port    request.Port
	ear     request.Ear
	packets chan *request.Packet
	lost    chan error
	undeliv chan string
}

func (p *probe) newRaw() *raw {
	return &raw{p: p, packets: make(chan *request.Packet, 1000), lost: make(chan error, 1), undeliv: make(chan string, 1000)}
}

func (p *probe) rawPort() *raw {
	p.Helper()
	r := p.newRaw()
	var err error
	r.port, err = p.h.Connect(p).Open(p.ctx(), request.Replies{Take: func(packet *request.Packet) { r.packets <- packet },
		Undeliverable: func(id string) { r.undeliv <- id }, Lost: func(err error) { r.lost <- err }})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { r.close() })
	return r
}

func (p *probe) rawEar() *raw {
	p.Helper()
	r := p.newRaw()
	var err error
	r.ear, err = p.h.Connect(p).Listen(p.ctx(), []string{p.to}, request.Requests{Take: func(_ string, packet *request.Packet) { r.packets <- packet },
		Lost: func(err error) { r.lost <- err }})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { r.close() })
	return r
}

func (r *raw) close() {
	ctx, cancel := context.WithTimeout(context.Background(), r.p.cfg.Patience)
	defer cancel()
	if r.port != nil {
		_ = r.port.Close(ctx)
	}
	if r.ear != nil {
		_ = r.ear.Close(ctx)
	}
}

// next answers the packet that comes next.
func (r *raw) next() *request.Packet {
	r.p.Helper()
	select {
	case packet := <-r.packets:
		return packet
	case <-r.p.ctx().Done():
		r.p.fail("a packet did not come")
		return nil
	}
}

func (r *raw) ask(packet *request.Packet) {
	r.p.Helper()
	own := *packet
	if err := r.port.Ask(r.p.ctx(), r.p.to, &own); err != nil {
		r.p.Fatal(err)
	}
	own = used
}

func (r *raw) answer(asked, reply *request.Packet) {
	r.p.Helper()
	own := *reply
	if err := r.ear.Answer(r.p.ctx(), asked, &own); err != nil {
		r.p.Fatal(err)
	}
	own = used
}

// used is what becomes of a packet that was handed over: no lane keeps it.
var used = request.Packet{Damaged: errors.New("requesttest: the lane has kept a packet that it was lent"), Protocol: "used"}

// await looks until it is so.
func (p *probe) await(what string, is func() bool) {
	p.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ctx := p.ctx(); !is(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.fail("in vain waited for: %s", what)
		}
	}
}

// quiet lets time pass.
func (p *probe) quiet(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// patiently tries with the deadline of the case, and with four times as much as before whenever a try says that nothing was shown, since its deadline
// had passed before that was there which the case is about: the machine stood still, or was that slow.
func (p *probe) patiently(try func(limit time.Duration) (shown bool)) {
	p.Helper()
	for limit := p.cfg.Deadline; !try(limit); limit *= 4 {
		if limit > p.cfg.Patience {
			p.fail("nothing was ready within %v", limit)
		}
	}
}

// begins waits until the handler of a call with this number says that it has begun. It reports false when the call had ended before, by its deadline.
func (p *probe) begins(n int, began <-chan int, out <-chan answered) bool {
	p.Helper()
	for {
		select {
		case got := <-began:
			if got == n { // and none of an earlier try
				return true
			}
		case got := <-out:
			if !errors.Is(got.err, request.ErrTimeout) && !isFault(got.err, request.Expired) {
				p.fail("the call answered %+v, %v before its handler had begun", got.doubled, got.err)
			}
			return false
		case <-p.ctx().Done():
			p.fail("in vain waited for a handler")
		}
	}
}

// receive waits for one value.
func receive[T any](p *probe, what string, c <-chan T) T {
	p.Helper()
	select {
	case v := <-c:
		return v
	case <-p.ctx().Done():
		p.fail("in vain waited for: %s", what)
		var none T
		return none
	}
}

// isFault reports whether err is one of the category.
func isFault(err error, c request.Category) bool {
	return errors.Is(err, &request.Fault{Category: c})
}
