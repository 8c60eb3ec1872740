package requesttest

import (
	"context"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// double is what the cases ask: twice a number.
type double struct {
	sixfold.Returns[doubled] `json:"-"`
	N                        int
}

func (double) MessageName() string { return "requesttest.double" }

// doubled is the answer.
type doubled struct {
	N  int
	ID string // of the request's envelope, as the handler saw it
}

const doubleName = "requesttest.double"

// route answers twice the number at the case's destination.
func (p *probe) route(before func(ctx context.Context, m double) error) request.Route {
	return request.On(func(ctx context.Context, m double) (doubled, error) {
		if before != nil {
			if err := before(ctx, m); err != nil {
				return doubled{}, err
			}
		}
		return doubled{N: 2 * m.N, ID: sixfold.InfoFrom(ctx).Envelope.ID}, nil
	}).At(p.to)
}

// double asks and answers what came.
func (p *probe) double(ctx context.Context, c *request.Client, n int, opts ...request.Option) (doubled, error) {
	return request.Send(ctx, c, double{N: n}, append(opts, request.To(p.to))...)
}

// mustDouble asks until the deadline of the case, and fails unless the answer is right.
func (p *probe) mustDouble(c *request.Client, n int) {
	p.Helper()
	got, err := p.double(p.ctx(), c, n)
	if err != nil || got.N != 2*n {
		p.fail("a call of %d answered %d, %v", n, got.N, err)
	}
}

// question is a request as it travels.
func question(n int) *request.Packet {
	p := &request.Packet{Protocol: "request/1", Request: sixfold.NewID(), Timeout: "50000"}
	p.Envelope = sixfold.Envelope{ID: p.Request, Source: "requesttest", Type: doubleName, Time: time.Now().UTC(), ContentType: "application/json",
		Body: []byte(`{"N":` + strconv.Itoa(n) + `}`)}
	return p
}

// reply is the right answer to a request, as it travels.
func reply(to *request.Packet, n int) *request.Packet {
	p := &request.Packet{Protocol: "reply/1", Request: to.Request, Status: "ok"}
	p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: "requesttest", Type: doubleName + request.ReplySuffix, ContentType: "application/json",
		Body: []byte(`{"N":` + strconv.Itoa(n) + `}`)}
	return p
}
