package mediator

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/inctx"
	"github.com/sixfold-go/sixfold/internal/pass"
)

// publication is one call of Publish, with its notes in the same piece of memory where they are few.
type publication[N sixfold.Message] struct {
	ctx   context.Context
	of    *fanout[N]
	m     N
	apart bool // the handlers run at the same time
	few   [4]note[N]
}

func (p *publication[N]) notes() []note[N] {
	var notes []note[N]
	if n := len(p.of.listeners); n <= len(p.few) {
		notes = p.few[:n]
	} else {
		notes = make([]note[N], n)
	}
	for i := range notes {
		notes[i].publication, notes[i].through = p, p.of.listeners[i].through != nil
	}
	return notes
}

// note is a notification on its way to one handler, and the context of that handler. Its id and the rest of its envelope
// are minted when somebody asks: most handlers never do.
type note[N sixfold.Message] struct {
	*publication[N]
	pass.Pass
	through bool // it has middleware
	minted  atomic.Pointer[sixfold.Info]
}

// Deadline implements context.Context.
func (n *note[N]) Deadline() (time.Time, bool) { return n.ctx.Deadline() }

// Done implements context.Context.
func (n *note[N]) Done() <-chan struct{} { return n.ctx.Done() }

// Err implements context.Context.
func (n *note[N]) Err() error { return n.ctx.Err() }

// Value implements context.Context.
func (n *note[N]) Value(key any) any {
	switch key.(type) {
	case inctx.Info:
		return n.Info()
	case inctx.Pass:
		if n.through { // else somebody else's chain would take it
			return &n.Pass
		}
	case inctx.Branch:
		if n.apart {
			return n
		}
	case callKey:
		return n
	}
	return n.ctx.Value(key)
}

// Message implements sixfold.Local.
func (n *note[N]) Message() any { return n.m }

// Info is what the handler may know: its own envelope, and what is known of the delivery around it.
func (n *note[N]) Info() *sixfold.Info {
	if info := n.minted.Load(); info != nil {
		return info
	}
	info := &sixfold.Info{Attempt: 1}
	if outer := sixfold.InfoFrom(n.ctx); outer != nil {
		*info = *outer
	}
	env := &sixfold.Envelope{ID: sixfold.NewID(), Source: n.of.source, Type: n.of.name, Key: key(&n.m), Time: time.Now().UTC().Round(0)}
	sixfold.Join(n.ctx, env)
	env.Carry(n)
	info.Envelope, info.Envelopes = env, nil
	if !n.minted.CompareAndSwap(nil, info) {
		return n.minted.Load() // somebody asked at the same moment
	}
	return info
}
