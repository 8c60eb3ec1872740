package requesttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
)

// TornStream cuts the connection of a responder in the middle of a stream, while its caller's goes on and another responder listens, so that nothing
// at the broker shows the caller that the stream's is away. It has to be told by the responder itself, over its next connection, and the handler has
// to end. connect makes the lane of a responder, as another process would have it, and a function that cuts its connections, which may be
// made again; it is called twice. The lanes carry streams.
func TornStream(t testing.TB, caller request.Lane, connect func(tb testing.TB) (lane request.Lane, cut func())) {
	t.Helper()
	p := &probe{TB: t, c: Case{Name: "TornStream", Says: "A responder that has lost its connection tells the callers of its streams over the next one."},
		cfg: Config{Patience: time.Minute}, to: "torn-stream"}
	var cut func()
	p.h.Connect = func(tb testing.TB) (lane request.Lane) {
		lane, cut = connect(tb)
		return lane
	}
	var flows [2]flowing
	var cuts [2]func()
	var served [2]*served
	for i := range flows {
		served[i] = p.serve(nil, p.counts(&flows[i], nil))
		cuts[i] = cut
	}
	c := p.clientOn(caller, &request.ClientOptions{Silence: 45 * time.Second}) // it is told long before it would give up, however busy the machine
	read := 0
	var end error
	var begin time.Time
	at := 0
	for _, end = range p.stream(t.Context(), c, 1_000_000_000, request.Timeout(20*p.cfg.Patience)) {
		if end != nil {
			break
		}
		if read++; read == 100 {
			if served[1].Stats().Running == 1 {
				at = 1
			}
			begin = time.Now()
			cuts[at]()
		}
	}
	if took := time.Since(begin); read < 100 || !isFault(end, request.Unavailable) || took > p.cfg.Patience {
		p.fail("%d items came, then %v, %v after the cut", read, end, took)
	}
	if err := receive(p, "the handler's stop", flows[at].stopped); !errors.Is(err, context.Canceled) {
		p.fail("when yield answered false the context said %v", err)
	}
	p.over(c, served[at])
	if s, c := served[at].Stats(), c.Stats(); s.Lost != 1 || s.Unsent != 1 || c.Lost != 0 {
		p.fail("the responder counts %+v, the client %+v", s, c)
	}
	if n := served[1-at].Stats(); n.Running+int(n.Faults+n.Lost) != 0 {
		p.fail("the other responder counts %+v", n)
	}
}
