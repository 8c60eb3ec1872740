package main

import (
	"context"
	"runtime"
	"strconv"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

// rename is a command of three strings that the compiler cannot know.
type rename struct {
	sixfold.Returns[int] `json:"-"`

	ID, From, To string
}

func (rename) MessageName() string { return "customers.rename" }

// renamed is what was done.
type renamed struct{ ID, From, To string }

func (renamed) MessageName() string { return "customers.renamed" }

// directory is what the handlers work on. It belongs to one goroutine.
type directory struct{ length int }

//go:noinline
func (d *directory) rename(_ context.Context, c rename) (int, error) {
	d.length += len(c.To) - len(c.From)
	return d.length, nil
}

//go:noinline
func (d *directory) renamed(_ context.Context, n renamed) error {
	d.length += len(n.To)
	return nil
}

// names are strings made at run time.
func names() (names [64]string) {
	for i := range names {
		names[i] = "customer-" + strconv.Itoa(i)
	}
	return names
}

func mediatorSend(ctx context.Context, s *scope) error {
	return sendThrough(ctx, s, 0, goal{valueAtMost, 60, 35}, goal{valueAtMost, 0, 0})
}

func mediatorSendThrough(ctx context.Context, s *scope) error {
	return sendThrough(ctx, s, 3, goal{valueAtMost, 150, 100}, goal{valueAtMost, 1, 1})
}

// sendThrough measures one Send through mws middlewares that do nothing but call next, beside the call of its handler.
func sendThrough(ctx context.Context, s *scope, mws int, ns, allocs goal) error {
	d, names := &directory{}, names()
	o := &mediator.Options{}
	for range mws {
		o.Middleware = append(o.Middleware, func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error { return next(ctx, env) }
		})
	}
	m, err := mediator.New(o, mediator.OnCommand(d.rename))
	if err != nil {
		return err
	}
	command := func(i int) rename { return rename{ID: names[i%64], From: names[(i+1)%64], To: names[(i+2)%64]} }
	handle := d.rename
	send := func(i int) error { _, err := mediator.Send(ctx, m, command(i)); return err }
	if err := s.inProcess(ctx, ns, allocs, func(i int) error { _, err := handle(ctx, command(i)); return err }, send); err != nil || mws == 0 {
		return err
	}
	// What middleware is given costs more than all else: one piece of memory with an envelope in it.
	type call struct {
		context.Context
		env     sixfold.Envelope
		command rename
		result  int
	}
	through := sixfold.Handler(func(ctx context.Context, _ *sixfold.Envelope) (err error) {
		c := ctx.(*call)
		c.result, err = handle(ctx, c.command)
		return err
	})
	for _, mw := range o.Middleware {
		through = mw(through)
	}
	byHand := func(i int) error {
		c := &call{Context: ctx, command: command(i)}
		c.env.Type = "customers.rename"
		return through(c, &c.env)
	}
	defer asInAService()()
	l := line{Case: s.name + "/by-hand", Unit: "ns", PeerName: "an envelope of one's own through the same middleware"}
	return s.compare(ctx, l, goal{}, s.processorTime(byHand), s.processorTime(send))
}

// mediatorNotify measures one Publish to three handlers, one after the other, beside three calls.
func mediatorNotify(ctx context.Context, s *scope) error {
	d, names := &directory{}, names()
	r := mediator.OnNotification(d.renamed)
	m, err := mediator.New(&mediator.Options{Policy: mediator.InOrder}, r, r, r)
	if err != nil {
		return err
	}
	notification := func(i int) renamed { return renamed{ID: names[i%64], From: names[(i+1)%64], To: names[(i+2)%64]} }
	handle := d.renamed
	return s.inProcess(ctx, goal{valueAtMost, 200, 150}, goal{},
		func(i int) error {
			for range 3 {
				if err := handle(ctx, notification(i)); err != nil {
					return err
				}
			}
			return nil
		},
		func(i int) error { return mediator.Publish(ctx, m, notification(i)) })
}

// inProcess reports the processor time and the allocations of one call of sixfold, the garbage collector's share
// included, beside those of peer. Processor time is not what others do meanwhile, but for the caches that they share.
func (s *scope) inProcess(ctx context.Context, ns, allocs goal, peer, sixfold func(i int) error) error {
	defer asInAService()()
	l := line{Case: s.name, Unit: "ns", PeerName: "plain function call"}
	if err := s.compare(ctx, l, ns, s.processorTime(peer), s.processorTime(sixfold)); err != nil {
		return err
	}
	i := 0
	a, err := allocated(s.calls()/100, func() error { i++; return sixfold(i) })
	if err != nil {
		return err
	}
	a.count = float64(int(a.count*100+0.5)) / 100 // what the rest of the process allocates meanwhile is no whole one
	return s.report.add(line{Case: s.name + "/allocs", Value: a.count, Unit: "allocs"}, allocs)
}

// asInAService keeps as much on the heap as a service has, until its answer is called: the collector runs once for each doubling of
// the heap, and that of a program of 4 MB doubles all the time.
func asInAService() (end func()) {
	heap := make([]byte, 64<<20)
	return func() { runtime.KeepAlive(heap) }
}

func (s *scope) calls() int { return pick(s.bench, 5_000_000, 10_000) }

// processorTime is what one call takes, in nanoseconds.
func (s *scope) processorTime(call func(i int) error) arm {
	n := s.calls()
	return func(context.Context) (float64, error) {
		start := cpuTime()
		for i := range n {
			if err := call(i); err != nil {
				return 0, err
			}
		}
		return max(float64(cpuTime()-start)/float64(n), 0.01), nil // a quick run may be below what the clock shows
	}
}
