package requesttest

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// stormLane is a lane in a storm. User headers say which call a packet belongs to, and which copy it is.
type stormLane struct {
	request.Lane
	s *storm
}

func (l stormLane) Open(ctx context.Context, in request.Replies) (request.Port, error) {
	take := in.Take
	in.Take = func(p *request.Packet) { l.s.comes(p, take) }
	port, err := l.Lane.Open(ctx, in)
	return stormPort{port, l.s}, err
}

func (l stormLane) Listen(ctx context.Context, at []string, in request.Requests) (request.Ear, error) {
	take := in.Take
	in.Take = func(destination string, p *request.Packet) {
		if strings.HasPrefix(p.Protocol, request.KindRequest+"/") {
			l.s.arrives(p, func() { take(destination, p) })
			return
		}
		take(destination, p)
	}
	ear, err := l.Lane.Listen(ctx, at, in)
	return stormEar{ear, l.s}, err
}

type stormPort struct {
	request.Port
	s *storm
}

func (p stormPort) Ask(ctx context.Context, to string, asked *request.Packet) (err error) {
	if strings.HasPrefix(asked.Protocol, request.KindCancel+"/") {
		for range p.s.told(asked.Request) {
			err = p.Port.Ask(ctx, to, asked)
		}
		return err
	}
	call, err := strconv.Atoi(asked.Envelope.Headers["call"])
	if err != nil {
		return err
	}
	ways := p.s.fates[call].asked
	p.s.mu.Lock()
	p.s.ids[asked.Request] = call
	p.s.copies[call].asked += len(ways)
	p.s.mu.Unlock()
	for n, way := range ways {
		q := asked.Clone()
		q.Envelope.Headers = with(q.Envelope.Headers, "copy", strconv.Itoa(n))
		if way.takes == 0 {
			if failed := p.Port.Ask(ctx, to, q); failed != nil && err == nil {
				err = failed
			}
			continue
		}
		p.s.later(way.takes, func() { _ = p.Port.Ask(context.Background(), to, q) })
	}
	return err
}

// told is how many copies of a call's cancellation arrive. Nothing but its id says whose it is.
func (s *storm) told(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	call, ok := s.ids[id]
	if !ok {
		return 1 // it was cancelled before it was handed over
	}
	return s.fates[call].told
}

// arrives notes a request at the responder, which is told of it by take, and how long it was on its way.
func (s *storm) arrives(p *request.Packet, take func()) {
	call, wrong := strconv.Atoi(p.Envelope.Headers["call"])
	n, wrong2 := strconv.Atoi(p.Envelope.Headers["copy"])
	if wrong != nil || wrong2 != nil || call < 0 || call >= len(s.fates) || n < 0 || n >= len(s.fates[call].asked) {
		s.t.Errorf("a request arrived that was not made: %v", &p.Envelope)
		return
	}
	way := s.fates[call].asked[n]
	if way.told {
		p.Waited += way.takes
	}
	left, _ := strconv.Atoi(p.Timeout)
	has := time.Duration(left)*time.Millisecond - p.Waited
	s.mu.Lock()
	at := len(s.arrivals)
	p.Envelope.Headers = with(p.Envelope.Headers, "arrival", strconv.Itoa(at))
	s.copies[call].arrived++
	s.arrivals = append(s.arrivals, arrival{call: call, told: way.told, never: has <= 0, ends: p.Envelope.Expires, limit: time.Now().Add(has)})
	s.mu.Unlock()
	take()
	taken := time.Now().Add(has)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals[at].taken = taken
}

// arrivalOf is the number of the arrival that a handler runs for.
func arrivalOf(ctx context.Context) (int, bool) {
	info := sixfold.InfoFrom(ctx)
	if info == nil {
		return 0, false
	}
	at, err := strconv.Atoi(info.Envelope.Headers["arrival"])
	return at, err == nil
}

type stormEar struct {
	request.Ear
	s *storm
}

func (e stormEar) Answer(ctx context.Context, asked, reply *request.Packet) (err error) {
	call, err := strconv.Atoi(asked.Envelope.Headers["call"])
	if err != nil {
		return err
	}
	f := &e.s.fates[call]
	n := len(f.answered)
	if f.forgery != "" {
		n *= 2
	}
	e.s.mu.Lock()
	e.s.answers++
	e.s.copies[call].answered += n
	e.s.mu.Unlock()
	question := asked.Clone()
	for _, way := range f.answered {
		r := reply.Clone()
		r.Envelope.Headers = with(nil, "call", strconv.Itoa(call))
		if way.takes == 0 {
			if failed := e.send(ctx, question, r, f.forgery); failed != nil && err == nil {
				err = failed
			}
			continue
		}
		e.s.later(way.takes, func() { _ = e.send(context.Background(), question, r, f.forgery) })
	}
	return err
}

// send answers, and before that somebody else does, who forges.
func (e stormEar) send(ctx context.Context, asked, reply *request.Packet, forgery string) error {
	if forgery != "" {
		r := *reply
		r.Envelope.Body = []byte(`{"N":666}`)
		r.Envelope.Headers = with(r.Envelope.Headers, "forged", forgery)
		switch forgery {
		case "id":
			r.Request = sixfold.NewID()
		case "no id":
			r.Request = ""
		case "status":
			r.Status, r.Envelope.Type = "teapot", request.FaultType
		case "version":
			r.Protocol = "reply/2"
		case "type":
			r.Status, r.Envelope.Type = "ok", "requesttest.other"+request.ReplySuffix
		}
		_ = e.Ear.Answer(ctx, asked, &r)
	}
	return e.Ear.Answer(ctx, asked, reply)
}

// comes notes a reply, of which the client is told by take.
func (s *storm) comes(p *request.Packet, take func(p *request.Packet)) {
	call, wrong := strconv.Atoi(p.Envelope.Headers["call"])
	if wrong != nil || call < 0 || call >= len(s.fates) {
		s.t.Errorf("a reply came to a request that was not made: %v", &p.Envelope)
		return
	}
	forgery := p.Envelope.Headers["forged"]
	s.mu.Lock()
	s.replies++
	s.copies[call].came++
	switch forgery {
	case "id":
		s.forged.ids++
	case "type":
		s.forged.types++
	}
	s.mu.Unlock()
	take(p)
	taken := time.Now()
	if forgery != "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := &s.copies[call]; c.valid.IsZero() {
		c.valid = taken
	}
}

// with is a copy of headers with another one.
func with(headers map[string]string, name, value string) map[string]string {
	headers = maps.Clone(headers)
	if headers == nil {
		headers = make(map[string]string, 1)
	}
	headers[name] = value
	return headers
}

// later calls f in a while.
func (s *storm) later(in time.Duration, f func()) {
	s.mu.Lock()
	s.onWay++
	s.mu.Unlock()
	time.AfterFunc(in, func() {
		f()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.onWay--
	})
}

func (s *storm) onTheirWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onWay
}
